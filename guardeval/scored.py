"""The samples whose verdict came with a probability, ready for metrics of scores and their bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from guardeval.bootstrap import Resampler
from guardeval.curves import levels_of
from guardeval.data import Outcome
from guardeval.judged import OUTCOMES
from guardeval.stats import sum_by

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = ["LEVELS", "Scored"]

Floats = NDArray[np.float64]
LEVELS = 4096  # with more distinct scores, resamples group neighbours; values themselves always use every score


@dataclass(frozen=True)
class Scored:
    """Labelled, parsed samples with a score: P(positive), gold 1 or 0, and the prompt's cluster.

    Sorted by score, then gold, so that no sum depends on the order in which samples came.
    """

    scores: Floats
    gold: NDArray[np.int8]
    cluster: NDArray[np.int64]

    @classmethod
    def of(cls, judged: Judgements) -> Scored:
        keep = judged.outcome == OUTCOMES.index(Outcome.PARSED)
        keep &= judged.gold >= 0
        keep &= judged.score >= 0.0  # not nan
        at = np.flatnonzero(keep)
        key = (judged.score[at] + 0.0).view(np.int64)  # the bits of numbers from 0 to 1 stand in their order; -0.0 is 0.0
        key <<= 1
        key |= judged.gold[at]
        order = at[key.argsort(kind="stable")]
        del at, key  # of ten million samples, 160 MB
        return cls(judged.score[order], judged.gold[order], judged.cluster[order])

    def __len__(self) -> int:
        return len(self.scores)

    def by_level(self) -> tuple[Floats, Floats]:
        """Positives and negatives at each distinct score, ascending; for values, not resamples."""
        level, count, _ = levels_of(self.scores)
        return sum_by(level, self.gold == 1, count), sum_by(level, self.gold == 0, count)

    @cached_property
    def _grouped(self) -> tuple[NDArray[np.int64], int, bool]:
        return levels_of(self.scores, LEVELS)

    @property
    def exact(self) -> bool:
        """Resamples tell all scores apart."""
        return self._grouped[2]

    @cached_property
    def resampler(self) -> Resampler:
        """Patterns are (level, gold); beyond :data:`LEVELS` distinct scores, about 1/1024 of the samples share a level."""
        return Resampler.of([self._grouped[0], self.gold], self.cluster)

    def split(self, counts: Floats) -> tuple[Floats, Floats]:
        """Counts of patterns (B, patterns) → positives and negatives at each level, (B, levels) each."""
        level, gold = self.resampler.patterns
        out = np.zeros((2, len(counts), self._grouped[1]))
        for g in (0, 1):
            out[g][:, level[gold == g]] = counts[:, gold == g]
        return out[1], out[0]

    def mean_by_pattern(self, values: NDArray[Any]) -> Floats:
        """Mean of a per-sample value over the samples of each pattern, (patterns,)."""
        level, gold = self.resampler.patterns
        of = self._grouped[0] * 2
        of += self.gold
        sums = sum_by(of, values, 2 * self._grouped[1])
        return np.asarray(sums[level * 2 + gold] / self.resampler.observed)
