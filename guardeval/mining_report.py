"""Is what others disagree about hard for a member? F1 on the hard fifth and on the rest, mined without the member scored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardeval.accounting import cells_of, counts_under
from guardeval.bootstrap import Resampler, bootstrap
from guardeval.disagreement import disagreement, positions
from guardeval.errors import ConfigError
from guardeval.judged import Judgements
from guardeval.metrics import CONFUSION, edge_interval
from guardeval.mining import TOP, kept_of
from guardeval.report.tables import Table, number
from guardeval.stats import percentile_interval

__all__ = ["HardRow", "hard_against_rest", "hard_table"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class HardRow:
    """F1 (strict) of one member on one part of the samples: ``hard``, ``rest``, and their difference, ``hard - rest``.

    ``n``: labelled samples of the part, ``positives`` among them; ``split``: on how many of them the other members differed at
    all (where they give no probability, equal ones fill the hard part up by sample id); of a difference, those of both parts.
    """

    member: str
    part: str
    f1: float
    low: float
    high: float
    n: int
    positives: int
    split: int


def hard_against_rest(
    runs: Mapping[str, Judgements], top: float = TOP, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> list[HardRow]:
    """Three rows a member: for each, the others' disagreement says which ``top`` share of the shared samples is hard.

    Samples on which fewer than two of the others were heard are in neither part. The interval of the difference draws both
    parts anew. Raises :class:`ConfigError` for fewer than three members, :class:`DataError` for runs of different samples.
    """
    if len(runs) < 3:
        raise ConfigError(
            f"{len(runs)} members: three or more are wanted, for two others must disagree about each one's samples"
        )
    ids, at = positions(list(runs.values()))
    return [
        row
        for i, (name, judged) in enumerate(runs.items())
        for row in _member(name, judged, i, list(runs.values()), ids, at, top, (resamples, confidence, seed))
    ]


def _member(
    name: str,
    judged: Judgements,
    i: int,
    runs: Sequence[Judgements],
    ids: Sequence[str],
    at: Sequence[NDArray[np.int64]],
    top: float,
    options: tuple[int, float, int],
) -> Iterator[HardRow]:
    others = [(run, where) for j, (run, where) in enumerate(zip(runs, at, strict=True)) if j != i]
    scores, labels = (np.column_stack([getattr(run, what)[where] for run, where in others]) for what in ("score", "label"))
    found = disagreement(scores, labels)
    hard = _hardest(found.values, ids, top)
    rest = ~hard & ~found.apart
    draws = []
    resamples, confidence, seed = options
    for k, (part, mask) in enumerate((("hard", hard), ("rest", rest))):  # the parts are drawn apart, each by its own seed
        value, interval, drawn, counted = _f1(judged, at[i][mask], (resamples, confidence, 2 * seed + k))
        draws.append((value, drawn, counted))
        split = int((found.values[mask] > 0).sum())
        yield HardRow(name, part, value, *interval, *counted, split)
    (a, da, ca), (b, db, cb) = draws
    low, high = _interval(da - db, confidence)
    yield HardRow(name, "hard - rest", a - b, low, high, ca[0] + cb[0], ca[1] + cb[1], int((found.values > 0).sum()))


def _hardest(values: Floats, ids: Sequence[str], top: float) -> Mask:
    """The top share of the samples that have a value, by value and then id."""
    there = np.flatnonzero(~np.isnan(values)).tolist()
    order = sorted(there, key=lambda i: (-values[i], ids[i]))
    hard = np.zeros(len(values), bool)
    hard[order[: kept_of(len(there), len(there), top)]] = True
    return hard


def _f1(
    judged: Judgements, at: NDArray[np.int64], options: tuple[int, float, int]
) -> tuple[float, tuple[float, float], Floats, tuple[int, int]]:
    """Value, interval, resampled values, and labelled samples with the positives among them."""
    resamples, confidence, seed = options
    gold, label, cluster = judged.gold[at], judged.label[at], judged.cluster[at]
    sample = Resampler.of([gold, label], cluster, gold >= 0)
    metric = CONFUSION["f1"]
    features = cells_of(*sample.patterns)
    drawn: list[Floats] = []

    def statistic(counts: Floats) -> dict[str, Floats]:
        values = metric.value(counts_under(counts @ features, "strict", judged.target))
        drawn.append(values)
        return {"f1": values}

    found = bootstrap(sample, statistic, resamples, confidence, seed)["f1"]
    observed = counts_under(sample.observed @ features, "strict", judged.target)
    interval = edge_interval(metric, observed, confidence, sample.units_per_row)
    counted = (int((gold >= 0).sum()), int((gold == 1).sum()))
    return float(found.value), interval or (float(found.low), float(found.high)), np.concatenate(drawn[1:] or drawn), counted


def _interval(differences: Floats, confidence: float) -> tuple[float, float]:
    if len(differences) < 2 or np.isnan(differences).all():
        return math.nan, math.nan
    low, high = percentile_interval(differences, confidence)
    return float(low), float(high)


def hard_table(title: str, rows: Sequence[HardRow]) -> Table:
    """For a terminal or a page."""
    cells = tuple(
        (r.member, r.part, f"{number(r.f1)} [{number(r.low)}, {number(r.high)}]", str(r.n), str(r.positives), str(r.split))
        for r in rows
    )
    return Table(title, ("member", "part", "f1 (strict)", "n", "positives", "others differ"), cells)
