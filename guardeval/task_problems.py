"""Everything that is wrong with one task file, where reading stops at the first: each is mended and reading tried again."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from guardeval.errors import ConfigError, GuardevalError
from guardeval.task_entries import TaskEntry
from guardeval.task_file import read_group, read_task
from guardeval.yaml_files import FunctionRef, Keys, SpecError, YamlFile, load_yaml

__all__ = ["file_problems", "placed"]

_MOST = 40  # problems of one file
_PLACEHOLDERS: dict[Keys, Any] = {
    ("metadata", "target"): "prompt_harmfulness",
    ("metadata", "version"): 1,
    ("dataset_path",): "owner/name",
    ("dataset_kwargs", "data_files"): "rows",
}
_MEANT = re.compile(r"unknown key .*; did you mean '([^']+)'\?")
_PLACE = re.compile(r"^(.+?:\d+)(?=: )")


def file_problems(entry: TaskEntry, resolve: Callable[[FunctionRef], Callable[..., Any]]) -> list[str]:
    """Problems of the file that a task or group stands in, each with file, line and column; none where it can be read."""
    if entry.path is None:
        return []
    try:
        file = load_yaml(entry.path)
    except ConfigError as e:
        return [placed(e)]
    file = YamlFile(file.path, deepcopy(file.values), dict(file.lines), dict(file.columns))  # a copy to mend
    found: list[str] = []
    while len(found) < _MOST:
        try:
            _read(file, entry, resolve)
            break
        except GuardevalError as e:
            if placed(e) in found:
                break  # mending it did not help
            found.append(placed(e))
            if not isinstance(e, SpecError) or not _mend(file, e):
                break
    return found


def placed(error: Exception) -> str:
    """The message, with the column after file and line where it is known."""
    column = error.column if isinstance(error, SpecError) else None
    return str(error) if column is None else _PLACE.sub(rf"\1:{column}", str(error), count=1)


def _read(file: YamlFile, entry: TaskEntry, resolve: Callable[[FunctionRef], Callable[..., Any]]) -> None:
    if entry.kind == "group":
        read_group(file, entry)
    else:
        read_task(file, entry, resolve)


def _mend(file: YamlFile, error: SpecError) -> bool:
    """Take the key that is wrong out, or call it what was meant, or put in what is missing; False where that cannot be."""
    if not error.keys:
        return False
    *above, key = error.keys
    held: Any = file.values
    for one in above:
        if not isinstance(held, dict):
            return False
        held = held.setdefault(one, {})
    if not isinstance(held, dict):
        return False
    there, old = key in held, held.pop(key, None)
    meant = _MEANT.search(str(error))
    if meant and meant[1] not in held:
        held[meant[1]] = old
        for places in (file.lines, file.columns):
            places[(*above, meant[1])] = places[error.keys]  # type: ignore[index]
    elif error.keys in _PLACEHOLDERS:
        held[key] = deepcopy(_PLACEHOLDERS[error.keys])
    return there or error.keys in _PLACEHOLDERS
