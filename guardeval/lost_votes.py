"""Votes that a passing failure took from verdicts that others decided: asking again may change these verdicts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from guardeval.data import Outcome, Verdict

__all__ = ["LostVotes"]

_MOST_ERROR = 300  # characters of an error that a notice shows


@dataclass
class LostVotes:
    """Of one task: ``samples`` with a verdict and a voter that was never heard, and how often which voter."""

    samples: int = 0
    voters: Counter[str] = field(default_factory=Counter)
    first_error: str = ""

    def look(self, verdict: Verdict) -> None:
        """Count a verdict; one that failed as a whole is counted elsewhere."""
        if not verdict.votes or verdict.outcome is Outcome.FAILED:
            return
        lost = [v for v in verdict.votes if v.outcome is Outcome.FAILED]
        self.samples += bool(lost)
        self.voters.update(v.member for v in lost)
        if lost and not self.first_error:
            self.first_error = " ".join(lost[0].raw.split())

    def add(self, other: LostVotes) -> None:
        """Count what another part of the run lost."""
        self.samples += other.samples
        self.voters.update(other.voters)
        self.first_error = self.first_error or other.first_error

    def notice(self, redact: bool, again: str = "the same command asks") -> str:
        """Empty where every vote was heard; of a redacted run without the error, which may quote the row. ``again``: who asks
        them once more."""
        if not self.samples:
            return ""
        who = ", ".join(f"{name} {count}" for name, count in self.voters.items())
        said = f"provisional: {self.samples} samples lack votes that were never heard ({who}); {again} them again"
        cut = self.first_error[:_MOST_ERROR] + "…" * (len(self.first_error) > _MOST_ERROR)
        return f"{said}. The first: {cut}" if cut and not redact else said
