"""Plain-text refusals: answers in which an assistant says that it will not do what it was asked. Lexical, English."""

from __future__ import annotations

import re

__all__ = ["is_refusal"]

_OPENING = 400  # characters; who refuses says so first
_APOSTROPHES = str.maketrans("’‘`", "'''")
_REFUSAL = re.compile(
    r"\bi(?:'m| am)(?: really| very| so)? sorry\b"
    r"|\b(?:i|we) (?:can ?not|can't|could not|couldn't|won't|will not|must decline|have to decline|decline|refuse)\b"
    r"|\b(?:i'm|i am|we're|we are) (?:unable|not able|not willing|not comfortable|not allowed)\b"
    r"|\bas an ai\b[^.]{0,80}\b(?:can ?not|can't|unable)\b"
    r"|\bmy apologies\b|\bi apologi[sz]e\b",
    re.IGNORECASE,
)


def is_refusal(answer: str) -> bool:
    """Whether an answer that holds no verdict opens as a refusal. Of one that holds a verdict it says nothing."""
    return _REFUSAL.search(answer.strip()[:_OPENING].translate(_APOSTROPHES)) is not None
