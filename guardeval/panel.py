"""Several models asked about one sample: what a solver that combines sees instead of a single model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from guardeval.contracts import Asker, Case, Completion, Exchange, Request, Solver, Traits
from guardeval.data import Usage
from guardeval.errors import ConfigError
from guardeval.unheard import at_once, heard
from guardeval.values import value
from guardeval.voting import Combiner, Said

if TYPE_CHECKING:
    from guardeval.broker import Bound, SampleAsker

__all__ = ["BoundPanel", "Member", "Panel", "ask_member", "ask_members", "is_combining", "members_of"]


@value
class Member:
    """One model of an ensemble for one sample; ``solver`` is its own way of being asked, where it has one."""

    name: str
    asker: Asker
    solver: Solver | None = None


def members_of(model: Asker) -> tuple[Member, ...]:
    """The members behind an asker; a single model is its only member."""
    found: tuple[Member, ...] | None = getattr(model, "members", None)
    return (Member(model.name, model),) if found is None else found


def is_combining(solver: Solver) -> bool:
    """Whether a solver takes all models of a run together: it combines them, or a solver that it holds does."""
    if isinstance(solver, Combiner):
        return True
    held: list[object] = (
        [getattr(solver, f.name) for f in dataclasses.fields(solver)] if dataclasses.is_dataclass(solver) else []
    )
    return any(is_combining(h) for h in held if isinstance(h, Solver))


async def ask_members(case: Case, members: Sequence[Member], inner: Solver) -> list[Said]:
    """What all members say, asked at once, in the members' order."""
    return await at_once([ask_member(case, member, inner) for member in members])


async def ask_member(case: Case, member: Member, inner: Solver) -> Said:
    """What one member says, asked by its own solver or by ``inner``; one that was not heard is a missing verdict."""
    verdict = await heard((member.solver or inner).solve(case, member.asker), case.target)
    usage = getattr(member.asker, "usage", None)
    return Said(member.name, verdict, usage() if usage is not None else None)


class Panel:
    """The models of a run for one sample; their exchanges stand in the members' order."""

    __slots__ = ("_askers", "_bound", "members")

    def __init__(self, bound: BoundPanel) -> None:
        self._bound = bound
        self._askers: list[SampleAsker] = [b.asker() for b in bound.bounds]
        named = zip(bound.names, self._askers, bound.solvers, strict=True)
        self.members = tuple(Member(name, asker, solver) for name, asker, solver in named)

    @property
    def name(self) -> str:
        return " + ".join(self._bound.names)

    @property
    def traits(self) -> Traits:
        return self._bound.traits

    @property
    def exchanges(self) -> list[Exchange]:
        return [e for asker in self._askers for e in asker.exchanges]

    async def generate(self, request: Request) -> Completion:
        raise ConfigError(f"{self.name}: several models, and a solver that asks one; use --solver ensemble or cascade")

    def usage(self) -> Usage:
        from guardeval.broker.bound import total

        return total([asker.usage() for asker in self._askers])


class BoundPanel:
    """Models bound to one broker; ``asker()`` gives a panel for one sample. ``solvers``: each member's own, or None."""

    def __init__(self, names: Sequence[str], bounds: Sequence[Bound], solvers: Sequence[Solver | None]) -> None:
        self.names, self.bounds, self.solvers = tuple(names), tuple(bounds), tuple(solvers)
        traits = [b.traits for b in bounds]
        self.traits = dataclasses.replace(
            traits[0], classifies=all(t.classifies for t in traits), logprobs=all(t.logprobs for t in traits)
        )

    @property
    def parallel(self) -> int:
        """How many samples to have under way at once to keep the busiest model busy."""
        return max(b.parallel for b in self.bounds)

    def asker(self) -> Panel:
        return Panel(self)
