"""Hard samples by GuardReasoner's rule: right and wrong draws of one model. Nothing for a run in which nobody voted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guardeval.disagreement import votes_matrix
from guardeval.hard_draws import mixed_draws
from guardeval.judged import Judgements
from guardeval.metrics import Scores, directions, entry
from guardeval.stats import rate, ratio_of_sums

__all__ = ["HardSampleMiner"]


@dataclass(frozen=True)
class HardSampleMiner:
    """Share of labelled samples on which at least one readable draw is right and one is wrong, and how far they lean wrong.

    Members of an ensemble count as draws. arXiv 2501.18492, section 3.3; ``guardeval mine --rule mixed`` writes the samples.
    """

    confidence: float = 0.95
    higher_is_better: ClassVar[Mapping[str, bool]] = directions()

    def score(self, judged: Judgements) -> Scores:
        if not judged.members.any():
            return {}
        _, _, labels = votes_matrix(judged)
        mixed = mixed_draws(judged.gold, labels)
        labelled = judged.gold >= 0
        n, k = int(labelled.sum()), int(mixed.hard.sum())
        per_row = len(np.unique(judged.cluster[labelled])) / n if n else 1.0
        share = rate(k * per_row, n * per_row, self.confidence)
        weight = ratio_of_sums(mixed.weight[mixed.hard], 1.0, self.confidence)
        return {
            **entry("hard_share", share.value, n, (share.low, share.high)),
            **entry("hard_samples", k if n else float("nan"), n),
            **entry("hard_weight", weight.value, weight.n, (weight.low, weight.high)),
        }
