"""``--data`` of a programme that has several tasks: one choice for the tasks of the plan, or one a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from guardeval.errors import ConfigError

__all__ = ["DataChoice"]

_SOURCES = ("hub", "sample")


@dataclass(frozen=True, slots=True)
class DataChoice:
    """``by_task`` first; else ``path`` for the task it belongs to; else ``default``, ``hub`` or ``sample``."""

    default: str = "hub"
    by_task: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None  # said without a task: of the plan's first task

    @classmethod
    def read(cls, given: Sequence[str]) -> DataChoice:
        """``hub``, ``sample``, ``PATH``, ``TASK=PATH`` (several by comma or repeated), or a YAML file that maps tasks to paths.

        Paths in such a file are relative to it. Raises :class:`ConfigError` for what is none of these.
        """
        default, path = "hub", None
        by_task: dict[str, str] = {}
        for text in given:
            for task, where in _pairs(text):
                if task is not None:
                    by_task[task] = where
                elif where in _SOURCES:
                    default = where
                elif where.endswith((".yaml", ".yml")):
                    by_task |= _mapping(Path(where).expanduser())
                elif path is None:
                    path = where
                else:
                    raise ConfigError(f"--data {path} and {where}: say which task each belongs to: --data TASK=PATH,TASK=PATH")
        return cls(default, by_task, path)

    def of(self, task: str, first: str) -> str:
        """What ``--data`` of a plain run would be; ``first`` is the task that a path without a name belongs to."""
        if task in self.by_task:
            return self.by_task[task]
        return self.path if self.path is not None and task == first else self.default


def _pairs(text: str) -> list[tuple[str | None, str]]:
    """``a=x,b=y`` → [(a, x), (b, y)]; a part without a name belongs to the one before, as one task may have several files."""
    if Path(text).expanduser().exists():
        return [(None, text)]
    out: list[tuple[str | None, str]] = []
    for part in (p.strip() for p in text.split(",")):
        name, equals, where = part.partition("=")
        if equals and name.strip().replace("_", "").isalnum():
            out.append((name.strip(), where.strip()))
        elif out:
            out[-1] = (out[-1][0], f"{out[-1][1]},{part}")
        else:
            out.append((None, part))
    empty = next((task for task, where in out if not where), None)
    if empty is not None:
        raise ConfigError(f"--data {text!r}: no path for task {empty!r}")
    return out


def _mapping(path: Path) -> dict[str, str]:
    from guardeval.yaml_files import load_yaml

    spec = load_yaml(path).spec()
    out = {}
    for task in spec.values:
        parts = [p for given in spec.texts(task) for p in given.split(",")]
        if not parts:
            raise spec.error(f"no path for task {task!r}", task)
        out[str(task)] = ",".join(p if p in _SOURCES else str(path.parent / Path(p.strip()).expanduser()) for p in parts)
    return out
