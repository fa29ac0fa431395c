"""How a model folder wants to be asked: where the user says no solver and no policies, those that it was trained for.

What is taken from a card, and where the user asks otherwise than it was trained for, is said with the results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guardeval.card_options import policies_of_card, solver_of_card
from guardeval.contracts import Solver
from guardeval.models import FoundModel, ModelSpec, find_model
from guardeval.panel import is_combining
from guardeval.party import labelled
from guardeval.policies import VERBOSITIES
from guardeval.registry import Registry
from guardeval.settings import DEFAULT_POLICIES, DEFAULT_SOLVER, Settings

__all__ = ["Asked", "with_card_defaults"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Settings with nothing left open, and what must be said of each model, in their order."""

    settings: Settings
    remarks: tuple[tuple[str, ...], ...]


def with_card_defaults(settings: Settings, registry: Registry) -> Asked:
    """Raises :class:`ConfigError` for a card that names a class, or a file outside its folder."""
    found = [find_model(spec.name, registry) for spec in settings.model]
    remarks: list[list[str]] = [[str(n) for n in f.card.get("notices") or ()] for f in found]
    models = []
    for i, (spec, one) in enumerate(zip(settings.model, found, strict=True)):
        asked, said = _solver(spec, one, settings, registry)
        models.append(asked)
        remarks[i] += said
    policies = _policies(settings, found, remarks)
    taken = settings.solver is None and all(m.solver is not None for m in models)  # so are the options given without a solver
    args = {} if taken else settings.solver_args
    resolved = dataclasses.replace(
        settings, model=tuple(models), solver=settings.solver or DEFAULT_SOLVER, solver_args=args, policies=policies
    )
    return Asked(resolved, tuple(map(tuple, remarks)))


def _solver(spec: ModelSpec, found: FoundModel, settings: Settings, registry: Registry) -> tuple[ModelSpec, list[str]]:
    """The model with its card's solver, where nobody names another; else whether it was trained for that other."""
    if found.folder is None or found.card.get("solver") is None:
        return spec, []
    if spec.solver is None and _is_open(settings, registry):
        name, options = solver_of_card(found.folder, found.card, registry) or (DEFAULT_SOLVER, {})
        options = {**options, **(settings.solver_args if settings.solver is None else {})}
        label = labelled(name, registry.build("solvers", name, options))
        said = f"{spec.name}: asked by {label}, the solver that its card says it was trained for; --solver names another"
        return dataclasses.replace(spec, solver=name, solver_args=options), [said]
    if spec.solver is not None:
        given = registry.build("solvers", spec.solver, spec.solver_args)
    else:
        given = registry.build("solvers", settings.solver or DEFAULT_SOLVER, settings.solver_args)
    label, trained = _innermost(given, registry), _trained_for(found, registry)
    if label == trained:
        return spec, []
    return spec, [f"{spec.name}: asked by {label}, and its card says that it was trained for {trained}"]


def _is_open(settings: Settings, registry: Registry) -> bool:
    """Nobody says how single models are asked: no solver, or one that combines them, without its inner one."""
    if settings.solver is None:
        return True
    if any(key == "inner" or key.startswith("inner.") for key in settings.solver_args):
        return False
    return is_combining(registry.build("solvers", settings.solver, settings.solver_args))


def _innermost(solver: Solver, registry: Registry) -> str:
    """The label of a solver; of one that draws or votes, of the one that it asks with."""
    names: list[str] = [f.name for f in dataclasses.fields(solver)] if dataclasses.is_dataclass(solver) else []
    inner = [h for h in (getattr(solver, name) for name in names) if isinstance(h, Solver)]
    if len(inner) == 1:
        return _innermost(inner[0], registry)
    return labelled(registry.name_of("solvers", type(solver)), solver)


def _trained_for(found: FoundModel, registry: Registry) -> str:
    """The card's solver as a label; as it stands there where it cannot be made here, for nothing of it is used."""
    from guardeval.errors import GuardevalError

    assert found.folder is not None  # noqa: S101 - it has a card
    try:
        named = solver_of_card(found.folder, found.card, registry)
        return _innermost(registry.build("solvers", *named), registry) if named else DEFAULT_SOLVER
    except GuardevalError:
        return str(found.card["solver"])


def _policies(settings: Settings, found: Sequence[FoundModel], remarks: Sequence[list[str]]) -> str:
    """The user's, else those that all models were trained with that say any."""
    trained = [None if f.folder is None else policies_of_card(f.folder, f.card) for f in found]
    names = [spec.name for spec in settings.model]
    said = {t for t in trained if t is not None}
    chosen = settings.policies or (said.pop() if len(said) == 1 else DEFAULT_POLICIES)
    for i, (name, own) in enumerate(zip(names, trained, strict=True)):
        if own is not None and own != _same_place(chosen):
            asked = f"{name}: asked about policies {_shown(chosen)}"
            remarks[i].append(f"{asked}, and its card says that it was trained with {_shown(own)}")
        elif own is not None and settings.policies is None and own != DEFAULT_POLICIES:
            remarks[i].append(f"{name}: asked about policies {_shown(own)}, as its card says; --policies names others")
    return chosen


def _same_place(policies: str) -> str:
    return policies if policies in VERBOSITIES else str(Path(policies).expanduser().resolve())


def _shown(policies: str) -> str:
    """A folder by its last two names: where it lies says little."""
    return policies if policies in VERBOSITIES else "/".join(Path(policies).parts[-2:])
