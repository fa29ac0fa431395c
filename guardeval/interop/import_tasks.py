"""Which tasks of a log are read, and as which of guardeval's: no two of them as the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from guardeval.errors import ConfigError, DataError
from guardeval.interop.import_samples import Importing, Reading
from guardeval.interop.logged import Log, LoggedTask
from guardeval.registry import Registry
from guardeval.task import Task, TaskIndex

__all__ = ["by_asker", "named_tasks", "narrowed"]


def narrowed(log: Log, how: Importing, registry: Registry) -> Log:
    """Of several logged tasks those that are ``--task``: by name, or by what an exported task says of itself.

    Raises :class:`DataError` with all names where none is.
    """
    if how.task is None or len(log.tasks) + len(log.left_out) == 1:
        return log
    found = TaskIndex(how.include_path, registry).load(how.task)
    names = {how.task, found.name, how.task.rpartition("/")[2]}
    named = tuple(t for t in log.tasks if t.name in names)
    named = named or tuple(t for t in log.tasks if t.asker is not None and t.asker.task == found.name)
    if not named:
        logged = ", ".join([t.name for t in log.tasks] + [f"{name} (which {why})" for name, why in log.left_out.items()])
        count = len(log.tasks) + len(log.left_out)
        raise DataError(
            f"{log.path}: holds {count} tasks, and none that can be read is {found.name}: {logged}; name one of these, or log "
            "the task that you mean by itself"
        )
    return replace(log, tasks=named, left_out={})


def by_asker(log: Log) -> Iterator[Log]:
    """A log a solver, with its settings: a run has one, and exported tasks of several may have run together."""
    if log.origin is not None:
        yield log
        return
    parts: dict[str, list[LoggedTask]] = {}
    for task in log.tasks:
        one = task.asker
        key = "" if one is None else json.dumps([one.solver, one.solver_args, one.policies], sort_keys=True)
        parts.setdefault(key, []).append(task)
    for tasks in parts.values():
        yield replace(log, tasks=tuple(tasks))


def named_tasks(log: Log, reading: Reading) -> dict[str, tuple[LoggedTask, Task | None]]:
    """Name in the run → the logged task, and whose samples it holds: None where the log says so itself.

    Raises :class:`DataError` for two logged tasks that would have one name.
    """
    out: dict[str, tuple[LoggedTask, Task | None]] = {}
    for task in log.tasks:
        found = None if reading.restores else _found(log, task, reading)
        name = task.name if found is None else found.name
        if name in out:
            raise DataError(
                f"{log.path}: {out[name][0].name} and {task.name} are both task {name}, and a run has one of a name; log "
                "them apart"
            )
        out[name] = (task, found)
    return out


def _found(log: Log, task: LoggedTask, reading: Reading) -> Task | None:
    """lm-eval runs our task files under their own names; a log of Inspect may hold verdicts and labels itself."""
    if reading.how.task is not None:
        return reading.index.load(reading.how.task)
    if task.asker is not None:
        try:
            return reading.index.load(task.asker.task)
        except ConfigError as e:
            raise ConfigError(f"{log.path}: {task.name}: {e}; --include_path names the folder of a task of your own") from e
    entry = reading.index.entries().get(task.name)
    return reading.index.load(task.name) if log.tool == "lm_eval" and entry is not None and entry.kind == "task" else None
