"""``--solver self_consistency``: ask several times, at a temperature, and let the draws vote.

Wang et al., 2023, arXiv:2203.11171.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from guardeval.contracts import Asker, Case, Solver
from guardeval.data import Verdict, Voters
from guardeval.drawing import Redraw
from guardeval.errors import ConfigError
from guardeval.panel import Member, ask_members
from guardeval.registry import solver_field
from guardeval.voting import Rule, Ties, Voting, united

__all__ = ["SelfConsistency"]

ASKED_ONCE = "asked once: a model that only classifies gives every draw the same answer"


@dataclass(frozen=True)
class SelfConsistency:
    """``n`` draws of ``inner``, all asked at once, at ``temperature`` in place of its own; missing verdicts are not votes.

    The score is the share of the votes. ``vote`` and ``ties`` mean what they mean for ``ensemble``; ``seed`` is that of the
    first draw, the next ones count up from it.
    """

    inner: Solver = solver_field("multistep")
    n: int = 3
    temperature: float = 0.7
    seed: int = 0
    vote: Rule = "majority"
    ties: Ties = "positive"

    def __post_init__(self) -> None:
        _ = self._redraw  # refuses impossible settings

    @cached_property
    def _redraw(self) -> Redraw:
        try:
            return Redraw(self.n, self.temperature, self.seed)
        except ConfigError as e:
            raise ConfigError(f"self_consistency: {e}") from e

    @cached_property
    def _voting(self) -> Voting:
        return Voting(self.vote, self.ties)

    async def solve(self, case: Case, model: Asker) -> Verdict:
        if model.traits.classifies:
            verdict = await self.inner.solve(case, model)
            return replace(verdict, notes=(*verdict.notes, ASKED_ONCE))
        draws = [Member(f"draw {i}", asker) for i, asker in enumerate(self._redraw.askers(model), 1)]
        return united(case.target, await ask_members(case, draws, self.inner), Voters.DRAWS, self._voting)
