"""From times to figures: quantiles by order statistics, rates over rounds, ratios paired by sample. All pure.

A query that failed never ended: it counts as longer than any that was answered, so failing fast never looks fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guardeval.stats import Estimate, z_value

__all__ = ["NONE", "late", "mean_rate", "order_ranks", "paired_ratio", "quantile_rank", "ratio_over_rounds"]

NONE = Estimate(math.nan, math.nan, math.nan, 0)
_RESAMPLES = 1000
# two-sided 95 % quantiles of Student's t for 1 … 30 degrees of freedom
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def quantile_rank(n: int, q: float) -> int:
    """Rank, from 1, of the smallest value that at least a share ``q`` does not exceed."""
    return min(n, max(1, math.ceil(q * n - 1e-9)))


def order_ranks(n: int, q: float, confidence: float = 0.95) -> tuple[int, int]:
    """Ranks, from 1, whose values hold the ``q``-quantile between them with that confidence; 0 and ``n`` + 1 mean no bound.

    Exact, by the binomial law of how many values lie below the quantile; few values bound no high quantile from above
    (of p95, fewer than 72). David & Nagaraja (2003), section 7.1.
    """
    if n < 1 or not 0.0 < q < 1.0:
        raise ValueError(f"a quantile strictly between 0 and 1 of at least one value is wanted, not {q!r} of {n!r}")
    tail = (1.0 - confidence) / 2.0
    k = np.arange(n + 1)
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    log_mass = factorial[n] - factorial[k] - factorial[n - k] + k * math.log(q) + (n - k) * math.log1p(-q)
    at_most = np.cumsum(np.exp(log_mass))  # P(X ≤ k)
    at_least = np.cumsum(np.exp(log_mass)[::-1])[::-1]  # P(X ≥ k)
    low = int(np.searchsorted(at_most, tail, side="right"))  # ranks l with P(X ≤ l - 1) ≤ tail
    above = np.flatnonzero(at_least <= tail)
    return low, int(above[0]) if len(above) else n + 1


def late(seconds: ArrayLike, failed: int, q: float, together: int = 1, confidence: float = 0.95) -> Estimate:
    """The ``q``-quantile of the times of all queries, the failed ones never ending; ``inf`` where it falls among these.

    The interval is by order statistics: low 0 and high ``inf`` where so few queries bound nothing. n counts all.
    ``together``: so many share one time, as those of a batch do, and are worth one in the interval.
    """
    times = np.concatenate([np.sort(np.asarray(seconds, float)), np.full(failed, math.inf)])
    n = len(times)
    if not n:
        return NONE
    groups = max(1, n // together)
    low, high = order_ranks(groups, q, confidence)
    value = float(times[quantile_rank(n, q) - 1])
    below = float(times[(low - 1) * together]) if low else 0.0
    above = float(times[min(n, high * together) - 1]) if high <= groups else math.inf
    return Estimate(value, min(below, value), max(above, value), n)


def mean_rate(counts: Sequence[float | None], seconds: Sequence[float], n: int) -> Estimate:
    """Mean of counts a second over rounds, with Student's interval over the rounds; nan where a count is not known.

    One round has no interval. ``n``: queries behind it.
    """
    known = [c for c in counts if c is not None]
    if not known or len(known) < len(counts) or min(seconds) <= 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    rates = np.asarray(known, float) / np.asarray(seconds, float)
    half = _half_width(rates)
    mean = float(rates.mean())
    return Estimate(mean, max(0.0, mean - half) if half == half else half, mean + half, n)


def ratio_over_rounds(first: Sequence[float], second: Sequence[float], n: int) -> Estimate:
    """Geometric mean over rounds of ``second / first``, paired by round, with Student's interval of its logarithm."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    if not len(a) or len(a) != len(b) or not (np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)).all():
        return NONE
    logs = np.log(b / a)
    mean, half = float(logs.mean()), _half_width(logs)
    return Estimate(math.exp(mean), math.exp(mean - half), math.exp(mean + half), n)


def _half_width(values: NDArray[Any]) -> float:
    if len(values) < 2:
        return math.nan
    t = _T95[len(values) - 2] if len(values) - 2 < len(_T95) else z_value(0.95)
    return float(t * values.std(ddof=1) / math.sqrt(len(values)))


def paired_ratio(first: ArrayLike, second: ArrayLike, q: float, seed: int = 0) -> Estimate:
    """Ratio of ``q``-quantiles, second over first, of two models' times (samples, rounds) of the same samples.

    Failed queries are ``inf``. The interval is a percentile bootstrap over samples, both models' times drawn together.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.size == 0 or len(a) != len(b):
        return NONE
    value = _quantile(b.reshape(1, -1), q)[0] / _quantile(a.reshape(1, -1), q)[0]
    if not math.isfinite(value):
        return Estimate(math.nan, math.nan, math.nan, len(a))
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(_RESAMPLES):
        rows = rng.integers(0, len(a), len(a))
        below, above = _quantile(a[rows].reshape(1, -1), q)[0], _quantile(b[rows].reshape(1, -1), q)[0]
        draws.append(above / below if math.isfinite(above) and math.isfinite(below) else math.nan)
    known = np.asarray([d for d in draws if d == d])
    if len(known) < 0.9 * _RESAMPLES:  # a bound among the queries that never ended
        return Estimate(float(value), math.nan, math.nan, len(a))
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high), len(a))


def _quantile(rows: NDArray[Any], q: float) -> NDArray[Any]:
    rank = quantile_rank(rows.shape[-1], q)
    return np.asarray(np.partition(rows, rank - 1, axis=-1)[..., rank - 1])
