"""What an experiment is: arms that are plain runs, what is made of them, what is expected. Frozen values, no reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guardeval.programme.references import BASELINE, Reference
from guardeval.programme.training_definitions import (
    Evaluation,
    OnHard,
    Preparation,
    Speed,
    Split,
    Synthesis,
    TraceCheck,
    Traces,
    Training,
)

__all__ = [
    "BASELINE",
    "Ablation",
    "Arm",
    "Choice",
    "Combination",
    "Expected",
    "Experiment",
    "Failures",
    "Fit",
    "Generalisation",
    "Mining",
    "PolicyTable",
    "Reference",
]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of asking, of one or several roles of the model set: each a plain ``guardeval run``.

    ``model:36`` as a role is the model that experiment 36 trained.
    """

    name: str
    solver: str
    solver_args: Mapping[str, Any] = field(default_factory=dict)
    policies: str = "minimal"
    models: tuple[str, ...] = ("main",)


@dataclass(frozen=True, slots=True)
class Combination:
    """Finished runs made one: ``guardeval combine``. ``members``: an arm with several models, or several arms."""

    name: str
    members: tuple[Reference, ...]
    solver_args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fit:
    """Vote weights learnt on one half of the samples and applied to the other; ``against`` is counted on that half too."""

    name: str
    members: tuple[Reference, ...]
    against: Reference
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Mining:
    """``guardeval mine``: the samples that members disagree about most; ``output`` with ``{task}`` for its name."""

    members: tuple[Reference, ...]
    top: float
    output: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The best of some arms on one half of the samples that ``mined_by`` mined, reported on the other half."""

    name: str
    candidates: tuple[Reference, ...]
    mined_by: int
    metric: str = "accuracy"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Failures:
    """Modes of failure of one system, and ``n`` of its misclassified samples written out for review."""

    of: Reference
    n: int
    output: str


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """F1 by policy of several systems side by side; ``least`` is what every policy should reach, a share."""

    systems: tuple[Reference, ...]
    least: float


@dataclass(frozen=True, slots=True)
class Ablation:
    """Arms against the full one, paired: what each removed step was worth, with flips and cost."""

    full: Reference
    without: Mapping[str, Reference]  # what was removed → the arm that did


@dataclass(frozen=True, slots=True)
class Generalisation:
    """Systems on several benchmarks, and each benchmark's gap to ``home``."""

    systems: tuple[Reference, ...]
    home: str
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the plan expects of a number, shares in [0, 1]; with ``against`` of a difference. None: open to that side.

    Without bounds it is a contrast that is measured and tested, and nothing was said about it before.
    """

    of: Reference
    metric: str
    low: float | None = None
    high: float | None = None
    against: Reference | None = None  # None with `baseline` False: the number itself
    baseline: bool = False
    where: str = ""  # file and line

    @property
    def is_difference(self) -> bool:
        return self.baseline or self.against is not None


@dataclass(frozen=True, slots=True)
class Experiment:
    """One YAML file of the programme."""

    number: int
    title: str
    phase: int
    about: str
    tasks: tuple[str, ...]
    measure: tuple[str, ...]
    run: tuple[Arm, ...] = ()
    combine: tuple[Combination, ...] = ()
    fit: tuple[Fit, ...] = ()
    mine: Mining | None = None
    choose: Choice | None = None
    failures: Failures | None = None
    policies_of: PolicyTable | None = None
    ablation: Ablation | None = None
    generalisation: Generalisation | None = None
    traces: Traces | None = None
    check_traces: TraceCheck | None = None
    synthesize: Synthesis | None = None
    prepare: Preparation | None = None
    split: Split | None = None
    train: Training | None = None
    on_hard: OnHard | None = None
    evaluate: Evaluation | None = None
    speed: Speed | None = None
    expected: tuple[Expected, ...] = ()
    notes: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Of all that others may refer to."""
        chosen = (self.choose.name,) if self.choose else ()
        hard = tuple(self.on_hard.systems) if self.on_hard else ()
        best = (self.evaluate.name,) if self.evaluate else ()
        teacher = ("teacher",) if self.split else ()
        made = (*(a.name for a in self.run), *(c.name for c in self.combine), *(f.name for f in self.fit))
        return (*made, *chosen, *hard, *best, *teacher)

    @property
    def of_training_rows(self) -> bool:
        """It is about its own training task, whatever benchmarks the user names."""
        return any((self.traces, self.check_traces, self.synthesize, self.prepare, self.split))

    def arm(self, name: str) -> Arm | None:
        return next((a for a in self.run if a.name == name), None)

    def combination(self, name: str) -> Combination | None:
        return next((c for c in self.combine if c.name == name), None)

    def references(self) -> Sequence[Reference]:
        """Everything it refers to, its own arms included."""
        out = [m for c in self.combine for m in c.members]
        for f in self.fit:
            out += [*f.members, f.against]
        out += [*self.mine.members] if self.mine else []
        out += [*self.choose.candidates] if self.choose else []
        out += [self.failures.of] if self.failures else []
        out += [*self.policies_of.systems] if self.policies_of else []
        out += [self.ablation.full, *self.ablation.without.values()] if self.ablation else []
        out += [*self.generalisation.systems] if self.generalisation else []
        out += [*self.on_hard.systems.values()] if self.on_hard else []
        out += [*self.evaluate.candidates] if self.evaluate else []
        for e in self.expected:
            out += [e.of, *([e.against] if e.against else [])]
        return out
