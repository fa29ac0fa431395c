"""How much differences vary over other samples of the same kind: the delta method, by prompts.

A swap leaves alone what both models say alike. That is right under the null of a rerun, where it counts alike for both. It is
not where a model trades one error for the other: F1 weighs a sample found by both differently in each, and so F1 of equal
height varies by more than swaps show.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guardeval.gates.measures import formula

__all__ = ["Influence", "covariance", "influence"]

Floats = NDArray[np.float64]
_STEP = 1e-6  # of all samples: for slopes
Influence = tuple[NDArray[np.int64], NDArray[np.int64], Floats]  # places of measures, prompts, (prompts, measures)


def influence(
    places: Sequence[int], metrics: Sequence[str], cluster: NDArray[np.int64], before: Floats, after: Floats
) -> Influence:
    """What each prompt of a task adds to the difference of each metric; ``before``, ``after``: cells (samples, measures, 4)."""
    prompts, of = np.unique(cluster, return_inverse=True)
    out = np.zeros((len(prompts), len(metrics)))
    for sign, cells in ((-1.0, before), (1.0, after)):
        slopes = np.stack([_slopes(m, total) for m, total in zip(metrics, cells.sum(axis=0), strict=True)])
        np.add.at(out, of, sign * np.einsum("nbc,bc->nb", cells, slopes))
    return np.array(places, np.int64), prompts, out


def _slopes(metric: str, counts: Floats) -> Floats:
    """Change of a metric a sample more of each cell, (4,); 0 where it is undefined."""
    value, step = formula(metric).value, _STEP * max(1.0, float(counts.sum()))
    return np.nan_to_num((value(counts + step * np.eye(4)) - value(counts)) / step)


def covariance(parts: Sequence[Influence], measures: int) -> Floats:
    """Of the differences of all measures, (B, B); prompts that stand in several tasks vary in all of them together."""
    out = np.zeros((measures, measures))
    for i, (mine, prompts, each) in enumerate(parts):
        out[np.ix_(mine, mine)] = each.T @ each
        for theirs, others, those in parts[:i]:
            _, at, there = np.intersect1d(prompts, others, assume_unique=True, return_indices=True)
            shared = each[at].T @ those[there]
            out[np.ix_(mine, theirs)], out[np.ix_(theirs, mine)] = shared, shared.T
    return out
