"""Who sits where: from settings with every name in them to models, solvers, and the runs that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from guardeval.card_defaults import Asked
from guardeval.contamination import seen_by
from guardeval.contracts import ChoosingSolver, Solver
from guardeval.errors import PluginError
from guardeval.models import build_model, find_model
from guardeval.panel import is_combining
from guardeval.party import Party, Seat, labelled
from guardeval.registry import Registry
from guardeval.settings import DEFAULT_SOLVER
from guardeval.voting import Combiner

__all__ = ["parties_of"]


def parties_of(asked: Asked, registry: Registry) -> tuple[Party, ...]:
    """Who is asked in which run: a solver that combines takes all models together, any other one model a run."""
    settings = asked.settings
    name = settings.solver or DEFAULT_SOLVER
    solver = _solver(name, settings.solver_args, registry)
    seats = []
    for spec, remarks in zip(settings.model, asked.remarks, strict=True):
        own = None if spec.solver is None else _solver(spec.solver, spec.solver_args, registry)
        model = build_model(spec, registry)
        seen = seen_by(find_model(spec.name, registry).folder, model)
        seats.append(Seat(spec, model, own, seen, remarks))
    if is_combining(solver):
        party = Party(tuple(seats), name, solver)
        if isinstance(solver, Combiner):
            solver.check(party.names)
        return (party,)
    return tuple(_alone(seat, name, solver) for seat in seats)


def _alone(seat: Seat, name: str, solver: Solver) -> Party:
    """One model with its own solver, or the one for all; of a solver that chooses, what it chose."""
    own_name, own = (seat.spec.solver or name, seat.solver or solver)
    if isinstance(own, ChoosingSolver):
        chosen, found = own.for_model(seat.spec.name)
        if found is not own:
            said = f"{seat.spec.name}: asked by {labelled(chosen, found)}, which {own_name} chose by its name"
            seat = replace(seat, remarks=(*seat.remarks, said))
        own_name, own = chosen, found
    return Party((seat,), own_name, own)


def _solver(name: str, options: Mapping[str, Any], registry: Registry) -> Solver:
    solver = registry.build("solvers", name, options)
    if not isinstance(solver, Solver):
        raise PluginError(f"solver {name!r} has no solve(case, model)")
    return solver
