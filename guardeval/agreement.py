"""How far raters agree beyond chance: Cohen's kappa for two, Fleiss' for three or more, with bootstrap intervals.

Categories are nominal. Undefined is nan: nobody rated anything, or every rating is the same category, where chance
agreement is 1 and nothing is left to explain.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guardeval.bootstrap import Resampler, bootstrap
from guardeval.stats import Estimate, divide

__all__ = ["cohen_kappa", "fleiss_kappa", "kappa_estimate"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0)


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Agreement of two raters beyond chance, in [-1, 1]: (p_o − p_e) / (1 − p_e); item ``i`` is ``a[i]``, ``b[i]``.

    Cohen (1960), Educational and Psychological Measurement 20(1). Raises :class:`ValueError` for unequal lengths.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} ratings: both raters rate the same items")
    if not len(a):
        return float("nan")
    codes = _codes([a, b])
    return float(_cohen(codes, int(codes.max()) + 1, np.ones((1, len(a))))[0])


def fleiss_kappa(counts: ArrayLike) -> float:
    """Agreement of m ≥ 2 raters beyond chance, in [-1, 1]; ``counts[i, k]``: how many put item ``i`` into category ``k``.

    Fleiss (1971), Psychological Bulletin 76(5). Raises :class:`ValueError` unless every item has the same m ratings.
    """
    table = np.asarray(counts, float)
    if table.size == 0:
        return float("nan")
    if table.ndim != 2 or (table < 0).any():
        raise ValueError("a table of counts, items × categories, is wanted")
    raters = table.sum(axis=1)
    if raters[0] < 2 or (raters != raters[0]).any():
        raise ValueError("every item needs the same number of ratings, two or more")
    return float(_fleiss(table, np.ones((1, len(table))))[0])


def kappa_estimate(
    ratings: Sequence[Sequence[Hashable | None]],
    cluster: Sequence[int] | None = None,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Kappa of two raters (Cohen) or more (Fleiss) over the items that all of them rated, with a percentile interval.

    ``ratings[r][i]``: what rater ``r`` said of item ``i``, None = nothing; ``cluster``: equal for items that are drawn
    together (equal prompts). ``n`` of the estimate counts the items. Resamples in which kappa is undefined are left out.
    """
    if len(ratings) < 2 or len({len(r) for r in ratings}) != 1:
        raise ValueError("two raters or more of the same items are wanted")
    kept = [i for i, said in enumerate(zip(*ratings, strict=True)) if None not in said]
    if not kept:
        return _NOTHING
    codes = _codes([[r[i] for i in kept] for r in ratings])
    clusters = np.asarray(range(len(kept)) if cluster is None else [cluster[i] for i in kept], np.int64)
    sample = Resampler.of(list(codes), clusters)
    categories, patterns = int(codes.max()) + 1, np.array(sample.patterns)

    def statistic(weights: Floats) -> dict[str, Floats]:
        if len(ratings) == 2:
            return {"kappa": _cohen(patterns, categories, weights)}
        return {"kappa": _fleiss(_counts(patterns, categories), weights)}

    found = bootstrap(sample, statistic, resamples, confidence, seed)["kappa"]
    return Estimate(float(found.value), float(found.low), float(found.high), len(kept))


def _codes(ratings: Sequence[Sequence[Any]]) -> Ints:
    """Categories as numbers, (raters, items)."""
    number = {category: i for i, category in enumerate(dict.fromkeys(c for r in ratings for c in r))}
    return np.array([[number[c] for c in r] for r in ratings], np.int64)


def _counts(codes: Ints, categories: int) -> Floats:
    """Ratings per item and category, (items, categories)."""
    return np.asarray((codes[:, :, None] == np.arange(categories)).sum(axis=0), float)


def _cohen(codes: Ints, categories: int, weights: Floats) -> Floats:
    """Kappa of each of B weightings (B, items) of the items; weights are how often an item occurs."""
    total = weights.sum(axis=1)
    observed = divide(weights @ (codes[0] == codes[1]), total)
    shares = [divide(weights @ (c[:, None] == np.arange(categories)), total[:, None]) for c in codes]
    return _beyond(observed, (shares[0] * shares[1]).sum(axis=1))


def _fleiss(counts: Floats, weights: Floats) -> Floats:
    total, m = weights.sum(axis=1), counts[0].sum()
    observed = divide(weights @ ((counts * (counts - 1)).sum(axis=1) / (m * (m - 1))), total)
    shares = divide(weights @ counts, m * total[:, None])
    return _beyond(observed, (shares**2).sum(axis=1))


def _beyond(observed: Floats, chance: Floats) -> Floats:
    left = np.where(chance > 1 - 1e-12, 0.0, 1 - chance)  # a rounding error is no agreement by chance below 1
    return np.asarray(divide(observed - chance, left))
