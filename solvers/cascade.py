"""``--solver cascade``: the first model judges; where it is not sure, the next one does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from guardeval.contracts import Asker, Case, Solver
from guardeval.data import Sample, Target, Verdict, Voters
from guardeval.errors import ConfigError
from guardeval.panel import ask_member, members_of
from guardeval.registry import solver_field
from guardeval.voting import Said, votes_of

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = ["Cascade"]

CERTAIN = "no probability: taken as certain"


@dataclass(frozen=True)
class Cascade:
    """Models in the order named, the cheapest first. The next is asked while the last verdict is missing or its P(positive)
    lies in [``low``, ``high``]; the last one's verdict stands, whatever it is.

    A verdict without a probability counts as certain, and says so. The votes tell who was asked, and what each took.
    """

    low: float = 0.2
    high: float = 0.8
    inner: Solver = solver_field("direct")

    at_once: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ConfigError(f"cascade: the band low={self.low}, high={self.high} is none: 0 ≤ low ≤ high ≤ 1 is wanted")

    async def solve(self, case: Case, model: Asker) -> Verdict:
        members = members_of(model)
        said: list[Said] = []
        found = None
        while found is None:
            said.append(await ask_member(case, members[len(said)], self.inner))
            found = self.combined(case.sample, case.target, said, last=len(said) == len(members))
        return found

    def combined(self, sample: Sample, target: Target, said: Sequence[Said], last: bool = True) -> Verdict | None:
        """The verdict of the last stage asked; None where it is not sure and there is another."""
        said_last = said[-1].verdict
        unsure = said_last.label is None or (said_last.score is not None and self.low <= said_last.score <= self.high)
        if unsure and not last:
            return None
        certain = said_last.label is not None and said_last.score is None and not last
        votes = votes_of(said, [0.0] * (len(said) - 1) + [1.0])
        notes = (*said_last.notes, CERTAIN) if certain else said_last.notes
        return replace(said_last, votes=votes, notes=notes, voters=Voters.STAGES)

    def check(self, members: Sequence[str]) -> None:
        if len(members) < 2:
            raise ConfigError("cascade: two models or more are wanted, the cheapest first: --model A --model B")

    def notices(self, judged: Judgements) -> list[str]:
        return []
