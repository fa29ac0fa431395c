"""Two-sided intervals of differences, for a reader: a paired bootstrap over prompts. Decisions do not rest on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guardeval.bootstrap import Resampler
from guardeval.gates.measures import Measure, cells, formula
from guardeval.gates.pairs import TaskPair
from guardeval.stats import percentile_interval, rate

__all__ = ["CONFIDENCE", "difference_draws", "interval_of"]

Floats = NDArray[np.float64]
CONFIDENCE = 0.95


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


def interval_of(draws: Floats, difference: float, units: float) -> tuple[float, float] | None:
    """Percentile interval of a check's draws; where no resample differs, as wide as Wilson's bound for 0 of ``units``."""
    if not len(draws) or np.isnan(draws).all():
        return None
    low, high = (float(v) for v in percentile_interval(draws, CONFIDENCE))
    if low == high:
        by = rate(0, units, CONFIDENCE).high
        return max(-1.0, difference - by), min(1.0, difference + by)
    return low, high
