"""Where a task's rows come from: the hub, the rows that ship with it, or files of the user's. Never one for another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.errors import ConfigError, DataError, did_you_mean
from guardeval.hub import HubRows, open_hub
from guardeval.mined_rows import own_of, unless_mined
from guardeval.rows import is_rows_file, read_rows
from guardeval.task_rows import Part, Rows, sha256_of

if TYPE_CHECKING:
    from guardeval.task_file import Source, Task

__all__ = ["SAMPLE_NOTICE", "open_rows", "paths_in"]

SAMPLE_NOTICE = "sample rows written for this project, not the benchmark"


def open_rows(task: Task, data: str | Path, limit: int | None, seed: int, only: Sequence[str | int] | None) -> Rows:
    """See :meth:`guardeval.task_file.Task.open`."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ConfigError(f"--limit {limit}: a whole number of samples, at least 1, is wanted; leave --limit out to take all")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(f"--seed {seed}: a whole number is wanted")
    if only is not None and limit is not None:
        raise ConfigError("--limit and --samples both choose samples; give one of them")
    if only is not None and not only:
        raise ConfigError("--samples names no sample")
    make = partial(Rows, task, limit=limit, seed=seed, only=only)
    if data == "sample":
        return _of_sample(task, make)
    if data == "hub" and task.data_files:
        return _of_files(task, [Part(str(p), _reading(task, p), task.always, p) for p in task.data_files], make)
    if data == "hub":
        return _of_hub(task, make)
    return _of_files(task, _parts(task, str(data)), make)


def _of_hub(task: Task, make: Callable[..., Rows]) -> Rows:
    opened = [open_hub(s, task.name) for s in task.hub_sets()]
    labels = [s.label for s in task.sources] or [task.always] * len(opened)
    parts = [Part(str(o.hub_set), _changing(task, o), label, None, o.count) for o, label in zip(opened, labels, strict=True)]
    source = ", ".join(dict.fromkeys(f"{o.hub_set.path}@{o.sha[:12]}" for o in opened))
    return make("hub", parts, source, lambda: {"hub": [_hub_identity(o) for o in opened]})


def _hub_identity(opened: HubRows) -> dict[str, Any]:
    wanted = opened.hub_set
    return {"path": wanted.path, "name": wanted.name, "split": wanted.split, "revision": opened.sha}


def _of_sample(task: Task, make: Callable[..., Rows]) -> Rows:
    path = task.sample
    if path is None or not path.is_file():
        raise ConfigError(
            f"`{task.name}` ships no sample rows{f' ({path} is not there)' if path else ''}; use --data hub or --data PATH"
        )
    part = Part(str(path), _reading(task, path), task.always, path)
    return make("sample", [part], "sample", partial(_file_identity, [part]), SAMPLE_NOTICE)


def _of_files(task: Task, parts: Sequence[Part], make: Callable[..., Rows]) -> Rows:
    source = ", ".join(p.path.name for p in parts if p.path is not None)
    return make("file", parts, source, partial(_file_identity, parts))


def _file_identity(parts: Sequence[Part]) -> dict[str, Any]:
    return {"files": [{"name": p.path.name, "sha256": sha256_of(p.path)} for p in parts if p.path is not None]}


def _reading(task: Task, path: Path) -> Callable[[], Iterable[Mapping[str, Any]]]:
    return _changing(task, _File(path))


class _File:
    """A file as something to iterate over again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return read_rows(self.path)


def _changing(task: Task, rows: Iterable[Mapping[str, Any]]) -> Callable[[], Iterable[Mapping[str, Any]]]:
    """The rows, or what the task's own function makes of them; it drops a row by returning None."""
    change = task.row
    if change is None:
        return lambda: rows

    def changed() -> Iterator[Mapping[str, Any]]:
        for number, row in enumerate(rows, 1):
            if own_of(row) is not None:  # it was changed before it was mined
                yield row
                continue
            try:
                new = change(row)
            except Exception as e:  # it is the task author's code: say which row it failed on
                raise DataError(f"row {number}: the function `row` of {task.path.name} failed: {type(e).__name__}: {e}") from e
            if new is not None:
                yield new

    return changed


# ---- --data PATH ----


def _parts(task: Task, data: str) -> list[Part]:
    """Files of ``PATH``, ``PATH,PATH`` or a folder, each with the label that its name implies, if the task says so."""
    parts: list[Part] = []
    for path in paths_in(data):
        if path.is_dir():
            parts += _in_folder(task, path)
        elif path.is_file():
            parts.append(_part(task, path, next((s for s in task.sources if s.matches(path)), None)))
        else:
            raise ConfigError(_not_there(task, data, path))
    if not parts:
        raise ConfigError(f"--data {data!r}: names no file")
    return parts


def paths_in(data: str) -> list[Path]:
    """The paths of ``--data A,B``; a path that is there may have a comma in its name."""
    whole = Path(data).expanduser()
    return [whole] if whole.exists() else [Path(p.strip()).expanduser() for p in data.split(",") if p.strip()]


def _not_there(task: Task, data: str, path: Path) -> str:
    hint = did_you_mean(data, ["hub", "sample"])
    near = sorted(p.name for p in path.parent.iterdir() if is_rows_file(p)) if path.parent.is_dir() else []
    here = (
        f"; {path.parent} holds {', '.join(near[:8])}{', …' if len(near) > 8 else ''}" if near and path.parent != Path() else ""
    )
    return f"--data {data}: there is no file {path} ({task.name}){hint if not here else ''}{here}"


def _part(task: Task, path: Path, source: Source | None) -> Part:
    """One file; of a source, only the rows that its slice names, so that a whole upstream file gives the task's rows."""
    if source is None:
        return Part(str(path), _reading(task, path), task.always, path)
    cut = source.rows
    return Part(str(path), lambda: unless_mined(_reading(task, path)(), cut), source.label, path)


def _in_folder(task: Task, folder: Path) -> list[Part]:
    """For a task of several sources: for each, the files of its first pattern that matches any in the folder."""
    found = sorted(p for p in folder.iterdir() if p.is_file() and is_rows_file(p))
    if not task.sources:
        if len(found) == 1:
            return [_part(task, found[0], None)]
        raise ConfigError(
            f"--data {folder}: a folder with {len(found)} files of rows; `{task.name}` reads one: "
            f"{', '.join(p.name for p in found[:8]) or 'none is there'}"
        )
    parts: list[Part] = []
    taken: set[Path] = set()
    for source in task.sources:
        for pattern in source.files:
            files = [p for p in found if p not in taken and fnmatchcase(p.name, pattern)]
            if files:
                parts += [_part(task, p, source) for p in files]
                taken.update(files)
                break
    missing = sorted({task.target.word(s.label) for s in task.sources if s.label is not None} - {_word(task, p) for p in parts})
    if not parts or missing:
        raise ConfigError(f"--data {folder}: no file for {' and '.join(missing) or task.name}{task.files_hint()}")
    return parts


def _word(task: Task, part: Part) -> str:
    return "" if part.implied is None else task.target.word(part.implied)
