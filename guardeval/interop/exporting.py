"""What all exports of a run share: which tasks of it, and where a file may be written."""

from __future__ import annotations

from pathlib import Path

from guardeval.errors import ConfigError, did_you_mean
from guardeval.runs import StoredRun, TaskRecord

__all__ = ["may_write", "tasks_of"]


def tasks_of(run: StoredRun, name: str | None) -> tuple[TaskRecord, ...]:
    """The tasks of a run, or the one named. Raises :class:`ConfigError` for a task that it does not hold."""
    found = tuple(t for t in run.tasks if name in (None, t.name))
    if not found:
        raise ConfigError(f"run {run.name} holds no task {name!r}{did_you_mean(str(name), [t.name for t in run.tasks])}")
    return found


def may_write(path: Path, overwrite: bool) -> None:
    """Make room for a file. Raises :class:`ConfigError` where one is already, or none can be."""
    if path.exists() and not overwrite:
        raise ConfigError(f"{path}: is there already; --overwrite replaces it, -o names another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"{path.parent}: cannot be made: {e.strerror or e}; name another place with -o") from e
