"""Whether verifiers agree with the label that a variant was written for."""

from __future__ import annotations

from dataclasses import dataclass

from guardeval.data import Outcome, Step, Verdict
from guardeval.synthesis.never import names_forbidden

__all__ = ["Opinion", "Opinions"]

_NO_REASONING = frozenset({"Decision", "Thinking"})


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one verifier said. ``classifies``: it writes evidence, not reasoning."""

    verifier: str
    verdict: Verdict
    classifies: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its reasoning, without the closing block and what it thought before it wrote."""
        return tuple(s for s in self.verdict.steps if s.name not in _NO_REASONING)


@dataclass(frozen=True, slots=True)
class Opinions:
    """What all verifiers said about one variant that was written to be ``label``."""

    label: bool
    opinions: tuple[Opinion, ...]

    @property
    def heard(self) -> tuple[Opinion, ...]:
        return tuple(o for o in self.opinions if o.verdict.outcome is Outcome.PARSED)

    @property
    def agreeing(self) -> tuple[Opinion, ...]:
        """Those who agree, whose reasoning is worth most first: a reasoner's before a classifier's evidence."""
        return tuple(sorted((o for o in self.heard if o.verdict.label is self.label), key=lambda o: o.classifies))

    @property
    def agreement(self) -> float:
        """Share of the verifiers heard that agree; nan where none was heard."""
        return len(self.agreeing) / len(self.heard) if self.heard else float("nan")

    @property
    def forbidden(self) -> bool:
        """Whether anybody at all, in whatever vote, saw a policy that is never generated."""
        return any(
            names_forbidden(o.verdict.policies) or any(names_forbidden(v.policies) for v in o.verdict.votes)
            for o in self.opinions
        )

    @property
    def policies(self) -> frozenset[str]:
        """Policies that more than half of those who agree name."""
        named = [p for o in self.agreeing for p in o.verdict.policies]
        return frozenset(p for p in named if 2 * named.count(p) > len(self.agreeing))

    def refused(self, threshold: float) -> str | None:
        """Why the variant is not kept, None where it is. Shares are compared to two decimals: 2 of 3 are 0.67.

        No verdict is no agreement: where half of the verifiers or more were not heard, nobody has verified anything.
        """
        if not self.heard:
            return "no verdict"
        if 2 * len(self.heard) <= len(self.opinions):
            return "too few verdicts"
        return None if round(self.agreement, 2) >= round(threshold, 2) else "verifiers disagree with the label"
