"""One plain run of the programme: what is asked of whom on which rows, and the key by which a finished one is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import guardeval
from guardeval.models import ModelSpec, build_model
from guardeval.settings import Settings

if TYPE_CHECKING:
    from guardeval.programme.definitions import Arm
    from guardeval.programme.model_sets import Role
    from guardeval.registry import Registry

__all__ = ["CLASSIFIER", "OWN_PROMPT", "Order", "combined_key", "order_of"]

CLASSIFIER = "classifier"  # it never reads the prompt
OWN_PROMPT = "one prompt of its own"  # the model set says how it is asked, whatever the experiment says


@dataclass(frozen=True)
class Order:
    """``fixed``: why another arm cannot change its verdicts, empty where it can; such a run is made once a model."""

    task: str
    data: str
    solver: str
    solver_args: Mapping[str, Any]
    policies: str
    model: ModelSpec
    label: str  # of the model, as reports show it
    fixed: str = ""
    limit: int | None = None
    seed: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)  # where and how to run, which changes no answer

    def settings(self) -> Settings:
        spec = self.model
        model = {"name": spec.name, "args": dict(spec.args)}
        values = {
            "task": [self.task],
            "solver": self.solver,
            "solver_args": dict(self.solver_args),
            "model": model,
            "policies": self.policies,
            "data": self.data,
            "limit": self.limit,
            "seed": self.seed,
        }
        return Settings.from_mapping({**values, **self.more}, "guardeval experiment")

    def key(self, data: str, identity: Mapping[str, Any]) -> str:
        """``data`` and ``identity``: rows and model by content. Prompts are no part of it where they change nothing."""
        asked = {"solver": self.solver, "args": dict(self.solver_args), "policies": self.policies}
        model = {"name": self.model.name, "args": dict(self.model.args), "identity": dict(identity)}
        what = {
            "guardeval": guardeval.__version__,
            "task": self.task,
            "data": data,
            "asked": self.fixed or asked,
            "model": model,
            "limit": self.limit,
            "seed": self.seed,
        }
        return _digest(what)


def order_of(arm: Arm, role: Role, task: str, data: str, registry: Registry, **more: Any) -> Order:
    """The run that an arm asks for of a role. Raises what building its model raises."""
    spec = ModelSpec(role.name, role.args)
    solver, args = (arm.solver, {**arm.solver_args, **role.solver_args})
    fixed = ""
    if role.solver is not None:
        solver, args, fixed = role.solver, dict(role.solver_args), OWN_PROMPT
    elif build_model(spec, registry).traits.classifies:
        fixed = CLASSIFIER
    limit, seed = more.pop("limit", None), more.pop("seed", 0)
    label = role.label or role.name
    if role.solver is None and role.solver_args:
        label += " " + " ".join(f"{k}={v}" for k, v in role.solver_args.items())
    return Order(task, data, solver, args, arm.policies, spec, label, fixed, limit, seed, more)


def combined_key(members: list[str], solver_args: Mapping[str, Any]) -> str:
    """Of runs with these keys, combined."""
    return _digest({"guardeval": guardeval.__version__, "members": members, "combined": dict(solver_args)})


def _digest(what: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:32]
