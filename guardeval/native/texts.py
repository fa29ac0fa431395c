"""The families' prompt texts, out of ``solvers/prompts/native``: slots are filled in our own text only, in one pass."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

from guardeval.native.reading import Said

__all__ = ["fill", "native_text", "said_word"]

_SLOT = re.compile(r"\[\[([a-z_]+)\]\]")


@lru_cache(maxsize=64)
def native_text(name: str) -> str:
    """A text as it stands in its file, the last line end left out: what ends a prompt is the format's to say."""
    return (files("guardeval.solvers") / "prompts" / "native" / f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n")


def fill(text: str, hole: str, **slots: str) -> tuple[str, str]:
    """The text before and after the slot ``[[hole]]``, where a sample's text goes; the other slots filled."""
    before, after = text.split(f"[[{hole}]]")
    return tuple(_SLOT.sub(lambda m: slots[m[1]], part) for part in (before, after))  # type: ignore[return-value]


def said_word(text: str, said: Said) -> str:
    """The verdict word that was read, in lower case; empty where there was none."""
    if said.label is None or said.word < 0:
        return ""
    here = text[said.word :].lower()
    return next((word for word in (*said.positive, *said.negative) if here.startswith(word)), "")
