"""What solvers and models are shown of a sample: what is judged, and nothing of what the answer should be.

A copy without labels, gold policies, category and upstream row, any of which may hold the answer. Whatever is done to it, the
original is what is scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from guardeval.contracts import Solver
from guardeval.data import Sample

__all__ = ["reads_gold", "sealed", "shown_to"]


def sealed(sample: Sample) -> Sample:
    """A sample of the same id, row and texts, for which nothing is settled."""
    return Sample(sample.id, sample.index, sample.prompt, sample.response, history=sample.history)


def shown_to(solver: Solver) -> Callable[[Sample], Sample]:
    """What a sample is turned into before this solver is asked about it."""
    return (lambda sample: sample) if reads_gold(solver) else sealed


def reads_gold(solver: Solver) -> bool:
    """Whether a solver, or one that it holds, says so: its verdicts measure no guard."""
    if getattr(solver, "reads_gold", False):
        return True
    held: list[object] = (
        [getattr(solver, f.name) for f in dataclasses.fields(solver)] if dataclasses.is_dataclass(solver) else []
    )
    return any(reads_gold(h) for h in held if isinstance(h, Solver))
