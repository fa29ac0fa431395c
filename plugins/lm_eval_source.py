"""lm-eval's own classification tasks as guardeval tasks: ``--task lm_eval/toxigen``. Extra: ``lm-eval``.

Which of them say what is harmful, and how, stands in ``lm_eval_tasks.yaml``. The data set, its split and the gold answer of a
row are those of the installed lm-eval's own file, found by its own code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from guardeval.errors import ConfigError, did_you_mean, needs_extra
from guardeval.interop.lm_eval_names import own_names
from guardeval.task_entries import TaskEntry
from guardeval.task_file import Task, read_task
from guardeval.yaml_files import FunctionRef, Spec, YamlFile, load_yaml

__all__ = ["LmEvalTasks"]

_TABLE = Path(__file__).with_name("lm_eval_tasks.yaml")
_GOLD = "lm_eval_gold"  # the column that is added to a row: the choice that lm-eval takes for the right one
_KNOWN = ("title", "file", "target", "prompt", "positive", "negative", "licence", "citation", "homepage", "notes")


@dataclass(frozen=True)
class LmEvalTasks:
    """Tasks by their names in lm-eval."""

    def names(self) -> dict[str, str]:
        """Name → title. Imports nothing of lm-eval's."""
        return {name: str(self._table.spec("tasks", name).text("title")) for name in self._table.spec("tasks").values}

    def load(self, name: str) -> Task:
        """Raises :class:`ConfigError` for a task that does not fit, with the reason, and for one that there is not."""
        known = self._table.spec("tasks", name).only(_KNOWN) if name in self._table.values["tasks"] else None
        if known is None:
            raise ConfigError(f"--task lm_eval/{name}: {self._why_not(name)}")
        with needs_extra("lm-eval"):
            import lm_eval
        path = Path(str(lm_eval.__file__)).parent / "tasks" / str(known.text("file"))
        theirs = _their_file(path, name)
        choices = theirs.get("doc_to_choice")
        asked = (known.text("positive"), known.text("negative"))
        if theirs.get("output_type") != "multiple_choice" or not isinstance(choices, list) or {*choices} != {*asked}:
            raise ConfigError(
                f"--task lm_eval/{name}: the installed lm-eval's {path} does not ask for one of {asked[0]!r} and {asked[1]!r}; "
                "install lm-eval 0.4.13, or write a task file of your own over its data set"
            )
        entry = TaskEntry(f"lm_eval__{name}", "task", path, "lm-eval", (), str(known.text("title")))
        return read_task(_our_file(path, known, theirs), entry, lambda _ref: _gold_of(theirs, choices))

    @cached_property
    def _table(self) -> YamlFile:
        return load_yaml(_TABLE)

    def _why_not(self, name: str) -> str:
        refused = self._table.values["refused"]
        if name in refused:
            return f"does not fit: {refused[name]}"
        if name in own_names():
            return (
                "it is not known to say what is harmful: a task with two choices is wanted, one of which means that a text "
                f"is harmful. Known: {', '.join(self.names())}. A task file of your own over its data set is a "
                "dozen lines (docs/tasks.md)"
            )
        return f"lm-eval has no such task{did_you_mean(name, self.names())}"


def _their_file(path: Path, name: str) -> dict[str, Any]:
    """lm-eval's own reading of its file, includes and functions resolved."""
    from lm_eval.tasks._yaml_loader import load_yaml as load_theirs

    try:
        return dict(load_theirs(path, resolve_func=True))
    except Exception as e:  # a file that moved, a package that its functions need
        raise ConfigError(f"--task lm_eval/{name}: lm-eval does not load its file {path}: {type(e).__name__}: {e}") from e


def _our_file(path: Path, known: Spec, theirs: Mapping[str, Any]) -> YamlFile:
    """The same task in guardeval's words."""
    split = theirs.get("test_split") or theirs.get("validation_split")
    version = (theirs.get("metadata") or {}).get("version", 0)
    return YamlFile(
        path,
        {
            "dataset_path": theirs["dataset_path"],
            "dataset_name": theirs.get("dataset_name"),
            "test_split": split,
            "metadata": {
                "version": version,
                "target": known.text("target"),
                "license": known.text("licence"),
                "citation": known.text("citation"),
                "homepage": known.text("homepage"),
                "notes": known.text("notes"),
                "fields": {"prompt": known.text("prompt")},
                "label": {"column": _GOLD, "positive": known.text("positive"), "negative": known.text("negative")},
                "row": FunctionRef("lm_eval.gold", path.parent, str(path)),
            },
        },
    )


def _gold_of(theirs: Mapping[str, Any], choices: list[str]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Adds the right choice to a row, as ``doc_to_target`` says it: a function, a column, or a template."""
    asked = theirs["doc_to_target"]

    def with_gold(row: Mapping[str, Any]) -> dict[str, Any]:
        if callable(asked):
            found = asked(row)
        elif asked in row:
            found = row[asked]
        else:
            from lm_eval.utils import apply_template

            found = apply_template(str(asked), dict(row))
        return {**row, _GOLD: _choice(found, choices)}

    return with_gold


def _choice(found: Any, choices: list[str]) -> str | None:
    """The choice by its place or by its word; None where the row states none."""
    if found is None or str(found) in choices:
        return None if found is None else str(found)
    place = int(found)
    if not 0 <= place < len(choices):
        raise ValueError(f"the gold choice is number {place} of {len(choices)}")
    return choices[place]
