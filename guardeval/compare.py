"""Is one guard better than another? Runs compared with a reference on the samples that both judged.

Every number is paired: exact McNemar (a permutation test over prompts where prompts repeat), paired bootstrap of the
difference, which samples flipped, and Holm's correction over all tests asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from guardeval.accounting import cells_of
from guardeval.bootstrap import Interval, Resampler, bootstrap
from guardeval.errors import ConfigError, did_you_mean
from guardeval.metrics import CONFUSION, edge_interval
from guardeval.pairing import Paired, pair
from guardeval.significance import detectable_difference, holm, sign_flip_p, swap_p
from guardeval.stats import rate, sum_by

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = ["COMPARED", "Comparison", "Difference", "Flip", "Pair", "compare"]

Floats = NDArray[np.float64]
COMPARED = ("accuracy", "f1", "overflagging", "underflagging", "balanced_accuracy")
_EXACT = {"accuracy": (0, 1), "overflagging": (0,), "underflagging": (1,)}  # rates of samples with these gold labels


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of both runs on the paired samples; ``difference`` is other − reference. All three with their intervals.

    Where no sample changed, ``low`` and ``high`` are Wilson's bound for 0 of n (prompts) away: n samples do not show certainty.
    p-values are None where the metric was not in the family of tests.
    """

    metric: str
    higher_is_better: bool | None
    reference: float
    reference_ci: tuple[float, float]
    other: float
    other_ci: tuple[float, float]
    difference: float
    low: float
    high: float
    n: int
    test: str | None = None
    p_value: float | None = None
    p_adjusted: float | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """Samples of one gold label on which the runs said this and that; words as in :class:`~guardeval.data.Target`, or
    ``no verdict``. ``ids`` is empty where both said the same."""

    gold: str
    before: str
    after: str
    right_before: bool
    right_after: bool
    n: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """One run against the reference. ``matrix``: samples by ``right→right``, ``right→wrong``, …, as accounted."""

    name: str
    n: int
    only_reference: int
    only_other: int
    left_out: int
    prompts: int  # distinct ones among the n; the tests resample and swap these
    provisional: bool  # some shared sample was never heard
    matrix: Mapping[str, int]
    flips: tuple[Flip, ...]
    differences: tuple[Difference, ...]
    odds_ratio: float  # of gained to lost, with half a sample added to each (Haldane 1956)
    cohens_g: float  # share of gained among changed − ½ (Cohen 1988: 0.05 small, 0.15 medium, 0.25 large)
    detectable: float  # smallest true difference in accuracy that such a pair shows with 80 % power


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs against one reference, with the family of tests that the adjusted p-values cover."""

    reference: str
    accounting: str
    confidence: float
    resamples: int
    seed: int
    family: tuple[str, ...]  # metrics tested, in every pair
    tests: int
    correction: str
    pairs: tuple[Pair, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; undefined numbers are None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value


def compare(
    reference: Judgements,
    others: Sequence[Judgements],
    names: Sequence[str],
    *,
    accounting: str = "strict",
    metrics: Sequence[str] = COMPARED,
    family: Sequence[str] = ("accuracy",),
    mid_p: bool = False,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare runs with a reference; ``names`` holds the reference's name first.

    ``family`` are the metrics to test, each in every pair; Holm's correction covers them all. Accuracy, over-flagging and
    under-flagging are tested exactly, other metrics by 10,000 random swaps. Under ``parsed`` a pair holds the samples
    that both runs have a verdict for. Raises :class:`DataError` where samples do not match (see
    :func:`~guardeval.pairing.pair`), :class:`ConfigError` for an unknown metric.
    """
    if len(names) != len(others) + 1:
        raise ConfigError(f"{len(others) + 1} runs and {len(names)} names: one name a run is wanted, the reference's first")
    for name in (*metrics, *family):
        if name not in CONFUSION:
            raise ConfigError(f"unknown metric {name!r}{did_you_mean(name, CONFUSION)}")
    ask = _Asked(tuple(dict.fromkeys((*metrics, *family))), tuple(family), mid_p, resamples, confidence, seed)
    pairs = []
    for other, name in zip(others, names[1:], strict=True):
        pairs.append(_pair(name, pair(reference, other, (names[0], name), accounting), ask))
    adjusted = holm([d.p_value for p in pairs for d in p.differences if d.p_value is not None])
    given = iter(adjusted)
    pairs = [replace(p, differences=tuple(_adjusted(d, given) for d in p.differences)) for p in pairs]
    correction = "Holm (1979)"
    return Comparison(names[0], accounting, confidence, resamples, seed, tuple(family), len(adjusted), correction, tuple(pairs))


@dataclass(frozen=True, slots=True)
class _Asked:
    metrics: tuple[str, ...]
    family: tuple[str, ...]
    mid_p: bool
    resamples: int
    confidence: float
    seed: int


def _adjusted(difference: Difference, given: Iterator[float]) -> Difference:
    return difference if difference.p_value is None else replace(difference, p_adjusted=next(given))


def _pair(name: str, paired: Paired, ask: _Asked) -> Pair:
    gains = _gains(paired)
    gained, lost = int((gains > 0).sum()), int((gains < 0).sum())
    flips = _flips(paired)
    squares = float((_by_prompt(gains, paired.cluster) ** 2).sum())
    return Pair(
        name=name,
        n=len(paired),
        only_reference=paired.only_before,
        only_other=paired.only_after,
        left_out=paired.left_out,
        prompts=len(np.unique(paired.cluster)),
        provisional=paired.never_heard > 0,
        matrix=_matrix(flips),
        flips=flips,
        differences=tuple(_differences(paired, ask)),
        odds_ratio=(gained + 0.5) / (lost + 0.5),
        cohens_g=gained / (gained + lost) - 0.5 if gained + lost else math.nan,
        detectable=detectable_difference(squares, len(paired), ask.confidence),
    )


def _differences(paired: Paired, ask: _Asked) -> Iterator[Difference]:
    sample = Resampler.of([paired.gold, paired.label_before, paired.label_after], paired.cluster)
    gold, before, after = sample.patterns
    cells = cells_of(gold, before)[:, :4], cells_of(gold, after)[:, :4]

    def statistic(patterns: Floats) -> dict[str, Floats]:
        both = [patterns @ c for c in cells]
        values = {m: [CONFUSION[m].value(counts) for counts in both] for m in ask.metrics}
        return {m: np.stack([one, two, two - one], axis=-1) for m, (one, two) in values.items()}

    found = bootstrap(sample, statistic, ask.resamples, ask.confidence, ask.seed)
    totals = [sample.observed @ c for c in cells]
    for metric in ask.metrics:
        edges = [edge_interval(CONFUSION[metric], t, ask.confidence, sample.units_per_row) for t in totals]
        support = float(CONFUSION[metric].support(totals[0]))
        unchanged = rate(0, support * sample.units_per_row, ask.confidence).high
        difference = _difference(metric, found[metric], edges, unchanged, round(support))
        if metric in ask.family:
            test, p = _test(metric, paired, sample, cells, ask)
            difference = replace(difference, test=test, p_value=p)
        yield difference


def _difference(
    metric: str, found: Interval, edges: Sequence[tuple[float, float] | None], unchanged: float, n: int
) -> Difference:
    """``edges``: intervals of both runs' values where these are exactly 0 or 1, where the bootstrap would claim certainty.

    ``unchanged``: how many samples (a share) may yet change where none did; the difference is widened by that there.
    """
    values = [float(v) for v in found.value]
    intervals = [
        (math.nan, math.nan) if math.isnan(v) else (float(low), float(high))
        for v, low, high in zip(values, found.low, found.high, strict=True)
    ]
    intervals = [edge or interval for edge, interval in zip((*edges, None), intervals, strict=True)]
    intervals[2] = _widened(values[2], intervals[2], unchanged)
    better = CONFUSION[metric].higher_is_better
    return Difference(metric, better, values[0], intervals[0], values[1], intervals[1], values[2], *intervals[2], n)


def _widened(difference: float, interval: tuple[float, float], by: float) -> tuple[float, float]:
    """The interval; where all samples are alike, so that no resample differs, as wide as Wilson's bound for 0 of n says."""
    if interval[0] != interval[1]:  # nan, too
        return interval
    return max(difference - by, -1.0), min(difference + by, 1.0)


def _gains(paired: Paired) -> NDArray[np.int64]:
    """1 where only the other run is right, -1 where only the reference is, 0 elsewhere."""
    right_before, right_after = paired.label_before == paired.gold, paired.label_after == paired.gold
    gains: NDArray[np.int64] = right_after.astype(np.int64) - right_before.astype(np.int64)
    return gains


def _by_prompt(gains: NDArray[np.int64], cluster: NDArray[np.int64]) -> NDArray[np.int64]:
    prompts, of = np.unique(cluster, return_inverse=True)
    return sum_by(of, gains, len(prompts)).astype(np.int64)


def _test(metric: str, paired: Paired, sample: Resampler, cells: tuple[Floats, Floats], ask: _Asked) -> tuple[str, float]:
    over = "" if sample.units == sample.rows else " over prompts"
    if metric not in _EXACT:
        return f"permutation{over} (10,000 swaps)", swap_p(sample, *cells, CONFUSION[metric].value, seed=ask.seed)
    of = np.isin(paired.gold, _EXACT[metric])
    if not of.any():
        return "exact McNemar", math.nan
    name = f"exact permutation{over}" if over else "exact McNemar"
    gains = _by_prompt(_gains(paired)[of], paired.cluster[of])
    return name + (" (mid-p)" if ask.mid_p else ""), sign_flip_p(gains, ask.mid_p)


def _matrix(flips: Sequence[Flip]) -> dict[str, int]:
    word = {True: "right", False: "wrong"}
    out = {f"{word[b]}→{word[a]}": 0 for b in (True, False) for a in (True, False)}
    for flip in flips:
        out[f"{word[flip.right_before]}→{word[flip.right_after]}"] += flip.n
    return out


def _flips(paired: Paired) -> tuple[Flip, ...]:
    """All non-empty cells of gold × before × after."""
    word = {1: paired.target.positive, 0: paired.target.negative, -1: "no verdict"}
    code = (paired.gold.astype(np.int64) * 3 + paired.said_before + 1) * 3 + paired.said_after + 1
    out = []
    for cell in np.unique(code).tolist():
        at = np.flatnonzero(code == cell).tolist()
        first = at[0]
        gold, before, after = (int(c[first]) for c in (paired.gold, paired.said_before, paired.said_after))
        ids = tuple(paired.ids[i] for i in at) if before != after else ()
        right = [bool(labels[first] == gold) for labels in (paired.label_before, paired.label_after)]
        out.append(Flip(word[gold], word[before], word[after], right[0], right[1], len(at), ids))
    return tuple(out)
