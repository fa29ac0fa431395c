"""Checks of regressions and of the generalisation budget, tested together: pairs of verdicts in, findings out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from guardeval.gates.detectable import Part, detectable_loss
from guardeval.gates.findings import Finding, Kind, Status
from guardeval.gates.intervals import difference_draws, interval_of, unseen_change
from guardeval.gates.measures import CATEGORY, POLICY, Measure, formula, measures_of, widest
from guardeval.gates.pairs import TaskPair
from guardeval.gates.settings import GateSettings
from guardeval.gates.swaps import Counts, Tested, counts_of, joint_test
from guardeval.gates.wording import budget_words, regression_words, skipped_words

__all__ = ["BUDGET", "OUT_OF_FAMILY", "decide"]

Floats = NDArray[np.float64]
BUDGET = 0.02  # of macro F1, where a family is named and no budget
OUT_OF_FAMILY, IN_FAMILY = "out of family", "in family"
MACRO_F1 = "macro_f1"
_OF_POSITIVES = ("f1", "precision")  # a constant without a positive, where other metrics are undefined


@dataclass(frozen=True, slots=True)
class _Check:
    """A weighted sum of measures, by their places; ``why``: why it is not tested, empty where it is."""

    kind: Kind
    task: str
    part: str
    metric: str
    members: tuple[int, ...]
    tolerance: float
    n: int
    why: str = ""

    def weights(self, b: int) -> Floats:
        out = np.zeros(b)
        out[list(self.members)] = 1.0 / max(1, len(self.members))
        return out


def decide(
    pairs: Sequence[TaskPair], settings: GateSettings, in_family: Sequence[str] | None = None
) -> tuple[list[Finding], list[str]]:
    """Findings of all regression and budget checks, and notes on what stands beside them.

    ``in_family``: tasks of the family that the model was made from, None where no budget is asked for. The family-wise error
    over all findings is at most ``settings.alpha``.
    """
    measures = [m for p in pairs for m in measures_of(p, settings.metrics, settings.policies, settings.slices)]
    places = {(m.task, m.metric, m.part): i for i, m in enumerate(measures)}
    budgeted = [p.name for p in pairs] if in_family is not None else []
    for pair in pairs:  # macro F1 needs each task's, asked for or not
        if pair.name in budgeted and (pair.name, "f1", "") not in places:
            places[pair.name, "f1", ""] = len(measures)
            measures.append(Measure(pair.name, "f1", "", len(pair), int((pair.gold == 1).sum())))
    counts = counts_of(pairs, measures, settings.accounting)
    checks = list(_regressions(counts, settings))
    if in_family is not None:
        checks += _budget(counts, settings, in_family, places, budgeted)
    if not checks:
        return [], []
    weights = np.stack([c.weights(len(measures)) for c in checks])
    tolerance = np.array([c.tolerance for c in checks])
    tested = np.array([not c.why for c in checks])
    found = joint_test(counts, weights, tolerance, tested, settings.alpha, settings.permutations, settings.seed)
    draws = difference_draws(pairs, measures, settings.accounting, settings.resamples, settings.seed)
    repeats = {p.name: p.mean_repeats for p in pairs}
    shown = _Shown(counts, settings, checks, found, draws, repeats, int(tested.sum()))
    findings = [shown.finding(i) for i, c in enumerate(checks) if c.task != IN_FAMILY]
    return findings, [shown.in_family_note(i) for i, c in enumerate(checks) if c.task == IN_FAMILY and c.members]


def _regressions(counts: Counts, settings: GateSettings) -> Iterator[_Check]:
    for i, m in enumerate(counts.measures):
        if not m.part and m.metric not in settings.metrics:
            continue  # there for a macro average only
        values = [float(formula(m.metric).value(side[i])) for side in (counts.before, counts.after)]
        limit = settings.tolerance.of(m.metric, m.task, m.part) or 0.0
        yield _Check(Kind.REGRESSION, m.task, m.part, m.metric, (i,), limit, _support(counts, i), _why_not(m, values, settings))


def _support(counts: Counts, i: int) -> int:
    """Samples that the metric of the current model is of, as beside a floor: of over-flagging the negatives."""
    return round(float(formula(counts.measures[i].metric).support(counts.after[i])))


def _why_not(m: Measure, values: Sequence[float], settings: GateSettings) -> str:
    if any(map(math.isnan, values)):
        return f"{m.metric} is undefined: {m.n} samples, {m.positives} of them positive"
    if m.metric in _OF_POSITIVES and not m.part and not m.positives:
        return f"{m.metric} of {m.n} samples, none of them positive, is 0 whatever a model says"
    if m.part.startswith(POLICY) and m.positives < settings.min_positives:
        return f"{m.positives} known positives; {settings.min_positives} are wanted (min_positives)"
    if m.part.startswith(CATEGORY) and m.n < settings.min_slice:
        return f"{m.n} samples; {settings.min_slice} are wanted (min_slice)"
    return ""


def _budget(
    counts: Counts,
    settings: GateSettings,
    in_family: Sequence[str],
    places: Mapping[tuple[str, str, str], int],
    names: Sequence[str],
) -> list[_Check]:
    """Macro F1 out of family, tested, and in family, shown; over the tasks with positives in which both models have an F1: one
    that is always 0 would only thin out what the others lose."""
    out = []
    limit = BUDGET if settings.budget is None else settings.budget
    for name, inside in ((OUT_OF_FAMILY, False), (IN_FAMILY, True)):
        tasks = [t for t in names if (t in in_family) is inside]
        defined = [t for t in tasks if _has_f1(counts, places[t, "f1", ""])]
        members = tuple(places[t, "f1", ""] for t in defined)
        why = "" if members else "no task out of family has an F1 of both models: run one to hold the budget"
        why = why or ("shown only" if inside else "")
        out.append(_Check(Kind.BUDGET, name, "", MACRO_F1, members, limit, sum(_support(counts, m) for m in members), why))
    return out


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _bonferroni(alpha: float, checks: int) -> float:
    return NormalDist().inv_cdf(1.0 - alpha / max(1, checks))


def _has_f1(counts: Counts, i: int) -> bool:
    values = [float(formula("f1").value(side[i])) for side in (counts.before, counts.after)]
    return counts.measures[i].positives > 0 and not any(map(math.isnan, values))


@dataclass(frozen=True, slots=True)
class _Shown:
    """All that a finding is written from."""

    counts: Counts
    settings: GateSettings
    checks: Sequence[_Check]
    found: Tested
    draws: Floats
    repeats: Mapping[str, float]  # by task
    family: int  # checks that the correction covers

    def finding(self, i: int) -> Finding:
        check, settings, values = self.checks[i], self.settings, self._values(i)
        finding = Finding(
            kind=check.kind,
            status=Status.SKIPPED,
            task=check.task,
            part=check.part,
            metric=check.metric,
            message="",
            accounting=settings.accounting,
            limit=check.tolerance,
            n=check.n,
            detectable=self._detectable(check, float(self.found.spread[i])),
            baseline=values.baseline,
            current=values.current,
            difference=values.difference,
            interval=values.interval,
        )
        if check.why:
            return replace(finding, message=skipped_words(finding, check.why))
        p, adjusted = float(self.found.p[i]), float(self.found.adjusted[i])
        beyond = float(self.found.loss[i]) - check.tolerance > 1e-12
        significant = beyond and adjusted <= settings.alpha
        exceeded = beyond and settings.budget_strict and check.kind is Kind.BUDGET
        wanted = self._wanted(check)
        blind = wanted is not None and (finding.detectable is None or finding.detectable > wanted)
        failed = significant or exceeded or blind
        finding = replace(finding, status=Status.FAILED if failed else Status.PASSED, p=p, adjusted=adjusted)
        told = regression_words(finding, settings.alpha, significant, wanted if blind else None)
        if check.kind is Kind.BUDGET:
            inside = self._in_family()
            beside = (inside.baseline, inside.current)
            told = budget_words(finding, settings.alpha, significant, exceeded, wanted if blind else None, beside)
        return replace(finding, message=told)

    def _values(self, i: int) -> _Values:
        members = list(self.checks[i].members)
        if not members:
            return _Values()
        metric = self.checks[i].metric
        value = formula("f1" if metric == MACRO_F1 else metric).value
        before, after = (float(np.mean(value(side[members]))) for side in (self.counts.before, self.counts.after))
        if math.isnan(before) or math.isnan(after):
            return _Values(_defined(before), _defined(after))
        unseen = math.hypot(*map(self._unseen, members)) / len(members)
        interval = interval_of(self.draws[:, members].mean(axis=1), after - before, unseen, widest(metric))
        return _Values(before, after, after - before, interval)

    def _unseen(self, i: int) -> float:
        """How far a measure may have moved where no sample was seen to change, by either model's totals."""
        m = self.counts.measures[i]
        return max(unseen_change(m.metric, side[i], self.repeats[m.task]) for side in (self.counts.before, self.counts.after))

    def _detectable(self, check: _Check, spread: float) -> float | None:
        weight = 1.0 / max(1, len(check.members))
        measures = [(self.counts.measures[m], self.counts.before[m]) for m in check.members]
        parts: list[Part] = [(m.metric, before, self.repeats[m.task], weight) for m, before in measures]
        return detectable_loss(parts, spread, check.tolerance, self._critical(check)) if parts else None

    def _critical(self, check: _Check) -> float:
        """Standardised loss that is significant: what the swaps showed, but no less than Bonferroni's for the checks that a
        loss here could set in motion (those of the same tasks), for what did not change has shown nothing."""
        tasks = {self.counts.measures[m].task for m in check.members}
        near = [c for c in self.checks if not c.why and not tasks.isdisjoint(self.counts.measures[m].task for m in c.members)]
        least, most = (_bonferroni(self.settings.alpha, n) for n in (len(near), self.family + bool(check.why)))
        return min(most, max(self.found.critical, least))

    def _wanted(self, check: _Check) -> float | None:
        """The largest loss that may stay unseen; of whole tasks and of parts that it names, not of every small policy."""
        limits = self.settings.require_detectable
        if not check.part:
            return limits.of("f1" if check.metric == MACRO_F1 else check.metric, check.task)
        name = check.part.partition(":")[2]
        named = any(k.part in (name, check.part) and k.metric == check.metric for k in limits.given)
        return limits.of(check.metric, check.task, check.part) if named else None

    def _in_family(self) -> _Values:
        at = next((i for i, c in enumerate(self.checks) if c.task == IN_FAMILY), None)
        return _Values() if at is None else self._values(at)

    def in_family_note(self, i: int) -> str:
        found = self._values(i)
        tasks = ", ".join(self.counts.measures[m].task for m in self.checks[i].members)
        interval = "" if found.interval is None else f" [{found.interval[0]:+.3f}, {found.interval[1]:+.3f}]"
        moved = f"{found.baseline:.3f} → {found.current:.3f} ({found.difference:+.3f}{interval})"
        return f"in family ({tasks}): macro F1 {moved}; shown beside the budget, not tested"


@dataclass(frozen=True, slots=True)
class _Values:
    baseline: float | None = None
    current: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
