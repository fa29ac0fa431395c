"""What is measured: one cell a setting, each in every round, in an order that no cell profits from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from guardeval.benchmarking.settings import BenchSettings
from guardeval.contracts import Traits

__all__ = ["Cell", "Kind", "cells_of", "in_order", "models_in_order"]


class Kind(StrEnum):
    """What a cell varies."""

    CONCURRENCY = "concurrency"  # queries under way at once
    LENGTH = "length"  # of the judged text, in tokens of four characters
    BATCH = "batch"  # prompts a call of a local model
    FIRST_TOKEN = "first_token"  # noqa: S105  # answers limited to one token, one at a time


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting; ``size`` is in the unit of its kind."""

    kind: Kind
    size: int

    def __str__(self) -> str:
        return "first token" if self.kind is Kind.FIRST_TOKEN else f"{self.kind} {self.size}"


def cells_of(settings: BenchSettings, traits: Traits, *, local: bool, n: int) -> tuple[list[Cell], list[str]]:
    """The cells of one model, and what is not measured of it and why. ``n``: samples at hand."""
    cells = [Cell(Kind.CONCURRENCY, c) for c in settings.concurrency] + [Cell(Kind.LENGTH, c) for c in settings.lengths]
    left_out = []
    for size in settings.batch if local else ():
        if size > traits.batch:
            left_out.append(
                f"batch {size}: it takes at most {traits.batch} prompts a call (-M batch= raises it where there is one)"
            )
        elif size > n:
            left_out.append(f"batch {size}: {n} samples do not fill one; --n gives more")
        else:
            cells.append(Cell(Kind.BATCH, size))
    if settings.batch and not local:
        left_out.append("throughput by batch size: a remote model makes its own batches")
    if traits.classifies:
        left_out.append("time to first token, tokens a second: it writes no tokens")
    else:
        cells.append(Cell(Kind.FIRST_TOKEN, 1))
    return cells, left_out


def in_order(cells: Sequence[Cell], seed: int, turn: int, model: int) -> list[Cell]:
    """The cells of one model's turn, shuffled: what the machine does beside must not meet the same cell every time."""
    mixed = list(cells)
    random.Random(f"{seed}/{turn}/{model}").shuffle(mixed)
    return mixed


def models_in_order(count: int, turn: int) -> list[int]:
    """Models of a round, by place: each round begins with the next one."""
    return [(turn + i) % count for i in range(count)]
