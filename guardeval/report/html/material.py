"""What a page is made of: run folders opened, their results, and the judged samples of every task as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.errors import ConfigError
from guardeval.run_names import model_text, run_names
from guardeval.runs import StoredRun, open_run

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = ["Material", "Part", "opened"]


@dataclass(frozen=True, slots=True)
class Part:
    """One task of one run."""

    run: int  # index into the material's runs
    name: str  # of the run, as told apart from the others
    task: str
    judged: Judgements


@dataclass(frozen=True)
class Material:
    """Runs in the order given; ``parts`` holds every task of every run."""

    runs: tuple[StoredRun, ...]
    results: tuple[Mapping[str, Any], ...]
    names: tuple[str, ...]
    parts: tuple[Part, ...]

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p.task for p in self.parts))

    def of(self, task: str) -> list[Part]:
        return [p for p in self.parts if p.task == task]

    def redacted(self, run: int) -> bool:
        """The samples file holds no text."""
        return bool(self.runs[run].record.get("redact"))

    @property
    def folders(self) -> list[Path]:
        return [r.path for r in self.runs]


def opened(folders: Sequence[Path | str]) -> Material:
    """Raises :class:`DataError` for a folder that is no run, and :class:`ConfigError` for none or one given twice."""
    if not folders:
        raise ConfigError("a report needs a run folder, or several")
    runs = tuple(open_run(f) for f in folders)
    twice = next((r.path for i, r in enumerate(runs) if r.path.resolve() in {s.path.resolve() for s in runs[:i]}), None)
    if twice is not None:
        raise ConfigError(f"{twice}: is given twice; name every run once")
    results = tuple(r.results() for r in runs)
    configs = [r["config"] for r in results]
    names = run_names(configs, [r.name for r in runs]) if len(runs) > 1 else [model_text(configs[0])]
    parts = tuple(
        Part(i, names[i], t.name, t.judgements())
        for i, run in enumerate(runs)
        for t in run.tasks
        if t.name in results[i]["results"]
    )
    return Material(runs, results, tuple(names), parts)
