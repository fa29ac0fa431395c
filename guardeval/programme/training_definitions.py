"""What experiments of phases 3 to 5 make beside runs: traces, synthetic rows, training sets, models, faster models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guardeval.programme.references import Reference

__all__ = ["Evaluation", "OnHard", "Preparation", "Speed", "Split", "Synthesis", "TraceCheck", "Traces", "Training"]


@dataclass(frozen=True, slots=True)
class Traces:
    """``guardeval traces``: ``n`` rows of a training task, explained by the role ``teacher``."""

    task: str
    n: int
    output: str
    solver: str = "multistep"
    hints: str = "none"


@dataclass(frozen=True, slots=True)
class TraceCheck:
    """``guardeval traces check`` of the traces of another experiment."""

    of: int


@dataclass(frozen=True, slots=True)
class Synthesis:
    """``guardeval synthesize``: ``n`` variants of the samples of ``task`` that the members of ``mined_by`` disagree about."""

    mined_by: int
    task: str
    n: int
    output: str


@dataclass(frozen=True, slots=True)
class Preparation:
    """``guardeval prepare`` of what other experiments wrote; ``against``: benchmarks that no row may overlap with."""

    sources: tuple[int, ...]
    validation: float
    against: tuple[str, ...]
    output: str


@dataclass(frozen=True, slots=True)
class Split:
    """What the split of a prepared set looks like, its overlap with test sets, and the teacher's score on the held-out part."""

    of: int


@dataclass(frozen=True, slots=True)
class Training:
    """``guardeval train``: ``student`` is a role of the model set, or with ``parent`` the model of another experiment."""

    trainer: str
    data: int
    name: str
    student: str = "student"
    parent: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnHard:
    """Systems on the hard samples that ``mined_by`` mined, each under a name of its own."""

    mined_by: int
    systems: Mapping[str, Reference]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The best of some trained models by its validation score, in full; people judge the reasoning of ``n`` samples."""

    name: str
    candidates: tuple[Reference, ...]
    n: int


@dataclass(frozen=True, slots=True)
class Speed:
    """A trained model made faster, each way checked against it, all of them timed; and a student distilled from it."""

    of: int
    optimizers: tuple[str, ...]
    distilled: bool
    limit_ms: float
    least: float  # accuracy, a share
