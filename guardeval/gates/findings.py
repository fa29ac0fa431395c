"""What a gate decided: one finding a check, and all of them as one report. Values only; how they are shown is not told here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Finding", "GateReport", "Kind", "Status"]


class Status(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"  # could not be decided (no positives, no prices); never counted as passed


class Kind(StrEnum):
    """What a check guards."""

    REGRESSION = "regression"  # paired, against the baseline's verdicts on the same samples
    BUDGET = "budget"  # out of family may not fall while in family rises
    FLOOR = "floor"  # parse rate, coverage, a metric: may not be lower
    CEILING = "ceiling"  # latency, cost, over-flagging: may not be higher


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one number.

    ``task`` is a task, or a name of several (``out of family``); ``part`` names a policy (``policy:violence``) or a slice
    (``category:privacy``) of it, empty for the whole. ``metric`` is a results key without accounting (``f1``, ``latency_p95``).
    ``difference`` is current minus baseline, ``interval`` its two-sided 95 % interval. ``p`` is one-sided, ``adjusted`` after
    the correction for all checks of the family. ``detectable`` is the smallest true loss that the check finds with a
    probability of 0.8. All of them None where they do not apply.
    """

    kind: Kind
    status: Status
    task: str
    metric: str
    message: str  # one sentence: what, by how much, and against which limit
    part: str = ""
    accounting: str = ""
    baseline: float | None = None
    current: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    adjusted: float | None = None
    limit: float | None = None  # the tolerance, floor, ceiling or budget it was held against
    detectable: float | None = None
    n: int | None = None
    unit: str = ""  # "", "s", "USD"

    @property
    def name(self) -> str:
        """Unique in a report: ``wildguard · policy:violence · f1,strict``, and for other kinds the kind in front."""
        metric = f"{self.metric},{self.accounting}" if self.accounting else self.metric
        parts = [self.task, *([self.part] if self.part else []), metric]
        return " · ".join(parts if self.kind is Kind.REGRESSION else [str(self.kind), *parts])


@dataclass(frozen=True, slots=True)
class GateReport:
    """All findings of one ``guardeval check``. Failed if any finding is; a gate that could decide nothing has not passed."""

    findings: Sequence[Finding]
    baseline: str  # file
    runs: Sequence[str]  # folders
    model: str  # of the runs
    baseline_model: str
    alpha: float  # family-wise, of all regression and budget checks together
    seconds: float = 0.0  # what the check took
    notes: Sequence[str] = ()  # what a reader must know: contaminated, provisional, tasks without a baseline
    about: Mapping[str, Any] = field(default_factory=dict)  # JSON-able: versions, dates, data identity

    @property
    def failed(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.status is Status.FAILED)

    @property
    def ok(self) -> bool:
        return not self.failed and any(f.status is Status.PASSED for f in self.findings)
