"""Checks of tasks and plugins, as ``guardeval validate`` runs them: each problem is one sentence, none hides another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from guardeval.errors import GuardevalError, PluginError, did_you_mean
from guardeval.model_folder import exposure_of
from guardeval.models import packaged_folder, read_model_folder
from guardeval.plugin_check import METHODS, place_of, problems_of
from guardeval.registry import KINDS, Registry, owner
from guardeval.task import Task, TaskIndex
from guardeval.task_problems import placed
from guardeval.yaml_files import load_yaml

__all__ = ["Checked", "Named", "named_plugins", "validate_folder", "validate_named", "validate_plugins", "validate_tasks"]


@dataclass(slots=True)
class Checked:
    """How many were looked at, what was found, and what is worth knowing."""

    checked: int = 0
    found: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def joined(self, other: Checked) -> Checked:
        return Checked(self.checked + other.checked, [*self.found, *other.found], [*self.notes, *other.notes])


# ---- tasks ----


def validate_tasks(include_path: Sequence[str] = (), spec: str | None = None, data: str | None = None) -> Checked:
    """Load the named tasks (None: all) and read every row of ``data``; None: the rows that are here, own or sample."""
    out = Checked()
    index = TaskIndex(include_path)
    try:
        entries = index.entries()
    except GuardevalError as e:  # two files of one name in a folder that was named: no task can be, until it is cured
        return Checked(1, [placed(e)])
    names = [e.name for e in entries.values() if e.kind != "tag"] if spec is None else spec.split(",")
    if spec is None:
        out.found += index.problems
        out.checked += len(index.unusable)
        names = [n for n in names if n not in index.unusable]
    for name in names:
        _check_task(out, index, name, spec is None, data)
    return out


def validate_folder(folder: str, include_path: Sequence[str] = (), data: str | None = None) -> Checked:
    """Every task and group of a folder."""
    try:
        entries = TaskIndex([folder], Registry([])).entries().values()
    except GuardevalError as e:
        return Checked(1, [placed(e)])
    names = [e.name for e in entries if e.kind != "tag"]
    if not names:
        return Checked(0, [f"{folder}: holds no task: no .yaml file with a line `task: NAME`"])
    return validate_tasks([*include_path, folder], ",".join(names), data)


def _check_task(out: Checked, index: TaskIndex, name: str, among_all: bool, data: str | None) -> None:
    try:
        tasks = index.select(name).tasks
    except GuardevalError as e:
        out.checked += 1
        out.found += index.file_problems(name) or [placed(e)]
        return
    if among_all and name not in {t.name for t in tasks}:
        return  # a group that selects well: its tasks come by themselves
    for task in tasks:
        out.checked += 1
        unusable = [f"task {task.name}: {p}" for p in _named_in_vain(task, index.registry)]
        out.found += unusable
        sources = [data] if data is not None else _here(task)
        if not sources and not unusable:
            out.notes.append(f"task {task.name}: its rows are on the hub and were not read; --data hub, or a path, reads them")
        for source in sources:
            _check_rows(out, task, source)


def _check_rows(out: Checked, task: Task, source: str) -> None:
    try:
        report = task.check(source)
    except GuardevalError as e:
        out.found.append(f"task {task.name}: {e}")
        return
    out.found.extend(f"task {task.name}: {p}" for p in report.problems)
    out.notes.extend(f"task {task.name}: {report.source}: {n}" for n in report.notes)


def _here(task: Task) -> list[str]:
    """``--data`` for the rows that need no network: the task's own files, and its sample."""
    return ["hub"] * bool(task.data_files) + ["sample"] * (task.sample is not None and task.sample.is_file())


def _named_in_vain(task: Task, registry: Registry) -> Iterator[str]:
    """Scorers and a sample that the file names, and that are not there; with their place."""
    for name in task.scorers:
        try:
            registry.load("scorers", name)
        except GuardevalError as e:
            yield _placed_in(task, "scorers", str(e))
    if task.sample is not None and not task.sample.is_file():
        yield _placed_in(task, "sample", f"`sample`: {task.sample}: is no file")


def _placed_in(task: Task, key: str, said: str) -> str:
    try:
        return placed(load_yaml(task.path).spec("metadata").error(said, key))
    except GuardevalError:  # a task of another tool's, which has no such file
        return said


# ---- plugins ----


def validate_plugins(registry: Registry | None = None, make: bool = True) -> Checked:
    """Import every registered plugin and compare it with its contract. A broken one does not hide the others.

    ``make``: also make those whose options all have defaults, and ask models for their identity, for which one may open a
    connection.
    """
    registry = registry or Registry()
    out = Checked(found=registry.unreadable())
    for kind in KINDS:
        clashes = registry.clashes(kind)
        out.found += clashes.values()
        for name in registry.entries(kind):
            out.checked += 1
            if name not in clashes:
                out.found += _plugin_problems(registry, kind, name, make)
    return out


def _plugin_problems(registry: Registry, kind: str, name: str, make: bool = True) -> list[str]:
    try:
        plugin = registry.load(kind, name)
    except GuardevalError as e:
        return [str(e)]
    if kind == "tasks":
        return []
    if isinstance(plugin, ModuleType):
        return _packaged(plugin)
    entry = registry.entries(kind).get(name)
    whose = f" of {owner(entry)}" if entry is not None else ""
    return [f"{kind[:-1]} {name!r}{whose} {said}" for said in problems_of(kind, plugin, make)]


def _packaged(module: ModuleType) -> list[str]:
    """What is wrong with a package that holds a model folder."""
    try:
        folder = packaged_folder(module)
        read_model_folder(folder)
        exposure_of(folder)
    except GuardevalError as e:
        return [str(e)]
    return []


@dataclass(frozen=True, slots=True)
class Named:
    """A plugin that a user named: its kind and name, or ``package.module:Class``."""

    kind: str
    name: str


def named_plugins(given: str, registry: Registry) -> list[Named]:
    """Plugins of that name, of any kind; of that distribution; or the class behind ``package.module:Class``.

    Raises :class:`~guardeval.errors.PluginError` for a class that does not import, and one without the method of any kind.
    """
    if ":" in given:
        cls = registry.load("solvers", given)  # any kind: a class path is only imported
        found = [Named(kind, given) for kind, methods in METHODS.items() if any(hasattr(cls, m.name) for m in methods)]
        if not found:
            wanted = "; ".join(f"{' or '.join(map(str, methods))} of a {kind[:-1]}" for kind, methods in METHODS.items())
            raise PluginError(f"{given} is no plugin: it has none of the methods that make one: {wanted}{place_of(cls)}")
        return found
    kind, slash, name = given.partition("/")
    if slash and kind + "s" in KINDS:
        return [Named(kind + "s", name)] if name in registry.entries(kind + "s") else []
    named = [
        Named(kind, entry.name)
        for kind in KINDS
        for entry in registry.all_entries(kind)
        if entry.name == given or (entry.dist is not None and _normal(entry.dist.name) == _normal(given))
    ]
    return list(dict.fromkeys(named))


def _normal(name: str) -> str:
    """The name of a distribution as package indexes compare them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def validate_named(names: Iterable[str], registry: Registry | None = None) -> Checked:
    """The plugins that ``names`` stand for, each also imported and made in a process of its own to see what that touches."""
    registry = registry or Registry()
    out = Checked()
    for given in names:
        try:
            found = named_plugins(given, registry)
        except GuardevalError as e:
            out.checked += 1
            out.found.append(str(e))
            continue
        if not found:
            out.found.append(f"no plugin or distribution {given!r} is installed{did_you_mean(given, _known(registry))}")
        for one in found:
            out.checked += 1
            out.found += _of_one(registry, one)
    return out


def _known(registry: Registry) -> set[str]:
    entries = [e for kind in KINDS for e in registry.all_entries(kind)]
    return {e.name for e in entries} | {e.dist.name for e in entries if e.dist is not None}


def _of_one(registry: Registry, one: Named) -> list[str]:
    found = _plugin_problems(registry, one.kind, one.name)
    if found:
        return found
    plugin = registry.load(one.kind, one.name)
    if one.kind == "tasks":
        return _of_task_package(plugin)
    return found if isinstance(plugin, ModuleType) else [f"{one.kind[:-1]} {one.name!r} {said}" for said in _touched(plugin)]


def _of_task_package(package: ModuleType) -> list[str]:
    """What is wrong with the tasks of a package, and with their rows that are here."""
    index = TaskIndex()
    folders = [Path(p).resolve() for p in package.__path__]
    own = [e for e in index.entries().values() if e.path and any(e.path.resolve().is_relative_to(f) for f in folders)]
    out = Checked(found=[p for p in index.problems if any(str(f) in p for f in folders)])
    for entry in own:
        if entry.name not in index.unusable:
            _check_task(out, index, entry.name, False, None)
    if not own and not out.found:
        out.found.append(f"the package {package.__name__} holds no task: no .yaml with a line `task: NAME` in {folders[0]}")
    return out.found


def _touched(cls: type[Any]) -> Iterator[str]:
    """What importing and making a class did too early, seen in a new process; nothing where only its user can make it."""
    import inspect

    from guardeval.registry import build, configuration
    from guardeval.testing.clean_room import look

    if any(p.default is p.empty for p in inspect.signature(cls).parameters.values()):
        return
    facts, where = look(cls, configuration(build(cls, {}, cls.__name__))), place_of(cls)
    if facts.error:
        yield f"cannot be imported and made in a process of its own: {facts.error.splitlines()[-1]}{where}"
    for said, did in (("importing it touches", facts.on_import), ("its constructor touches", facts.on_making)):
        if did:
            yield f"does work too early: {said} {', '.join(did)}; do it where it is used{where}"
    if facts.heavy:
        yield f"imports {', '.join(facts.heavy)} with its module: import heavy packages in the functions that use them{where}"
    yield from (f"leaves a trace: {said}{where}" for said in facts.changed)
