"""Tasks by name: what is installed and what lies in the user's folders, from a name, group, tag or glob to samples.

``TaskIndex().select("guard_prompt").tasks[0].open("sample")`` is a stream of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from guardeval.errors import ConfigError, GuardevalError, did_you_mean
from guardeval.registry import Registry
from guardeval.task_entries import Scan, TaskEntry, locate_package, scan, scan_file
from guardeval.task_file import Group, Task, read_group, read_task
from guardeval.task_rows import Rows
from guardeval.yaml_files import FunctionRef, load_yaml

__all__ = ["Group", "Rows", "Selection", "Task", "TaskEntry", "TaskIndex", "names_in"]


@dataclass(frozen=True)
class Selection:
    """The tasks that a user named, each once, in the order named; and the groups among the names."""

    tasks: tuple[Task, ...]
    groups: tuple[Group, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(t.name for t in self.tasks)

    def only(self, tasks: Sequence[Task]) -> Selection:
        """The same with some of the tasks; groups keep the members that are left, and go when none is."""
        kept = {t.name for t in tasks}
        groups = (replace(g, tasks=tuple(n for n in g.tasks if n in kept)) for g in self.groups)
        return Selection(tuple(tasks), tuple(g for g in groups if g.tasks))


def _check_target(group: Group, tasks: Mapping[str, Task]) -> None:
    other = next((n for n in group.tasks if group.target is not None and tasks[n].target is not group.target), None)
    if other is not None:
        raise ConfigError(f"{group.path}: the group asks {group.target}, and its task {other!r} asks {tasks[other].target}")


class TaskIndex:
    """Every task, group and tag in reach. Making one does nothing; ``entries`` looks at files, ``load`` reads one.

    ``include_path`` are folders (or YAML files) that the user named: `!function` may run code from them.
    """

    def __init__(self, include_path: Sequence[Path | str] = (), registry: Registry | None = None) -> None:
        self.include_path = tuple(Path(p) for p in include_path)
        self.registry = registry or Registry()
        self._tasks: dict[Path, Task] = {}

    def entries(self) -> dict[str, TaskEntry]:
        """Name → entry. Raises :class:`ConfigError` for a clash of names, or a file that is none, in ``include_path``."""
        return self._entries

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong in installed packages, a sentence each; it keeps nobody from the other tasks."""
        return self._scan.problems

    @property
    def unusable(self) -> Mapping[str, str]:
        """Name → why, for each that two installed packages claim, and those of a package that wants a newer guardeval."""
        return self._scan.unusable

    @cached_property
    def _scan(self) -> Scan:
        return scan(self.include_path, self.registry)

    def sourced(self) -> dict[str, str]:
        """Tasks of other tools that can be named, ``SOURCE/NAME`` → title. What they are over is read when they are loaded."""
        sources = {name: self.registry.build("task_sources", name) for name in self.registry.entries("task_sources")}
        return {f"{source}/{name}": title for source, made in sources.items() for name, title in made.names().items()}

    @property
    def _entries(self) -> dict[str, TaskEntry]:
        return self._scan.entries

    def load(self, name: str) -> Task:
        """One task by its name, or by the path of its YAML file. Raises :class:`ConfigError`."""
        entry = self._entry(name)
        if entry.kind != "task":
            raise ConfigError(f"{name!r} is a {entry.kind}, not a task")
        assert entry.path is not None  # noqa: S101  # only tags have none
        if entry.path not in self._tasks:
            self._tasks[entry.path] = read_task(load_yaml(entry.path), entry, self._resolve)
        return self._tasks[entry.path]

    def loadable(self) -> Iterator[Task]:
        """Every task, but those of installed packages that cannot be read. Raises for one in ``include_path`` that cannot."""
        for name, entry in self._entries.items():
            if entry.kind == "task":
                try:
                    yield self.load(name)
                except GuardevalError:
                    if entry.package is None:
                        raise

    def load_group(self, name: str) -> Group:
        """One group, its nested groups and tags spelt out as tasks."""
        entry = self._entry(name)
        if entry.kind != "group" or entry.path is None:
            raise ConfigError(f"{name!r} is a {entry.kind}, not a group")
        group = read_group(load_yaml(entry.path), entry)
        names = tuple(dict.fromkeys(n for member in group.tasks for n in self._members(member, (name,), group)))
        for key in group.paper_sizes:
            if key not in names:
                raise ConfigError(
                    f"{entry.path}: paper_sizes names {key!r}, which is not in the group{did_you_mean(key, names)}"
                )
        return replace(group, tasks=names)

    def select(self, spec: str | Sequence[str]) -> Selection:
        """Names, groups, tags, globs and paths of YAML files, as a list or separated by commas.

        Raises :class:`ConfigError` for what nothing is called or matches, with the nearest name.
        """
        wanted = names_in(spec)
        if not wanted:
            raise ConfigError("no task is named; `guardeval list tasks` shows them")
        tasks: dict[str, Task] = {}
        groups: dict[str, Group] = {}
        for name in wanted:
            for entry in self._matching(name):
                if entry.kind == "group":
                    groups[entry.name] = self.load_group(entry.name)
                names = groups[entry.name].tasks if entry.kind == "group" else self._members(entry.name, (), None)
                for member in names:
                    tasks.setdefault(member, self.load(member))
        for group in groups.values():
            _check_target(group, tasks)
        return Selection(tuple(tasks.values()), tuple(groups.values()))

    def file_problems(self, name: str) -> list[str]:
        """Everything that is wrong with the file of a task or group, not only the first; empty where no file has the name."""
        from guardeval.task_problems import file_problems

        entry = self._entries.get(name) or next((e for e in self._entries.values() if e.path == Path(name)), None)
        return [] if entry is None or name in self._scan.unusable else file_problems(entry, self._resolve)

    # ---- names ----

    def _entry(self, name: str) -> TaskEntry:
        entry = self._entries.get(name)
        if name in self._scan.unusable:
            raise ConfigError(self._scan.unusable[name])
        if entry is None and name.endswith((".yaml", ".yml")) and Path(name).is_file():
            entry = scan_file(Path(name), str(Path(name).parent))
            if entry is not None:
                known = self._entries.setdefault(entry.name, entry)
                if known is not entry and known.path is not None and known.path.resolve() != Path(name).resolve():
                    raise ConfigError(
                        f"{entry.kind} {entry.name!r} stands in two files: {known.path} and {name}; rename one of them"
                    )
        if entry is None:
            entry = self._from_source(name)
        if entry is None and name.endswith((".yaml", ".yml")) and not Path(name).is_file():
            raise ConfigError(f"{name}: no such file; a task is a name, or the path of its YAML file")
        if entry is None:
            broken = len(self._scan.problems)
            hint = (
                f"; {broken} installed task files or packages cannot be used: `guardeval validate` says why" if broken else ""
            )
            raise ConfigError(f"unknown task {name!r}{did_you_mean(name, [*self._entries, *self.sourced()])}{hint}")
        return entry

    def _from_source(self, name: str) -> TaskEntry | None:
        """``SOURCE/NAME``, another tool's task (``SOURCE__NAME`` where the name was part of a file's); None for none."""
        source, _, rest = name.replace("__", "/", 1).partition("/")
        if not rest or source not in self.registry.entries("task_sources"):
            return None
        task: Task = self.registry.build("task_sources", source).load(rest)
        self._tasks[task.path] = task
        return self._entries.setdefault(task.name, TaskEntry(task.name, "task", task.path, task.owner, (), task.description))

    def _matching(self, name: str) -> list[TaskEntry]:
        if not any(c in name for c in "*?[") or name in self._entries:
            return [self._entry(name)]
        found = [e for n, e in sorted(self._entries.items()) if e.kind != "tag" and fnmatchcase(n, name)]
        if not found:
            raise ConfigError(f"no task or group matches {name!r}{did_you_mean(name.strip('*'), self._entries)}")
        return found

    def _members(self, name: str, above: tuple[str, ...], group: Group | None) -> Iterator[str]:
        """Task names behind a name."""
        entry = self._entries.get(name) if group is not None else self._entry(name)
        if entry is None:
            raise ConfigError(
                f"{group.path if group else ''}: the group names an unknown task {name!r}{did_you_mean(name, self._entries)}"
            )
        if entry.kind == "task":
            yield entry.name
        elif entry.kind == "tag":
            yield from (e.name for e in self._entries.values() if name in e.tags)
        else:
            if entry.name in above:
                raise ConfigError(f"{entry.path}: a group holds itself: {' → '.join((*above, entry.name))}")
            assert entry.path is not None  # noqa: S101
            inner = read_group(load_yaml(entry.path), entry)
            for member in inner.tasks:
                yield from self._members(member, (*above, entry.name), inner)

    # ---- code that task files name ----

    def _resolve(self, ref: FunctionRef) -> Callable[..., Any]:
        packages = [e.value.partition(":")[0] for e in self.registry.all_entries("tasks")]
        folders = [Path(f) for p in packages for f in locate_package(p)]
        named = [p if p.is_dir() else p.parent for p in self.include_path]
        return ref.resolve([*folders, *named], packages)


def names_in(spec: str | Sequence[str]) -> list[str]:
    """The names of ``--task A,B``, or of a list of such texts."""
    items = [spec] if isinstance(spec, str) else spec
    return [part.strip() for item in items for part in str(item).split(",") if part.strip()]
