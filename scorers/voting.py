"""Who was asked and heard: members of an ensemble, draws, stages of a cascade with the share and cost of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guardeval.data import Vote, Voters
from guardeval.judged import Judgements
from guardeval.metrics import Scores, directions, entry
from guardeval.stats import rate, ratio_of_sums

__all__ = ["VotingScorer"]


@dataclass(frozen=True)
class VotingScorer:
    """``members_heard``: share of the members' (or draws') verdicts that were heard. Of a cascade, for each stage n:
    ``stage<n>/asked_share``, ``stage<n>/settled_share``, and what it took over all samples, so that stages add up.

    Nothing where samples hold no votes.
    """

    confidence: float = 0.95
    higher_is_better: ClassVar[Mapping[str, bool]] = directions("members_heard", "stage_cost_per_1000", "stage_latency_mean")

    def score(self, judged: Judgements) -> Scores:
        if not len(judged):
            return {}
        if judged.members.any():
            found = ratio_of_sums(judged.heard, judged.members, self.confidence)
            low, high = (float(np.clip(end, 0.0, 1.0)) for end in (found.low, found.high))
            return entry("members_heard", found.value, found.n, (low, high))
        if judged[0].verdict.voters is not Voters.STAGES:
            return {}
        return self._stages([j.verdict.votes for j in judged])

    def _stages(self, votes: list[tuple[Vote, ...]]) -> Scores:
        out: Scores = {}
        n = len(votes)
        for stage in range(max(map(len, votes))):
            asked = [v[stage] for v in votes if len(v) > stage]
            settled = sum(len(v) == stage + 1 for v in votes)
            name = f"stage{stage + 1}"
            for metric, hits in (("asked_share", len(asked)), ("settled_share", settled)):
                found = rate(hits, n, self.confidence)
                out |= entry(metric, found.value, n, (found.low, found.high), policy=name)
            latency = [v.usage.latency if v.usage is not None else None for v in asked]
            cost = [v.usage.cost if v.usage is not None else None for v in asked]
            for metric, values, scale in (("stage_latency_mean", latency, 1.0), ("stage_cost_per_1000", cost, 1000.0)):
                known = [x for x in values if x is not None]
                value = scale * sum(known) / n if len(known) == len(values) else float("nan")
                out |= entry(metric, value, n, policy=name)
        return out
