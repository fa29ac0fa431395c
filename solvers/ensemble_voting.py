"""``--solver ensemble``: several models judge, a vote decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from guardeval.contracts import Asker, Case, Solver
from guardeval.data import Sample, Target, Verdict, Voters
from guardeval.errors import ConfigError
from guardeval.panel import ask_members, members_of
from guardeval.registry import solver_field
from guardeval.vote_weights import FITTED_ON, VoteWeights, read_weights
from guardeval.voting import Rule, Said, Ties, Voting, united

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = ["Ensemble"]


@dataclass(frozen=True)
class Ensemble:
    """Every ``--model`` is a member, asked by ``inner`` unless it has a solver of its own; missing verdicts are not votes.

    ``vote``: ``majority``; ``mean`` of the probabilities; ``weighted`` by |2p − 1| of each sample, or by ``weights``, a file
    that ``guardeval combine --fit`` wrote; ``any``; ``all``. ``ties``: what half against half means.
    """

    inner: Solver = solver_field("direct")
    vote: Rule = "majority"
    ties: Ties = "positive"
    weights: str | None = None

    at_once: ClassVar[bool] = True
    path_options: ClassVar[tuple[str, ...]] = ("weights",)

    def __post_init__(self) -> None:
        if self.weights is not None and self.vote != "weighted":
            raise ConfigError(f"ensemble: weights={self.weights} goes with vote=weighted, not with vote={self.vote}")

    @cached_property
    def _fitted(self) -> VoteWeights | None:
        return None if self.weights is None else read_weights(Path(self.weights))

    @cached_property
    def _voting(self) -> Voting:
        return Voting(self.vote, self.ties, None if self._fitted is None else self._fitted.weights)

    async def solve(self, case: Case, model: Asker) -> Verdict:
        said = await ask_members(case, members_of(model), self.inner)
        return self.combined(case.sample, case.target, said)

    def combined(self, sample: Sample, target: Target, said: Sequence[Said], last: bool = True) -> Verdict:
        """The verdict of what the members said, all of them."""
        return united(target, said, Voters.MODELS, self._voting)

    def check(self, members: Sequence[str]) -> None:
        if len(members) < 2:
            raise ConfigError(
                "ensemble: two models or more are wanted: --model A --model B; several draws of one: self_consistency"
            )
        if self._fitted is not None:
            self._fitted.check(members)

    def notices(self, judged: Judgements) -> list[str]:
        if self._fitted is None:
            return []
        seen = self._fitted.seen(judged)
        return [f"{seen} of {len(judged)} samples are of those that the {FITTED_ON}"] if seen else []
