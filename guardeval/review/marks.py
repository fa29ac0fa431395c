"""What a reviewer can say about a sample, and when; the words that the database, the page and the export share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from guardeval.data import Target
from guardeval.errors import DataError
from guardeval.failures import Mode

__all__ = ["Category", "Coherent", "Field", "Mark", "Marks", "checked"]

MOST_COMMENT = 20_000  # characters


class Field(StrEnum):
    """What is said. One event of the history sets one field of one sample."""

    MARK = "mark"  # of the gold label
    LABEL = "label"  # the reviewer's own: the target's word for positive or negative
    CATEGORY = "category"  # of the failure
    COHERENT = "coherent"  # the reasoning, of the verdict or of one member
    COMMENT = "comment"
    REVEAL = "reveal"  # blind: the reviewer asked to see gold label and verdict; never undone


class Mark(StrEnum):
    """Whether the reviewer takes the gold label for right."""

    AGREE = "agree"
    WRONG_LABEL = "wrong_label"


class Category(StrEnum):
    """Why the guard failed: the modes of failure analysis, and the rest. The order is that of the keys 1 to 6."""

    OVERFLAGGED = Mode.OVERFLAGGED.value
    MISSED = Mode.MISSED.value
    POLICY_CONFUSION = Mode.POLICY_CONFUSION.value
    UNREADABLE = Mode.UNREADABLE.value
    EDGE = Mode.EDGE.value
    OTHER = "other"


class Coherent(StrEnum):
    """Whether the reasoning leads to the verdict without contradiction."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


_CHOICES: Mapping[Field, type[StrEnum]] = {Field.MARK: Mark, Field.CATEGORY: Category, Field.COHERENT: Coherent}


@dataclass(frozen=True, slots=True)
class Marks:
    """What one reviewer says about one sample now; None = nothing. ``members``: coherence of single members' reasoning."""

    mark: str | None = None
    label: str | None = None
    category: str | None = None
    coherent: str | None = None
    comment: str | None = None
    revealed: bool = False
    blind: bool = False  # the label was given before gold label and verdict were shown
    members: Mapping[str, str] | None = None
    time: str = ""  # of the last event, UTC

    @property
    def reviewed(self) -> bool:
        """More than a comment was said."""
        return any(v is not None for v in (self.mark, self.label, self.category, self.coherent))


def checked(field: Field, value: Any, target: Target) -> str | None:
    """The value as it is kept, None to take it back. Raises :class:`DataError` for one that the field does not take."""
    if value is None:
        return None
    if field is Field.COMMENT:
        if not isinstance(value, str) or len(value) > MOST_COMMENT:
            raise DataError(f"a comment is a text of at most {MOST_COMMENT} characters")
        return value.encode("utf-8", "replace").decode().strip() or None
    if field is Field.LABEL:
        known: tuple[str, ...] = (target.positive, target.negative)
    else:
        known = tuple(_CHOICES[field])
    if value not in known:
        raise DataError(f"{field}: {str(value)[:40]!r} is unknown; known: {', '.join(known)}")
    return str(value)
