"""Telling a guard's own answer from the text it was given: a closing block that repeats the sample is no answer."""

from __future__ import annotations

import string
from functools import lru_cache
from typing import TYPE_CHECKING
from unicodedata import normalize

if TYPE_CHECKING:
    from guardeval.contracts import Frame, Prompt

__all__ = ["repeats_prompt", "spells", "squeeze"]

_KEPT = (string.ascii_letters + string.digits).encode()
_DROPPED = bytes(b for b in range(256) if b not in _KEPT)
_DROPPED_BUT_COLONS = _DROPPED.replace(b":", b"")
_ASCII = bytes(range(128))
_LOWER = bytes(range(256)).lower()
_FENCE = "```"


def squeeze(text: str, colons: bool = False) -> bytes:
    """The ASCII letters and digits of a text, in lower case; ``colons`` keeps these as well.

    Blanks, markup, quotation marks, control, zero-width and direction characters fall away, compatibility forms and
    upper case are folded: what differs from the original only in these squeezes to the same bytes, and a piece of the
    original squeezes to a piece of them. Closing blocks are ASCII, so nothing else has to survive.
    """
    if not text.isascii() and _has_letters_beyond_ascii(text):
        # upper before casefold: dotless i has an ASCII upper case, long s an ASCII fold
        text = normalize("NFKD", text).upper().casefold()
    return text.encode("ascii", "ignore").translate(_LOWER, _DROPPED_BUT_COLONS if colons else _DROPPED)


def _has_letters_beyond_ascii(text: str) -> bool:
    """False when all that is not ASCII is general punctuation (U+2000-203F: quotation marks, dashes, marks of direction)."""
    beyond = text.encode("utf-8", "surrogatepass").translate(None, _ASCII)
    return len(beyond) != 3 * beyond.count(b"\xe2\x80")


def repeats_prompt(answer: str, words: bytes, prompt: Prompt) -> bool:
    """Whether an answer as a whole is a piece of the rendered prompt, and more than just its squeezed block ``words``.

    Only a frame that itself spells out a block can make it so (a user's policies with worked examples, say). An answer of
    just such a block is taken as an answer: nothing could tell the two apart.
    """
    if not spells(prompt.frame, words):
        return False
    whole = squeeze("\n".join(line for line in answer.split("\n") if not line.lstrip().startswith(_FENCE)))
    return len(whole) > len(words) and whole in squeeze("".join(content for _, content in prompt.turns))


@lru_cache(maxsize=1024)
def spells(frame: Frame, words: bytes) -> bool:
    """Whether earlier turns or a side of the hole hold the words; frames compare by identity and are few, as blocks are."""
    return words in squeeze("".join((*(content for _, content in frame.turns), frame.before, frame.after)))
