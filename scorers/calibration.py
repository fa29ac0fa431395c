"""Whether a score of 0.8 is right eight times in ten. Parsed samples with a score only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from guardeval.bootstrap import bootstrap
from guardeval.curves import BINS, Bin, ece, levels_of, reliability
from guardeval.judged import Judgements
from guardeval.metrics import Scores, directions, entry
from guardeval.scored import Scored
from guardeval.stats import divide, sum_by

__all__ = ["Calibration"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error over bins of equal mass, and the Brier (1950) score.

    Values use every score. A resample adds noise to every bin, so that its ECE is too large on average: the interval of
    the ECE is moved down by that average excess, which centres it on the value.
    """

    bins: int = BINS
    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0
    higher_is_better: ClassVar[Mapping[str, bool]] = directions("ece", "brier")

    def table(self, judged: Judgements) -> tuple[Bin, ...]:
        """The reliability table: what was said and what was found, bin by bin."""
        scored = Scored.of(judged)
        return reliability(scored.scores, scored.gold, self.bins, self.confidence)

    def score(self, judged: Judgements) -> Scores:
        scored = Scored.of(judged)
        residual = (scored.gold == 1) - scored.scores
        gap, square = scored.mean_by_pattern(residual), scored.mean_by_pattern(np.square(residual))

        def statistic(counts: Floats) -> dict[str, Floats]:
            pos, neg = scored.split(counts)
            gap_pos, gap_neg = scored.split(counts * gap)
            brier = np.asarray(divide(counts @ square, counts.sum(axis=-1)))
            return {"ece": ece(pos + neg, gap_pos + gap_neg, self.bins), "brier": brier}

        found = bootstrap(scored.resampler, statistic, self.resamples, self.confidence, self.seed)
        value = float(ece(*_by_level(scored, residual), self.bins)[0])
        excess = float(found["ece"].mean) - value
        low, high = (float(np.clip(end - excess, 0.0, 1.0)) for end in (found["ece"].low, found["ece"].high))
        brier = found["brier"]
        return {
            **entry("ece", value, len(scored), (low, high), "parsed"),
            **entry("brier", float(brier.value), len(scored), (float(brier.low), float(brier.high)), "parsed"),
        }


def _by_level(scored: Scored, residual: Floats) -> tuple[Floats, Floats]:
    """Samples and sum of their residuals at each distinct score, (1, levels) each."""
    level, count, _ = levels_of(scored.scores)
    return np.bincount(level, minlength=count)[None].astype(float), sum_by(level, residual, count)[None]
