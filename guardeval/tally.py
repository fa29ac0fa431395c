"""Running counts of what was judged: what a run shows while it goes on, and what its parts add up to."""

from __future__ import annotations

from dataclasses import dataclass, fields

from guardeval.data import Judged, Outcome

__all__ = ["Tally"]


@dataclass(slots=True)
class Tally:
    """Samples, the four cells of the confusion as in ``strict`` (no verdict counts as wrong), and how many were never heard."""

    n: int = 0
    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0
    failed: int = 0

    def add(self, judged: Judged) -> None:
        self.n += 1
        verdict = judged.verdict
        gold = judged.sample.labels.get(verdict.target)
        said = (not gold) if verdict.label is None else verdict.label
        self.failed += verdict.outcome is Outcome.FAILED
        if gold:
            self.tp += said
            self.fn += not said
        elif gold is False:
            self.fp += said
            self.tn += not said

    def add_all(self, other: Tally) -> None:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))
