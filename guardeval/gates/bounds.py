"""Floors and ceilings: the run's own numbers against a limit, point by point, without a test. Each comes with its n."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from guardeval.accounting import account
from guardeval.gates.candidate import heard_share
from guardeval.gates.efforts import EFFORTS, Efforts, efforts_of
from guardeval.gates.findings import Finding, Kind, Status
from guardeval.gates.limits import Key, Limit
from guardeval.gates.settings import COVERAGE, PARSE_RATE, GateSettings
from guardeval.metrics import CONFUSION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from guardeval.gates.baseline import Baseline, TaskBaseline
    from guardeval.gates.candidate import Candidate, TaskSide
    from guardeval.judged import Judgements

__all__ = ["bounds"]

_UNITS = {"latency_p50": "s", "latency_p95": "s", "latency_p99": "s", "cost_per_1000": "USD"}


def bounds(candidate: Candidate, baseline: Baseline, names: Sequence[str], settings: GateSettings) -> list[Finding]:
    """A finding for each floor and ceiling of each task; all labelled samples of the run count, in the baseline or not."""
    asked = [(Kind.FLOOR, *found) for found in settings.floor.applying(names)]
    asked += [(Kind.CEILING, *found) for found in settings.ceiling.applying(names)]
    return [_bound(k, key, limit, candidate.tasks[key.task], baseline.tasks[key.task], settings) for k, key, limit in asked]


def _bound(kind: Kind, key: Key, limit: Limit, side: TaskSide, base: TaskBaseline, settings: GateSettings) -> Finding:
    accounting = settings.accounting if key.metric in CONFUSION else ""
    unit = _UNITS.get(key.metric, "")
    if key.metric in EFFORTS:
        value, n, before, why = _effort(key.metric, efforts_of(side), base.efforts, limit.relative)
    else:
        value, n = _value(key.metric, side.judged, settings.accounting)
        before = base.value(key.metric)
        if math.isnan(value) and _definable(key.metric, side.judged):
            return _lost(kind, key, accounting, limit, before, side.judged)
        why = f"{key.metric} is undefined for these {_of_labels(side.judged)}" if math.isnan(value) else ""
        why = why or ("the baseline does not hold it" if limit.relative and math.isnan(before) else "")
    most = limit.value * before if limit.relative else limit.value
    found = Finding(
        kind, Status.SKIPPED, key.task, key.metric, "", accounting=accounting, n=n, unit=unit, limit=_defined(most),
        baseline=_defined(before), current=_defined(value), difference=_defined(value - before),
    )  # fmt: skip
    return _told(found, limit, why)


def _definable(metric: str, judged: Judgements) -> bool:
    """Whether right verdicts would give it a value: where they do and there is none, that is the model's doing."""
    positives, negatives = (int((judged.gold == g).sum()) for g in (1, 0))
    if metric not in CONFUSION:
        return positives + negatives > 0
    return not math.isnan(CONFUSION[metric].value(_cells(positives, 0, 0, negatives)))


def _cells(*counts: float) -> NDArray[np.float64]:
    import numpy as np

    return np.array(counts, float)


def _of_labels(judged: Judgements) -> str:
    labelled = int((judged.gold >= 0).sum())
    return f"{labelled} samples, {int((judged.gold == 1).sum())} of them positive"


def _lost(kind: Kind, key: Key, accounting: str, limit: Limit, before: float, judged: Judgements) -> Finding:
    """A limit that was asked for, on what the model leaves undefined: a guard that flags nothing has no precision to hold."""
    told = f"{key.metric} is undefined: {_verdicts(judged)}, of {_of_labels(judged)}"
    had = "" if math.isnan(before) else f"; the baseline has {before:.4g}"
    most = limit.value * before if limit.relative else limit.value
    return Finding(
        kind, Status.FAILED, key.task, key.metric, f"{told}{had}; so the {kind} of {limit} is not held",
        accounting=accounting, n=0, limit=_defined(most), baseline=_defined(before),
    )  # fmt: skip


def _verdicts(judged: Judgements) -> str:
    flagged, passed = (int(((judged.gold >= 0) & (judged.label == v)).sum()) for v in (1, 0))
    return f"{flagged} flagged and {passed} passed"


def _told(found: Finding, limit: Limit, why: str) -> Finding:
    from dataclasses import replace

    if why or found.current is None or found.limit is None:
        return replace(found, message=f"not held: {why}")
    broken = found.current < found.limit if found.kind is Kind.FLOOR else found.current > found.limit
    word = "below the floor" if found.kind is Kind.FLOOR else "above the ceiling"
    kept = "at or above the floor" if found.kind is Kind.FLOOR else "at or below the ceiling"
    share = f" ({limit.value:g} times the baseline's {_shown(found.baseline, found.unit)})" if limit.relative else ""
    text = f"{found.metric} is {_shown(found.current, found.unit)} of n={found.n}, {word if broken else kept} of"
    status = Status.FAILED if broken else Status.PASSED
    return replace(found, status=status, message=f"{text} {_shown(found.limit, found.unit)}{share}")


def _effort(metric: str, mine: Efforts, theirs: Efforts, relative: bool) -> tuple[float, int, float, str]:
    why = mine.why_not(metric, "of the run") or (theirs.why_not(metric, "of the baseline") if relative else "")
    n = mine.priced if metric == "cost_per_1000" else mine.timed
    before = getattr(theirs, metric) if not theirs.why_not(metric, "") else math.nan
    return float(getattr(mine, metric)), n, float(before), why


def _value(metric: str, judged: Judgements, accounting: str) -> tuple[float, int]:
    labelled = judged.gold >= 0
    if metric == PARSE_RATE:
        return heard_share(judged)
    if metric == COVERAGE:
        n = int(labelled.sum())
        return (float((judged.label[labelled] >= 0).mean()) if n else math.nan), n
    counts = _counts(judged, accounting)
    return float(CONFUSION[metric].value(counts)), round(float(CONFUSION[metric].support(counts)))


def _counts(judged: Judgements, accounting: str) -> NDArray[np.float64]:
    label, weight = account(judged, accounting)
    kept, gold = weight > 0, judged.gold
    each = [(gold == g) & (label == v) & kept for g, v in ((1, 1), (0, 1), (1, 0), (0, 0))]
    return _cells(*(float(e.sum()) for e in each))


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _shown(value: float | None, unit: str) -> str:
    return "n/a" if value is None else f"{value:.4g}{f' {unit}' if unit else ''}"
