"""Runs of one task read together: streams in the order of the source, joined by row, in as much memory as one row takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from guardeval.errors import DataError

__all__ = ["check_same_sample", "joined"]

T = TypeVar("T")
_FACTS = ("id", "gold label", "prompt")


def joined(streams: Sequence[Iterator[T]], row_of: Callable[[T], int]) -> Iterator[list[T | None]]:
    """Each row that any stream holds, ascending: what each holds of it, or None. Streams ascend by row."""
    heads = [next(s, None) for s in streams]
    while any(h is not None for h in heads):
        row = min(row_of(h) for h in heads if h is not None)
        there = [h if h is not None and row_of(h) == row else None for h in heads]
        yield there
        heads = [h if one is None else next(s, None) for h, one, s in zip(heads, there, streams, strict=True)]


def check_same_sample(names: Sequence[str], row: int, facts: Sequence[tuple[str, int | bool | None, int]]) -> None:
    """Raises :class:`DataError` unless all runs state the same id, gold label and prompt (its number) of a row."""
    for name, stated in zip(names[1:], facts[1:], strict=True):
        for what, mine, theirs in zip(_FACTS, facts[0], stated, strict=True):
            if mine != theirs:
                raise DataError(
                    f"runs {names[0]!r} and {name!r} disagree on the {what} of row {row} (sample {facts[0][0]!r}): "
                    "they did not run on the same data"
                )
