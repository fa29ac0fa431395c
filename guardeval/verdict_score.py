"""P(positive) from the token probabilities at the place where the verdict word begins.

Summed over spelling variants (case, blanks, markup, how the word is cut into tokens) and renormalised over the verdict words:
``P = p(positive) / (p(positive) + p(negative))``, conditional on everything the guard wrote before.

When the reported alternatives hold no token of one class, its share is known only to lie between 0 and what was not
reported, ``1 - sum of the reported``. That whole rest is then counted for it: the least extreme probability that the report
allows. A backend that reports only the chosen token thus gives the probability of that token itself.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from math import exp

from guardeval.contracts import Token

__all__ = ["score_at", "share_at"]

_MARKS = (
    "".join(c for c in map(chr, range(128)) if c not in string.ascii_letters + string.digits) + "▁ĠĊ“”‘’"
)  # Ġ, ▁: raw blanks
_NOT_LETTERS = _MARKS + string.digits


def score_at(tokens: Sequence[Token], text: str, word: int, positive: str, negative: str) -> float | None:
    """P(``positive``) at offset ``word`` of ``text``, where one of the two lower-case words begins; in [0, 1].

    None when the tokens do not spell the text or the token at that place does not begin a verdict word. The two words must
    differ in their first letter.
    """
    return share_at(tokens, text, word, (positive,), (negative,))


def share_at(
    tokens: Sequence[Token], text: str, word: int, positive: Sequence[str], negative: Sequence[str], other: Sequence[str] = ()
) -> float | None:
    """The same for several words a class (``unsafe``, ``controversial`` against ``safe``), or digits (``1`` against ``0``).

    All words must differ in their first letter. ``other`` words could stand there and are neither (``n/a``): a piece of a
    word that could begin one of them, too, counts for nothing.
    """
    token = _token_at(tokens, text, word)
    words = (*positive, *negative)
    marks = _MARKS if any(w.isdigit() for w in words) else _NOT_LETTERS
    if token is None or not _begins(token.text, words, marks):
        return None
    reported = token.top
    if all(spelling != token.text for spelling, _ in reported):
        reported = (*reported, (token.text, token.logprob))
    yes = no = total = 0.0
    for spelling, logprob in reported:
        p = exp(min(logprob, 0.0))
        total += p
        begun = _begins(spelling, words, marks)
        if begun and spelling != token.text and _could_be(spelling, begun, other, marks):
            continue
        if begun in positive:
            yes += p
        elif begun:
            no += p
    if yes + no <= 0:  # the chosen token was possible and nothing says how likely
        return None
    rest = max(0.0, 1.0 - total)
    yes, no = yes or rest, no or rest
    return yes / (yes + no)


def _begins(spelling: str, words: Sequence[str], marks: str) -> str:
    """Which word a token begins, or spells in full; an empty text if none."""
    letters = spelling.strip(marks).lower()
    return next((word for word in words if word.startswith(letters)), "") if letters else ""


def _could_be(spelling: str, word: str, other: Sequence[str], marks: str) -> bool:
    """Whether a piece of ``word`` begins one of the other words as well."""
    letters = spelling.strip(marks).lower()
    return letters != word and any(o.startswith(letters) for o in other)


def _token_at(tokens: Sequence[Token], text: str, at: int) -> Token | None:
    """The token that spells the character at offset ``at``, counted from the end, where verdicts stand.

    Backends trim blanks and stop strings off the text, so the tokens may spell a little more than it on either side.
    """
    spelt = "".join(t.text for t in tokens)
    begin = 0 if spelt == text else spelt.rfind(text)
    if begin < 0 or not text:
        return None
    place, end = begin + at, len(spelt)
    for token in reversed(tokens):
        end -= len(token.text)
        if end <= place:
            return token
    return None
