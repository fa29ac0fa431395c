"""Two-sided intervals of differences, for a reader: a paired bootstrap over prompts. Decisions do not rest on them.

Where nothing changed, every resample repeats the difference. Of n prompts none of which changed, Wilson's bound for 0 of n
says how many may: at most z² = 3.84 of them, fewer where n is small. Which prompts count, and how much, is a matter of the
metric: negatives alone for over-flagging; for F1 mostly positives, each worth more than a negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guardeval.bootstrap import Resampler
from guardeval.gates.measures import Measure, cells, formula
from guardeval.gates.pairs import TaskPair
from guardeval.stats import divide, percentile_interval, z_value

__all__ = ["CONFIDENCE", "difference_draws", "interval_of", "unseen_change"]

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
_SPLITS = 41  # of the changes that may be unseen, between positives and negatives
_WAYS = [(p, n) for p in ((0, 2), (2, 0)) for n in ((3, 1), (1, 3))]  # tp → fn or back, with tn → fp or back


def difference_draws(
    pairs: Sequence[TaskPair], measures: Sequence[Measure], accounting: str, resamples: int, seed: int
) -> Floats:
    """Resampled current − baseline of each measure, (resamples, B); nan where undefined. Each task is resampled alone."""
    out = np.full((resamples, len(measures)), np.nan)
    for number, pair in enumerate(pairs):
        mine = [i for i, m in enumerate(measures) if m.task == pair.name]
        if not mine or not len(pair) or not resamples:
            continue
        sample = Resampler.of(pair.columns(), pair.cluster)
        kinds = pair.of_patterns(sample.patterns)
        sides = [[cells(measures[i], kinds, said, accounting) for i in mine] for said in (kinds.before, kinds.after)]
        start = 0
        for counts in sample.draws(resamples, seed + number):
            for place, i in enumerate(mine):
                value = formula(measures[i].metric).value
                gap = value(counts @ sides[1][place]) - value(counts @ sides[0][place])
                out[start : start + len(counts), i] = gap
            start += len(counts)
    return out


def interval_of(draws: Floats, difference: float, unseen: float, most: float = 1.0) -> tuple[float, float] | None:
    """Percentile interval of a check's draws; where no resample differs, ``unseen`` to either side, within ±``most``."""
    if not len(draws) or np.isnan(draws).all():
        return None
    low, high = (float(v) for v in percentile_interval(draws, CONFIDENCE))
    if low == high:
        return max(-most, difference - unseen), min(most, difference + unseen)
    return low, high


def unseen_change(metric: str, counts: Floats, repeats: float) -> float:
    """How far a metric may truly have moved where no sample was seen to change: the most that the changes of Wilson's bound
    could have made of it, on whichever samples they cost most.

    ``counts`` (4,): one model's tp, fp, fn, tn; ``repeats``: samples a prompt. Either model's totals may be the ones that are
    off, so the bound is the same up and down; nan where the metric is undefined.
    """
    value, z2 = formula(metric).value, z_value(CONFIDENCE) ** 2
    share = np.linspace(0.0, 1.0, _SPLITS)  # of the changes, among positives
    positives, negatives = counts[0] + counts[2], counts[1] + counts[3]
    changed = [of * divide(z * repeats, of + z * repeats) for of, z in ((positives, share * z2), (negatives, (1 - share) * z2))]
    moved = []
    for way in _WAYS:
        cells_then = np.tile(counts, (_SPLITS, 1))
        for (source, goal), many in zip(way, changed, strict=True):
            gone = np.minimum(np.nan_to_num(many), counts[source])
            cells_then[:, source] -= gone
            cells_then[:, goal] += gone
        moved.append(value(cells_then))
    gaps = np.abs(np.stack(moved) - value(counts))
    return math.nan if np.isnan(gaps).all() else float(np.nanmax(gaps))
