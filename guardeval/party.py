"""Who is asked in one run: a model and its solver, or several models and the solver that combines them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from guardeval.contamination import UNKNOWN, Marker, Seen
from guardeval.contracts import BatchModel, Model, Solver
from guardeval.models import ModelSpec
from guardeval.panel import BoundPanel, is_combining
from guardeval.registry import Registry, changed_options, configuration
from guardeval.run_names import run_names

if TYPE_CHECKING:
    from guardeval.broker import Bound, Broker

__all__ = ["Party", "Seat", "labelled", "without_solvers"]


@dataclass(frozen=True)
class Seat:
    """One model of a party; ``solver`` is its own way of being asked, None where the party's solver says how. ``seen`` is
    what it was trained on, None where that is not known; ``remarks`` what its card has to say of how it is asked."""

    spec: ModelSpec
    model: Model | BatchModel
    solver: Solver | None = None
    seen: Seen | None = None
    remarks: tuple[str, ...] = ()

    @property
    def config(self) -> dict[str, Any]:
        """What results files say about it, with the party's solver left out."""
        config = {"model": self.spec.name, "model_args": dict(configuration(self.model))}
        if self.solver is None or self.spec.solver is None:
            return config
        return {**config, "solver": self.spec.solver, "solver_label": labelled(self.spec.solver, self.solver)}


@dataclass(frozen=True)
class Party:
    """``solver_name`` and ``solver`` are what decides: of a single model, its own where it has one."""

    seats: tuple[Seat, ...]
    solver_name: str
    solver: Solver

    @property
    def combined(self) -> bool:
        return is_combining(self.solver)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the members, as far as is needed to tell them apart."""
        return tuple(run_names([seat.config for seat in self.seats]))

    @property
    def name(self) -> str:
        return " + ".join(self.names) if self.combined else self.seats[0].spec.name

    @property
    def notices(self) -> tuple[str, ...]:
        """What every table must say about the models' verdicts."""
        return tuple(dict.fromkeys(n for seat in self.seats for n in seat.model.traits.notices))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the models' cards say of how they are asked, and of themselves."""
        said = self.notices  # a backend may have read the card itself
        return tuple(dict.fromkeys(r for seat in self.seats for r in seat.remarks if r not in said))

    @property
    def _called(self) -> tuple[str, ...]:
        return self.names if self.combined else (self.seats[0].spec.name,)

    def marker(self, task: str) -> Marker:
        """For the samples of one task."""
        return Marker(task, zip(self._called, (seat.seen for seat in self.seats), strict=True))

    @property
    def exposure(self) -> dict[str, Any]:
        """What each model has seen, as the results file says it."""
        told = zip(self._called, (seat.seen for seat in self.seats), strict=True)
        return {name: UNKNOWN if seen is None else seen.as_dict() for name, seen in told}

    @property
    def classifies(self) -> bool:
        """No verdict depends on a prompt."""
        return all(seat.model.traits.classifies for seat in self.seats)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Of the model; of several, all of theirs and how they are combined, the inner solvers' prompts left out."""
        if not self.combined:
            return dict(self.seats[0].model.identity)
        members = [dict(seat.model.identity) for seat in self.seats]
        return {"members": members, "solver": self.solver_name, **without_solvers(configuration(self.solver))}

    def config(self) -> dict[str, Any]:
        """The part of a results file that says who was asked."""
        seats = [seat.config for seat in self.seats]
        if not self.combined:
            found = {k: seats[0][k] for k in ("model", "model_args")}
        else:
            members = [{"name": name, **config} for name, config in zip(self.names, seats, strict=True)]
            found = {"model": self.name, "model_args": {}, "members": members}
        return {
            **found,
            "model_notices": list(self.notices),
            "exposure": self.exposure,
            "solver": self.solver_name,
            "solver_args": configuration(self.solver),
            "solver_label": labelled(self.solver_name, self.solver),
        }

    def bind(self, broker: Broker) -> Bound | BoundPanel:
        bounds = [broker.bind(seat.model, seat.spec.name) for seat in self.seats]
        return BoundPanel(self.names, bounds, [seat.solver for seat in self.seats]) if self.combined else bounds[0]


def without_solvers(options: Mapping[str, Any]) -> dict[str, Any]:
    """A solver's options but for the solvers that it holds."""
    return {k: v for k, v in options.items() if not (isinstance(v, Mapping) and "solver" in v)}


def labelled(name: str, plugin: object) -> str:
    """A plugin's name with the options that are not at their defaults: ``multistep skip=intent,harms``."""
    return " ".join([name, *(f"{k}={_shown(getattr(plugin, k))}" for k in changed_options(plugin))])


def _shown(value: Any) -> str:
    if isinstance(value, Solver):
        text = labelled(Registry().name_of("solvers", type(value)), value)
        return f"({text})" if " " in text else text
    if isinstance(value, Enum):
        return str(value.value)
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
