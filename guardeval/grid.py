"""All votes and cascades of some finished runs side by side: what accuracy costs in time and money."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guardeval.accounting import cells_of, counts_under
from guardeval.bootstrap import Resampler, bootstrap
from guardeval.combine import Gathered, settle
from guardeval.data import Judged, Target
from guardeval.metrics import CONFUSION, edge_interval
from guardeval.registry import Registry
from guardeval.voting import VOTES, Combiner, Said

__all__ = ["BANDS", "System", "grid", "on_front"]

BANDS = ((0.1, 0.9), (0.2, 0.8), (0.3, 0.7), (0.4, 0.6))  # of cascades
_MOST_STAGES = 3

Row = tuple[Judged, Sequence[Said], int]


@dataclass(frozen=True, slots=True)
class System:
    """One way to judge: a member alone, a vote, or a cascade. F1 under ``strict`` with its interval.

    ``latency`` is the mean of seconds a sample: of members asked at once the slowest counts, of stages the sum. ``cost``: US
    dollars per 1,000 samples. Both nan where unknown. ``on_*``: no other system is better in F1 and not worse in it.
    """

    name: str
    members: tuple[str, ...]
    solver: str | None  # None: a member alone
    options: Mapping[str, Any]
    f1: float
    f1_ci: tuple[float, float]
    accuracy: float
    overflagging: float
    n: int
    latency: float
    cost: float
    asked: float  # members asked per sample
    on_latency_front: bool = False
    on_cost_front: bool = False


def grid(gathered: Gathered, registry: Registry | None = None, resamples: int = 1000, seed: int = 0) -> list[System]:
    """Every member alone, every vote of every two or more, every cascade of two or three, the quicker members first.

    Sorted by F1, best first; systems on a front are marked. One that judges every sample and takes just what a simpler one
    does is left out. Reads the runs once and holds them in memory.
    """
    registry = registry or Registry()
    rows = list(gathered)
    target = gathered.records[0].target
    speed = [_mean(_latency(said[i : i + 1], at_once=True) for _, said, _ in rows) for i in range(len(gathered.members))]
    judged = [
        _judged(rows, chosen, gathered.members, name, options, registry)
        for chosen, name, options in _candidates(len(gathered.members), speed)
    ]
    different = {one.key: one for one in reversed(judged)}  # of systems that cannot be told apart, the simplest
    found = [_scored(one, rows, target, resamples, seed) for one in judged if different[one.key] is one]
    latency = on_front([(s.latency, s.f1) for s in found])
    cost = on_front([(s.cost, s.f1) for s in found])
    marked = [replace(s, on_latency_front=a, on_cost_front=b) for s, a, b in zip(found, latency, cost, strict=True)]
    return sorted(marked, key=lambda s: (-s.f1 if s.f1 == s.f1 else math.inf, s.latency, s.name))


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of points (what is paid, what is got), those that no other beats in one and equals or beats in the other.

    A point with an unknown coordinate is on no front.
    """
    out = [False] * len(points)
    best = -math.inf
    cheapest = math.inf  # of the points with the best y so far
    for i in sorted(
        (i for i, p in enumerate(points) if p[0] == p[0] and p[1] == p[1]), key=lambda i: (points[i][0], -points[i][1])
    ):
        x, y = points[i]
        if y > best:
            best, cheapest = y, x
        out[i] = (x, y) == (cheapest, best)
    return out


def _candidates(members: int, speed: Sequence[float]) -> Iterator[tuple[tuple[int, ...], str | None, dict[str, Any]]]:
    for i in range(members):
        yield (i,), None, {}
    for size in range(2, members + 1):
        for chosen in combinations(range(members), size):
            for vote in VOTES:
                yield chosen, "ensemble", {"vote": vote}
    quickest = sorted(range(members), key=lambda i: (speed[i] if speed[i] == speed[i] else math.inf, i))
    for size in range(2, min(members, _MOST_STAGES) + 1):
        for chosen in combinations(quickest, size):
            for low, high in BANDS:
                yield chosen, "cascade", {"low": low, "high": high}


@dataclass(frozen=True)
class _Judged:
    """What a system says about every sample, and what it takes."""

    system: System  # all but its scores
    label: NDArray[np.int8]

    @property
    def key(self) -> tuple[bytes, str]:
        took = (self.system.asked, self.system.latency, self.system.cost)
        return self.label.tobytes(), repr(took)  # as text, for an unknown cost is not equal to itself


def _judged(
    rows: Sequence[Row],
    chosen: Sequence[int],
    names: Sequence[str],
    solver: str | None,
    options: Mapping[str, Any],
    registry: Registry,
) -> _Judged:
    members = tuple(names[i] for i in chosen)
    combiner: Combiner | None = None if solver is None else registry.build("solvers", solver, options)
    label: list[int] = []
    latency: list[float] = []
    cost: list[float] = []
    asked = 0
    for judged, all_said, _ in rows:
        said = [all_said[i] for i in chosen]
        verdict = said[0].verdict if combiner is None else settle(combiner, judged, said).verdict
        taken = said if combiner is None or combiner.at_once else said[: len(verdict.votes)]
        label.append(-1 if verdict.label is None else int(verdict.label))
        latency.append(_latency(taken, at_once=combiner is None or combiner.at_once))
        cost.append(_cost(taken))
        asked += len(taken)
    unscored = (math.nan, (math.nan, math.nan), math.nan, math.nan, 0)
    took = (_mean(latency), 1000 * _mean(cost), asked / len(rows) if rows else math.nan)
    system = System(_name(members, solver, options), members, solver, dict(options), *unscored, *took)
    return _Judged(system, np.array(label, np.int8))


def _scored(one: _Judged, rows: Sequence[Row], target: Target, resamples: int, seed: int) -> System:
    labels = [j.sample.labels.get(target) for j, _, _ in rows]
    gold = np.array([-1 if g is None else int(g) for g in labels], np.int8)
    cluster = np.array([c for _, _, c in rows], np.int64)
    sample = Resampler.of([gold, one.label], cluster, gold >= 0)
    cells = cells_of(*sample.patterns)
    metric = CONFUSION["f1"]

    def statistic(patterns: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"f1": metric.value(counts_under(patterns @ cells, "strict", target))}

    found = bootstrap(sample, statistic, resamples, seed=seed)["f1"]
    counts = counts_under(sample.observed @ cells, "strict", target)
    interval = edge_interval(metric, counts, 0.95, sample.units_per_row) or (float(found.low), float(found.high))
    accuracy, over = (float(CONFUSION[m].value(counts)) for m in ("accuracy", "overflagging"))
    return replace(one.system, f1=float(found.value), f1_ci=interval, accuracy=accuracy, overflagging=over, n=sample.rows)


def _latency(said: Sequence[Said], at_once: bool) -> float:
    taken = [math.nan if s.usage is None or s.usage.latency is None else s.usage.latency for s in said]
    return (max(taken) if at_once else math.fsum(taken)) if all(t == t for t in taken) else math.nan


def _cost(said: Sequence[Said]) -> float:
    costs = [None if s.usage is None else s.usage.cost for s in said]
    return math.nan if any(c is None for c in costs) else math.fsum(c for c in costs if c is not None)


def _mean(values: Any) -> float:
    """Over the samples where it is known."""
    known = [v for v in values if v == v]
    return math.fsum(known) / len(known) if known else math.nan


def _name(members: Sequence[str], solver: str | None, options: Mapping[str, Any]) -> str:
    if solver is None:
        return members[0]
    if solver == "cascade":
        return f"{' → '.join(members)} [{options['low']}, {options['high']}]"
    return f"{options['vote']} of {' + '.join(members)}"
