"""Metrics of scores, P(positive), from counts of positives and negatives at each distinct score.

``pos`` and ``neg`` are float arrays (..., levels) in ascending order of score; every function works on all leading axes
at once, so that a thousand resamples cost one call. Undefined is nan: each ranking metric needs both classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guardeval.stats import Estimate, divide, rate, sum_by

__all__ = [
    "BINS",
    "Bin",
    "auroc",
    "average_precision",
    "ece",
    "levels_of",
    "pr_curve",
    "recall_at",
    "reliability",
    "roc_curve",
]

Floats = NDArray[np.float64]
BINS = 15  # of equal mass, for calibration


def levels_of(scores: Floats, most: int | None = None, groups: int = 1024) -> tuple[NDArray[np.int64], int, bool]:
    """Level of each score in ascending order, number of levels, and whether each level is one score.

    Where there are more than ``most`` distinct scores, neighbours share a level: ``groups`` levels of about equal mass.
    """
    in_order = bool((scores[1:] >= scores[:-1]).all())  # then a quarter of the memory will do
    ordered = scores if in_order else np.sort(scores)
    changes = np.append(False, ordered[1:] != ordered[:-1])[: len(ordered)]
    count = int(changes.sum()) + bool(len(ordered))
    exact = most is None or count <= most
    if exact and in_order:
        return changes.cumsum(dtype=np.int64), count, True
    distinct = ordered[np.append(True, changes[1:])[: len(ordered)]] if exact else _grouped(ordered, groups)
    level = np.searchsorted(distinct, scores, side="right")
    level -= 1
    return level, len(distinct), exact


def _grouped(ordered: Floats, groups: int) -> Floats:
    """Least scores of groups of about equal mass."""
    return np.unique(ordered[np.arange(groups) * len(ordered) // groups])


def _falling(pos: Floats, neg: Floats) -> tuple[Floats, Floats]:
    """True and false positives when every level from a score up is flagged, from the highest score down."""
    return np.cumsum(pos[..., ::-1], axis=-1), np.cumsum(neg[..., ::-1], axis=-1)


def auroc(pos: Floats, neg: Floats) -> Floats:
    """Chance that a positive scores above a negative, a tie counting half (Mann & Whitney 1947)."""
    below = np.cumsum(neg, axis=-1)
    wins = np.einsum("...i,...i->...", pos, below - neg / 2)
    return np.asarray(divide(wins, pos.sum(axis=-1) * below[..., -1])) if pos.shape[-1] else np.full(pos.shape[:-1], np.nan)


def average_precision(pos: Floats, neg: Floats) -> Floats:
    """Σ (recall gained at a score) × (precision of flagging from that score up), as scikit-learn's; nan for one class."""
    if not pos.shape[-1]:
        return np.full(pos.shape[:-1], np.nan)
    tp, fp = _falling(pos, neg)
    flagged = tp + fp
    precision = np.divide(tp, flagged, out=np.zeros_like(tp), where=flagged > 0)
    gained = np.einsum("...i,...i->...", pos[..., ::-1], precision)
    return np.where(fp[..., -1] > 0, divide(gained, tp[..., -1]), np.nan)


def recall_at(pos: Floats, neg: Floats, overflagging: float = 0.05, cut: bool = False) -> Floats:
    """Most recall among thresholds that flag at most this share of negatives; flagging none is one of them.

    ``cut``: levels group several scores, and the one in which the budget ends is flagged in part.
    """
    if not pos.shape[-1]:
        return np.full(pos.shape[:-1], np.nan)
    tp, fp = _falling(pos, neg)
    budget = overflagging * fp[..., -1] * (1 + 1e-12)  # a budget of exactly k negatives admits k
    within = np.sum(fp <= budget[..., None], axis=-1)  # so many levels from the top
    found = _taken(tp, within - 1)
    if cut:
        spent, next_fp, next_tp = (_taken(*a) for a in ((fp, within - 1), (fp, within), (tp, within)))
        part = np.nan_to_num(divide(budget - spent, next_fp - spent))
        found = found + part * (next_tp - found)
    return np.where(fp[..., -1] > 0, divide(found, tp[..., -1]), np.nan)


def _taken(totals: Floats, at: NDArray[np.int64]) -> Floats:
    """``totals[..., at]``, 0 before the first and the last after it."""
    taken = np.take_along_axis(totals, np.clip(at, 0, totals.shape[-1] - 1)[..., None], axis=-1)[..., 0]
    return np.where(at < 0, 0.0, taken)


def _edges(count: Floats, *totals: Floats, bins: int) -> tuple[Floats, ...]:
    """Cumulated totals at the borders of ``bins`` equal shares of the mass, at most one a sample: (bins + 1,), mass first.

    Samples with equal scores share their total evenly, so that a border inside a tie cuts it in proportion and the
    order of samples cannot matter.
    """
    mass = np.append(0.0, np.cumsum(count))
    bins = min(bins, round(mass[-1]))
    at = mass[-1] * np.arange(bins + 1) / bins
    return at, *(np.interp(at, mass, np.append(0.0, np.cumsum(t))) for t in totals)


def ece(count: Floats, residual: Floats, bins: int = BINS) -> Floats:
    """Expected calibration error over bins of equal mass: mean over bins of |Σ (label − score)|, in [0, 1].

    ``count`` and ``residual`` (B, levels): samples at each level in ascending order of score, and their Σ (label − score).
    Equal-mass binning: Nixon et al. (2019); ECE: Naeini et al. (2015).
    """
    out = np.full(len(count), np.nan)
    for i, (c, r) in enumerate(zip(count, residual, strict=True)):
        if c.any():
            mass, gaps = _edges(c, r, bins=bins)
            out[i] = np.abs(np.diff(gaps)).sum() / mass[-1]
    return out


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a reliability diagram: mean P(positive) said, and the share of positives found with its interval."""

    said: float
    found: Estimate


def reliability(scores: Floats, gold: NDArray[Any], bins: int = BINS, confidence: float = 0.95) -> tuple[Bin, ...]:
    """The table behind :func:`ece`: bins of equal mass in ascending order of score, at most one a sample."""
    if not len(scores):
        return ()
    level, distinct, _ = levels_of(scores)
    count, said, found = (sum_by(level, values, distinct) for values in (np.ones(len(scores)), scores, gold == 1))
    mass, said, found = _edges(count, said, found, bins=bins)
    each = mass[1] - mass[0]
    shares = np.clip(np.diff(found), 0.0, each)  # rounding must not push a share out of [0, 1]
    return tuple(Bin(float(s / each), rate(float(f), each, confidence)) for s, f in zip(np.diff(said), shares, strict=True))


def _by_level(scores: Floats, gold: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Distinct scores ascending, positives and negatives at each."""
    distinct, level = np.unique(scores, return_inverse=True)
    return distinct, sum_by(level, gold == 1, len(distinct)), sum_by(level, gold == 0, len(distinct))


def roc_curve(scores: Floats, gold: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Over-flagging, recall and threshold, from flagging none (threshold inf) to flagging all; nan for a missing class."""
    distinct, pos, neg = _by_level(scores, gold)
    tp, fp = _falling(pos, neg)
    tp, fp = np.append(0.0, tp), np.append(0.0, fp)
    return np.asarray(divide(fp, fp[-1])), np.asarray(divide(tp, tp[-1])), np.append(np.inf, distinct[::-1])


def pr_curve(scores: Floats, gold: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Recall, precision and threshold, from the highest score down; nan recall without positives."""
    distinct, pos, neg = _by_level(scores, gold)
    tp, fp = _falling(pos, neg)
    return np.asarray(divide(tp, tp[-1:])), np.asarray(divide(tp, tp + fp)), distinct[::-1]
