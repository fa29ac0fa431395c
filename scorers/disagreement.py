"""How far apart voters are: members of an ensemble, or draws of one model. Nothing for a run in which nobody voted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from guardeval.bootstrap import Resampler, bootstrap
from guardeval.curves import levels_of
from guardeval.disagreement import disagreement, votes_matrix
from guardeval.judged import Judgements
from guardeval.metrics import Scores, directions, entry
from guardeval.scored import LEVELS
from guardeval.stats import divide, rate, sum_by

__all__ = ["DisagreementScorer"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DisagreementScorer:
    """Mean of Σ |P(θi) − P(θj)| over pairs of voters, shares of unanimous and of split samples, and how much was heard.

    Over samples with at least two voters heard; ``disagreement_apart`` counts the others. See :mod:`guardeval.disagreement`.
    """

    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0
    higher_is_better: ClassVar[Mapping[str, bool]] = directions()

    def score(self, judged: Judgements) -> Scores:
        if not judged.members.any():
            return {}
        _, scores, labels = votes_matrix(judged)
        found = disagreement(scores, labels)
        there, m = ~found.apart, labels.shape[1]
        split = (there & (labels == 1).any(axis=1) & (labels == 0).any(axis=1))[there]
        with_both = rate(found.pairs_with_both, found.pairs, self.confidence)
        return {
            **self._mean(found.values[there], judged.cluster[there], (m // 2) * (m - m // 2)),
            **self._shares(split, judged.cluster[there]),
            **entry("probability_pairs", with_both.value, with_both.n),
            **entry("disagreement_apart", int(found.apart.sum()), len(judged)),
        }

    def _mean(self, values: Floats, cluster: NDArray[np.int64], most: int) -> Scores:
        """``most``: the greatest disagreement that so many voters can have. The value uses every disagreement;
        beyond 4096 different ones, resamples take neighbours together."""
        level, count, _ = levels_of(values, LEVELS)
        sample = Resampler.of([level], cluster)
        means = divide(sum_by(level, values, count), np.bincount(level, minlength=count))[sample.patterns[0]]

        def statistic(counts: Floats) -> dict[str, Floats]:
            return {"mean": np.asarray(divide(counts @ means, counts.sum(axis=-1)))}

        found = bootstrap(sample, statistic, self.resamples, self.confidence, self.seed)["mean"]
        low, high, value = float(found.low), float(found.high), float(found.value)
        if len(values) and value in (0.0, most):  # every resample repeats it: Wilson's interval, as for a rate
            edge = rate(len(np.unique(cluster)) * value / most, len(np.unique(cluster)), self.confidence)
            low, high = edge.low * most, edge.high * most
        return entry("disagreement", value, len(values), (low, high))

    def _shares(self, split: NDArray[np.bool_], cluster: NDArray[np.int64]) -> Scores:
        """Wilson's intervals, by prompts where these repeat."""
        per_row = len(np.unique(cluster)) / len(cluster) if len(cluster) else 1.0
        n, k = len(split), int(split.sum())
        out: Scores = {}
        for name, hits in (("unanimous", n - k), ("split", k)):
            found = rate(hits * per_row, n * per_row, self.confidence)
            out |= entry(name, found.value, n, (found.low, found.high))
        return out
