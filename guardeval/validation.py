"""Checks of tasks and plugins, as ``guardeval validate`` runs them: each problem is one sentence, none hides another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType

from guardeval.errors import GuardevalError
from guardeval.model_folder import exposure_of
from guardeval.models import packaged_folder, read_model_folder
from guardeval.registry import KINDS, Registry, owner
from guardeval.task import TaskIndex

__all__ = ["Checked", "validate_plugins", "validate_tasks"]

# kind → the methods of which a plugin has at least one
_METHODS = {
    "solvers": ("solve",),
    "scorers": ("score",),
    "models": ("generate", "generate_batch"),
    "trainers": ("train",),
    "optimizers": ("optimize",),
}


@dataclass(slots=True)
class Checked:
    """How many were looked at, and what was found."""

    checked: int = 0
    found: list[str] = field(default_factory=list)


def validate_tasks(include_path: Sequence[str] = (), spec: str | None = None, data: str = "sample") -> Checked:
    """Load the named tasks (None: all) and read every row of ``data``."""
    out = Checked()
    index = TaskIndex(include_path)
    try:
        entries = index.entries()
    except GuardevalError as e:  # two files of one name, a package that is gone: no task can be named until it is cured
        return Checked(1, [str(e)])
    names = [e.name for e in entries.values() if e.kind != "tag"] if spec is None else spec.split(",")
    for name in names:
        try:
            tasks = index.select(name).tasks
        except GuardevalError as e:
            out.checked += 1
            out.found.append(str(e))
            continue
        if spec is None and name not in {t.name for t in tasks}:
            continue  # a group that selects well: its tasks come by themselves
        for task in tasks:
            out.checked += 1
            try:
                problems = task.check(data).problems
            except GuardevalError as e:
                problems = (str(e),)
            out.found.extend(f"task {task.name}: {p}" for p in problems)
    return out


def _packaged(module: ModuleType) -> list[str]:
    """What is wrong with a package that holds a model folder."""
    try:
        folder = packaged_folder(module)
        read_model_folder(folder)
        exposure_of(folder)
    except GuardevalError as e:
        return [str(e)]
    return []


def validate_plugins(registry: Registry | None = None) -> Checked:
    """Import every registered plugin and look for its contract's method. A broken one does not hide the others."""
    registry = registry or Registry()
    out = Checked()
    for kind in KINDS:
        try:
            entries = registry.entries(kind)
        except GuardevalError as e:
            out.found.append(str(e))
            continue
        for name in entries:
            out.checked += 1
            try:
                plugin = registry.load(kind, name)
            except GuardevalError as e:
                out.found.append(str(e))
                continue
            if kind == "models" and isinstance(plugin, ModuleType):
                out.found += _packaged(plugin)
                continue
            wanted = _METHODS.get(kind, ())
            if wanted and not any(callable(getattr(plugin, m, None)) for m in wanted):
                out.found.append(f"{kind[:-1]} {name!r} of {owner(entries[name])} has no {' or '.join(wanted)}")
    return out
