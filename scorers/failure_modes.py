"""How a guard fails: shares of each mode of failure, and over-flagging by the source's categories."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from guardeval.failures import MARGIN, Mode, mode_shares, rates_by_category
from guardeval.judged import Judgements
from guardeval.metrics import Scores, directions, entry

__all__ = ["FailureModes"]

_METRIC = {
    Mode.OVERFLAGGED: "failure_overflagged",
    Mode.MISSED: "failure_missed",
    Mode.POLICY_CONFUSION: "failure_policy_confusion",
    Mode.UNREADABLE: "failure_unreadable",
    Mode.EDGE: "failure_edge",
}
_MOST_CATEGORIES = 100


@dataclass(frozen=True)
class FailureModes:
    """Share of each mode of failure (see :mod:`guardeval.failures`) with Wilson's interval, and
    ``overflagging[<category>]`` for each of the source's categories (the 100 largest) that holds a negative.

    ``margin``: a score nearer to one half than half of it is an edge case. Not among the scorers that run by
    themselves: over-flagged and missed stand in the headline, and ``guardeval report --failures`` shows all of it.
    """

    margin: float = MARGIN
    confidence: float = 0.95
    higher_is_better: ClassVar[Mapping[str, bool]] = directions(*_METRIC.values())

    def score(self, judged: Judgements) -> Scores:
        out: Scores = {}
        for found in mode_shares(judged, self.margin, self.confidence):
            share = found.share
            out |= entry(_METRIC[found.mode], share.value, share.n, (share.low, share.high))
        rates = [r for r in rates_by_category(judged, self.confidence) if r.overflagging.n]
        largest = sorted(rates, key=lambda r: (-r.overflagging.n, r.category is None, r.category or ""))
        for found_in in largest[:_MOST_CATEGORIES]:
            rate = found_in.overflagging
            name = f"overflagging[{_key_text(found_in.category)}]"
            while f"{name},parsed" in out:  # two categories that differ only in what a key cannot hold
                name += "'"
            out |= entry(name, rate.value, rate.n, (rate.low, rate.high), "parsed")
        return out


def _key_text(category: str | None) -> str:
    """A category as it may stand in a metric's key, where ``,`` parts off the accounting and ``/`` the policy."""
    return "none" if category is None else re.sub(r"[^\w .:+()-]", "_", category)[:80]
