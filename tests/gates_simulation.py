"""The gate's promises, simulated: false alarms of reruns, also with a true loss equal to the tolerance, and power."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from gates_support import Bench, Rng, benches, flagging_more, missing_more, pair_of
from numpy.typing import NDArray

from guardeval.data import Target
from guardeval.gates.decisions import decide
from guardeval.gates.findings import Finding, Status
from guardeval.gates.limits import Key, Limit, Limits
from guardeval.gates.pairs import Said, TaskPair
from guardeval.gates.settings import GateSettings
from guardeval.metrics import CONFUSION

SIZES = (60, 400, 1500)
ALPHA = 0.05
SETTINGS = GateSettings(alpha=ALPHA, permutations=499, resamples=0)
Worse = Callable[[Bench, Said, float, Rng], Said]
_MOVES = {missing_more: (0, np.array([-1.0, 0, 1, 0])), flagging_more: (3, np.array([0, 1.0, 0, -1]))}


def _two_errors(share: float, tries: int) -> float:
    """Two standard errors of a share."""
    return 2 * math.sqrt(share * (1 - share) / tries)


class Alarms(NamedTuple):
    reruns: int
    alarms: int
    seconds: float  # a rerun

    @property
    def most(self) -> float:
        """Two standard errors above alpha."""
        return ALPHA + _two_errors(ALPHA, self.reruns)

    @property
    def rate(self) -> float:
        return self.alarms / self.reruns


class Power(NamedTuple):
    tries: int
    found: int
    effect: float  # mean of those printed

    @property
    def least(self) -> float:
        """Two standard errors below 0.8."""
        return 0.8 - _two_errors(0.8, max(1, self.tries))

    @property
    def rate(self) -> float:
        return self.found / self.tries if self.tries else math.nan


def false_alarms(n: int, reruns: int, seed: int = 0, tasks: int = 4) -> Alarms:
    """Reruns of the same models in which any check failed."""
    held, rng = benches(n, seed, tasks), np.random.default_rng(seed + 1)
    start, alarms = time.perf_counter(), 0
    for rerun in range(reruns):
        pairs = [pair_of(b, b.said(rng), b.said(rng)) for b in held]
        alarms += any(_failed(decide(pairs, replace(SETTINGS, seed=rerun), [held[0].name])[0]))
    return Alarms(reruns, alarms, (time.perf_counter() - start) / reruns)


def alarms_at_tolerance(n: int, reruns: int, tolerance: float = 0.05, seed: int = 0, worse: Worse = missing_more) -> Alarms:
    """Runs that have truly lost the whole tolerance in F1 of every task, and no more, in which any check failed."""
    tasks, rng = benches(n, seed), np.random.default_rng(seed + 2)
    limits = Limits({Key("f1"): Limit(tolerance)})
    settings = replace(SETTINGS, metrics=("f1",), policies=False, tolerance=limits)
    shares = [_share(_counts(b, [b.said(rng) for _ in range(200)]), tolerance, worse) for b in tasks]
    start, alarms = time.perf_counter(), 0
    for rerun in range(reruns):
        pairs = [pair_of(b, b.said(rng), worse(b, b.said(rng), s, rng)) for b, s in zip(tasks, shares, strict=True)]
        alarms += any(_failed(decide(pairs, replace(settings, seed=rerun))[0]))
    return Alarms(reruns, alarms, (time.perf_counter() - start) / reruns)


class Trade(NamedTuple):
    """A model that finds and flags less than another, or more, at the same F1."""

    positives: float  # share
    found: float
    flagged: float
    found_later: float

    @property
    def flagged_later(self) -> float:
        p, before = self.positives, self.positives * self.found
        f1 = 2 * before / (before + p + (1 - p) * self.flagged)
        return (2 * p * self.found_later / f1 - p * self.found_later - p) / (1 - p)


TRADES = (Trade(0.4, 0.9, 0.2, 0.72), Trade(0.5, 0.98, 0.9, 0.52), Trade(0.4, 0.7, 0.01, 0.9), Trade(0.1, 0.95, 0.3, 0.28),
          Trade(0.1, 0.9, 0.5, 0.2))  # fmt: skip


def alarms_of_trade(trade: Trade, n: int, reruns: int, seed: int = 0) -> Alarms:
    """Models of equal F1 over drawn samples in which F1, tested alone, failed."""
    rng, settings = np.random.default_rng(seed), replace(SETTINGS, metrics=("f1",), policies=False)
    start, alarms = time.perf_counter(), 0
    for rerun in range(reruns):
        gold = (rng.random(n) < trade.positives).astype(np.int64)
        luck = rng.random(n)
        before, after = (
            luck < np.where(gold, trade.found, trade.flagged),
            luck < np.where(gold, trade.found_later, trade.flagged_later),
        )
        alarms += any(_failed(decide([_plain_pair(gold, before, after)], replace(settings, seed=rerun))[0]))
    return Alarms(reruns, alarms, (time.perf_counter() - start) / reruns)


def power(n: int, tries: int, worse: Worse = missing_more, seed: int = 0, tasks: int = 4) -> Power:
    """How often a task's F1 is found to be worse that has truly lost what the gate printed as detectable for that rerun."""
    held, rng = benches(n, seed, tasks), np.random.default_rng(seed + 3)
    done = found = 0
    effects = []
    for rerun in range(tries):
        settings = replace(SETTINGS, seed=rerun)
        said = [(b.said(rng), b.said(rng)) for b in held]
        pairs = [pair_of(b, *both) for b, both in zip(held, said, strict=True)]
        printed = _f1_of(decide(pairs, settings)[0], held[0].name).detectable
        counts = _counts(held[0], [said[0][0]])
        share = _share(counts, printed, worse) if printed is not None else math.nan
        if printed is None or math.isnan(share):
            continue  # no loss of that size can come about in this way
        after = worse(held[0], said[0][1], share, rng)
        lost: list[TaskPair] = [pair_of(held[0], said[0][0], after), *pairs[1:]]
        done, effects = done + 1, [*effects, printed]
        found += _f1_of(decide(lost, settings)[0], held[0].name).status is Status.FAILED
    return Power(done, found, float(np.mean(effects)) if effects else math.nan)


def _failed(findings: Sequence[Finding]) -> list[bool]:
    return [f.status is Status.FAILED for f in findings]


def _f1_of(findings: Sequence[Finding], task: str) -> Finding:
    return next(f for f in findings if (f.task, f.metric, f.part) == (task, "f1", ""))


def _counts(one: Bench, runs: Sequence[Said]) -> NDArray[np.float64]:
    """Mean tp, fp, fn, tn under strict."""
    out = np.zeros(4)
    for said in runs:
        label = np.where(said.label < 0, 1 - one.gold, said.label)
        out += [int(((one.gold == g) & (label == v)).sum()) for g, v in ((1, 1), (0, 1), (1, 0), (0, 0))]
    return out / len(runs)


def _share(counts: NDArray[np.float64], loss: float, worse: Worse) -> float:
    """Share of found positives to miss, or of passed negatives to flag, that costs as much F1; nan where none does."""
    cell, move = _MOVES[worse]
    shares = np.linspace(0, 1, 2001)
    f1 = CONFUSION["f1"].value
    lost = f1(counts) - f1(counts + shares[:, None] * counts[cell] * move)
    return float(np.interp(loss, lost, shares)) if lost[-1] >= loss else math.nan


class Covered(NamedTuple):
    tries: int
    covered: int
    unchanged: int  # tries in which no sample that counts changed

    @property
    def least(self) -> float:
        """Two standard errors below the 0.95 that an interval claims."""
        return 0.95 - _two_errors(0.95, self.tries)

    @property
    def rate(self) -> float:
        return self.covered / self.tries


class Change(NamedTuple):
    """A model of ``positives`` and ``negatives`` that finds and flags some, and what a later one misses and flags of the rest."""

    metric: str
    positives: int
    negatives: int
    found: float
    flagged: float
    missed: float = 0.0  # of what was found
    added: float = 0.0  # of what was passed
    part: str = ""


CHANGES = (
    Change("overflagging", 30, 26, 0.8, 0.1, added=0.07),
    Change("overflagging", 480, 20, 0.8, 0.1, added=0.02),
    Change("f1", 6, 50, 0.9, 0.02, missed=0.26, part="policy:violence"),
    Change("f1", 6, 50, 0.6, 0.05, added=0.05, part="policy:violence"),
    Change("f1", 28, 28, 0.8, 0.1, missed=0.03, added=0.03),
    Change("recall", 20, 36, 0.8, 0.1, missed=0.1),
    Change("precision", 28, 28, 0.8, 0.1, added=0.05),
)


def coverage(change: Change, tries: int, seed: int = 0) -> Covered:
    """How often the printed interval holds the true difference."""
    rng, settings = np.random.default_rng(seed), replace(SETTINGS, permutations=20, resamples=400, min_positives=1)
    settings = replace(settings, metrics=(change.metric,), policies=bool(change.part))
    gold = np.repeat([1, 0], [change.positives, change.negatives])
    sure = np.repeat([change.found, change.flagged], [change.positives, change.negatives])
    then = np.where(gold == 1, sure * (1 - change.missed), sure + (1 - sure) * change.added)
    truth = np.diff([float(CONFUSION[change.metric].value(_expected(gold, p))) for p in (sure, then)])[0]
    covered = unchanged = 0
    for number in range(tries):
        before = rng.random(len(gold)) < sure
        turned = np.where(gold == 1, rng.random(len(gold)) < change.missed, rng.random(len(gold)) < change.added)
        after = np.where(turned, gold == 0, before)
        of = np.flatnonzero(gold == 0) if change.metric == "overflagging" else slice(None)
        unchanged += bool((before[of] == after[of]).all())
        pair = _plain_pair(gold, before, after)
        findings = decide([pair], replace(settings, seed=number))[0]
        low, high = next(f.interval for f in findings if f.part == change.part) or (math.nan, math.nan)
        covered += low - 1e-9 <= truth <= high + 1e-9
    return Covered(tries, covered, unchanged)


def _expected(gold: NDArray[np.int64], flagged: NDArray[np.float64]) -> NDArray[np.float64]:
    cells = ((1, flagged), (0, flagged), (1, 1 - flagged), (0, 1 - flagged))
    return np.array([float(np.where(gold == g, p, 0).sum()) for g, p in cells])


def _plain_pair(gold: NDArray[np.int64], before: NDArray[np.bool_], after: NDArray[np.bool_]) -> TaskPair:
    """Positives are all of one policy, and so is what is flagged."""
    said = [Said(label.astype(np.int8), label.astype(np.int64)) for label in (before, after)]
    none = np.full(len(gold), -1)
    known, cluster = np.ones(len(gold), np.int64), np.arange(len(gold))
    return TaskPair("t", Target.PROMPT, ("violence",), gold, gold, known, cluster, none, (), *said)
