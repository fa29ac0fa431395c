"""Answers of labelled lines, ``Harmful request: yes``: one line a question, whole lines only, the first of its label counts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from guardeval.native.reading import Said, listed, unread

__all__ = ["Line", "WordLine", "categories_of", "field_said", "labelled_lines", "word_and_line"]

_MARKUP = " \t*_`\"'"
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an answer: its label in lower case, what follows the first colon, and where that begins and the line ends."""

    label: str
    value: str
    start: int
    at: int
    end: int


def labelled_lines(text: str, labels: Sequence[str]) -> Iterator[Line]:
    """The lines that begin with one of the labels (lower case) and a colon; a further colon belongs to the value."""
    start = 0
    for raw in text.splitlines(keepends=True):
        head, colon, rest = raw.partition(":")
        label = " ".join(head.strip(_MARKUP).lower().split())
        if colon and label in labels:
            value = rest.strip()
            at = start + len(head) + 1 + len(rest) - len(rest.lstrip())
            yield Line(label, value, start, at, start + len(raw.rstrip("\r\n")))
        start += len(raw)


def field_said(
    text: str,
    label: str,
    labels: Sequence[str],
    words: Mapping[str, bool],
    categories: tuple[str, ...] = (),
    other: tuple[str, ...] = (),
) -> Said:
    """What the line of ``label`` says, in ``words`` (lower case → positive?); ``other`` words could stand there, too.

    No verdict where there is no such line, where its value is no such word, or where two of them disagree. The block, which
    is compared with the sample, is all labelled lines from the first to the last.
    """
    lines = list(labelled_lines(text, labels))
    own = [line for line in lines if line.label == label]
    if not own:
        return unread(f"no line `{label}: …`")
    values = {_word(line.value) for line in own}
    said = _word(own[0].value)
    if len(values) > 1:
        return unread(f"`{label}` is answered twice, and differently")
    if said not in words:
        return unread(f"`{label}` is {own[0].value[:40]!r}, which is no verdict")
    at = own[0].at + len(own[0].value) - len(own[0].value.lstrip(_MARKUP))
    positive = tuple(w for w, yes in words.items() if yes)
    negative = tuple(w for w, yes in words.items() if not yes)
    return Said(words[said], categories, at, positive, negative, other, (lines[0].start, lines[-1].end))


def _word(value: str) -> str:
    return re.sub(r"\s+", " ", value.strip(_MARKUP + ".,;").lower())


def categories_of(text: str, label: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The comma-separated categories on the lines of ``label``; none where it says ``None`` or ``n/a``."""
    values = [line.value for line in labelled_lines(text, labels) if line.label == label]
    return tuple(c for value in values for c in listed(value) if c.strip(_MARKUP + ".").lower() not in ("none", "n/a", ""))


@dataclass(frozen=True, slots=True)
class WordLine:
    """An answer of a verdict word in lower case, which begins at ``at``, and of at most one line below it."""

    word: str
    at: int
    line: str


def word_and_line(text: str, words: Sequence[str], end: str = "") -> WordLine | None:
    """The whole answer as one of ``words`` (lower case), ``end`` put up with after it, and a line; None where it is more, or
    where the line holds a verdict word itself.
    """
    first, _, rest = text.strip().partition("\n")
    word, line = first.strip().removesuffix(end).rstrip().lower(), rest.strip()
    if word not in words or len(line.splitlines()) > 1 or any(w.lower() in words for w in _WORD.findall(line)):
        return None
    return WordLine(word, len(text) - len(text.lstrip()), line)
