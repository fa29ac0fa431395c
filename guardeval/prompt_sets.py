"""Prompts by where they are from: what overlap is looked for in. A file of rows of any known shape, or the rows of a task."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from guardeval.data import Target
from guardeval.errors import ConfigError, DataError, GuardevalError, did_you_mean
from guardeval.mined_rows import KEY, own_of
from guardeval.rows import is_rows_file, read_rows
from guardeval.shapes import Shape, compile_prompt, generic_shapes
from guardeval.task import Task, TaskIndex

__all__ = ["NotChecked", "PromptSet", "named_apart", "prompts_of_file", "prompts_of_task", "registered_prompts", "sets_named"]

_LOOK_AHEAD = 64
_PLAIN = ("prompt", "text", "content", "question", "input")  # columns taken for the prompt where no shape fits


@dataclass(frozen=True)
class PromptSet:
    """The rows of a file or task as (id, prompt), in order; ``task`` is set where they are a task's."""

    name: str
    rows: tuple[tuple[str, str], ...]
    source: str = ""
    task: str | None = None
    training: bool = False


@dataclass(frozen=True, slots=True)
class NotChecked:
    """A task whose rows are not at hand, and why."""

    task: str
    why: str


def sets_named(named: Sequence[str], index: TaskIndex) -> list[PromptSet]:
    """``TASK=PATH``, a path of a file of rows, or tasks by name, group, tag or glob (rows from the hub), in this order.

    Raises :class:`ConfigError` for what is neither, :class:`DataError` for rows that cannot be read.
    """
    return [one for item in named for one in _named(str(item), index)]


def _named(item: str, index: TaskIndex) -> Iterator[PromptSet]:
    name, equals, path = item.partition("=")
    if equals and (name in index.entries() or not Path(item).expanduser().exists()):
        yield prompts_of_task(index.load(name), path)
    elif is_rows_file(Path(item)) or Path(item).expanduser().exists():
        yield prompts_of_file(Path(item).expanduser(), index)
    else:
        try:
            tasks = index.select(item).tasks
        except ConfigError as e:
            raise ConfigError(f"{item}: is neither a file of rows, TASK=PATH, nor a task{_near(item, index)}") from e
        yield from (prompts_of_task(task) for task in tasks)


def _near(item: str, index: TaskIndex) -> str:
    return did_you_mean(item, index.entries())


def named_apart(sets: Sequence[PromptSet]) -> tuple[PromptSet, ...]:
    """Each set once, and files of one name told apart by the folders in which they differ."""
    once = list({(s.name, s.source): s for s in sets}.values())
    names = Counter(s.name for s in once)
    twice = [s.source for s in once if names[s.name] > 1]
    above = os.path.commonpath([Path(p).absolute().parent for p in twice]) if twice else ""
    return tuple(replace(s, name=_below(above, s.source)) if names[s.name] > 1 else s for s in once)


def _below(folder: str, path: str) -> str:
    return Path(path).absolute().relative_to(folder).as_posix()


# ---- tasks ----


def prompts_of_task(task: Task, data: str | Path = "hub") -> PromptSet:
    """The prompts of the samples that the task reads: labelled rows, those its ``where`` keeps."""
    rows = task.open(data)
    found = tuple((sample.id, sample.prompt) for sample in rows)
    return PromptSet(task.name, found, rows.source if rows.kind == "hub" else str(data), task.name, task.training)


def registered_prompts(
    index: TaskIndex, but: Iterable[str] = (), data_dir: Path | None = None, training: bool = True, wanted: bool = True
) -> tuple[list[PromptSet], list[NotChecked]]:
    """The rows of every registered task but some, from ``data_dir`` (as ``data pull`` writes them), the task's own files or
    the hub; and the tasks whose rows are not at hand. ``training``: training splits, too. ``wanted`` False: none is read, all
    are listed as not checked.

    Raises :class:`ConfigError` for a ``data_dir`` that is none, :class:`DataError` for its rows that cannot be read.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise ConfigError(f"--data_dir {data_dir}: is no folder; `guardeval data pull --to DIR` writes one")
    found: list[PromptSet] = []
    missing: list[NotChecked] = []
    skipped, asking = frozenset(but), True
    names = [n for n, e in index.entries().items() if e.kind == "task" and n not in skipped]
    for name in names:
        try:
            task = index.load(name)
        except GuardevalError as e:
            if index.entries()[name].package is None:  # a file that the user named
                raise
            missing.append(NotChecked(name, _short(e, name)))
            continue
        if task.training and not training:
            continue
        if not wanted:
            missing.append(NotChecked(task.name, "left out by --only_against"))
            continue
        local = _pulled(task, data_dir)
        if local is not None:
            found.append(prompts_of_task(task, local))
            continue
        try:
            found.append(_from_hub(task, asking))
        except (GuardevalError, OSError) as e:  # whatever keeps its rows away, the task is listed
            missing.append(NotChecked(task.name, _short(e, task.name)))
            asking = asking and not getattr(e, "unreachable", False)
    return found, missing


def _from_hub(task: Task, asking: bool) -> PromptSet:
    """A hub that did not answer for one task is not asked for the next."""
    from guardeval.hub import local_copies_only

    if asking:
        return prompts_of_task(task)
    with local_copies_only():
        return prompts_of_task(task)


def _pulled(task: Task, folder: Path | None) -> str | None:
    """What ``--data`` takes for the copies of a task's splits in a folder; None where one of them is missing."""
    if folder is None or task.data_files or (task.dataset_path is None and not task.sources):
        return None
    paths = [folder / name for name, _ in task.hub_files()]
    if not all(p.is_file() for p in paths):
        return None
    return ",".join(map(str, paths))


def _short(error: Exception, task: str) -> str:
    """The reason, without the ways on that are spelt for ``--data``."""
    return str(error).partition(". Three ways on")[0].removeprefix(f"{task}: ").partition("\n")[0]


# ---- files ----


def prompts_of_file(path: Path, index: TaskIndex) -> PromptSet:
    """Every row's prompt: of training files, mined rows, and rows of any shape that a task reads.

    Raises :class:`DataError` naming the row that has none, and for columns of which none is known to hold a prompt.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; name its files, or TASK={path} for the rows of a task")
    rows = iter(read_rows(path))
    head = list(islice(rows, _LOOK_AHEAD))
    columns = frozenset(k for row in head for k in row) - {KEY}
    prompt = _reader(path, columns, index)
    return PromptSet(path.name, tuple(_read(path, prompt, chain(head, rows))), str(path))


def _read(
    path: Path, prompt: Callable[[Mapping[str, Any]], str], rows: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(rows):
        try:
            text = prompt(row)
        except DataError as e:
            raise DataError(f"{path}: row {number + 1}: {e}") from e
        own = own_of(row)
        yield str(row.get("id") if own is None and row.get("id") is not None else number if own is None else own["id"]), text


def _reader(path: Path, columns: frozenset[str], index: TaskIndex) -> Callable[[Mapping[str, Any]], str]:
    """By the shape that asks for most of these columns; a column ``prompt`` is the prompt unless the shape is exact."""
    shapes = [s for s in _shapes(index) if s.fits(columns, Target.PROMPT)]
    exact = [s for s in shapes if s.exact]
    if not exact and "prompt" in columns:
        return compile_prompt(Shape("prompt", ("prompt",)))
    if exact or shapes:
        return compile_prompt(max(exact or shapes, key=lambda s: len(s.needed(Target.PROMPT))))
    for column in _PLAIN:
        if column in columns:
            return compile_prompt(Shape(column, (column,)))
    raise DataError(
        f"{path}: the columns are {', '.join(sorted(columns)) or 'none'}; none is known to hold prompts. Name the column "
        "`prompt`, or the task that reads them: TASK=PATH"
    )


def _shapes(index: TaskIndex) -> list[Shape]:
    own = [s for task in index.loadable() for s in task.shapes if s.refused is None]
    return [*generic_shapes(Target.PROMPT), *own]
