"""Run folders compared: which tasks they share, whether their numbers may be compared at all, then sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from guardeval.compare import Comparison, compare
from guardeval.contamination import contacts_of, is_untold
from guardeval.errors import ConfigError
from guardeval.pairing import check_comparable
from guardeval.run_facts import head_of, notices_of, shared_tasks, task_facts
from guardeval.run_names import run_names
from guardeval.runs import StoredRun, open_run
from guardeval.significance import holm

__all__ = ["RunsComparison", "TaskComparison", "compare_runs"]

CLASSIFIER = "classifier"


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """One task: ``comparison`` of the reference with every run that it makes sense to compare, None where it is none.

    ``not_applicable``: run → why it is left out. ``classifier``: it asked the reference's own model, which only
    classifies; its verdicts cannot depend on how it was asked, and equal numbers would look like a finding. ``seen``:
    samples that a model of one of these runs knew from training; ``clean``: the same comparison without them, None where
    there are none, or no others. ``untold``: a model was made from samples of the task, and of which cannot be told.
    """

    task: str
    comparison: Comparison | None
    not_applicable: Mapping[str, str]
    seen: int = 0
    clean: Comparison | None = None
    untold: bool = False


@dataclass(frozen=True, slots=True)
class RunsComparison:
    """Runs against the first; ``tests`` counts those of all tasks and pairs, which Holm's correction covers together."""

    names: tuple[str, ...]
    folders: tuple[str, ...]
    notices: tuple[str, ...]  # of the runs: what must be known before believing a number
    tasks: tuple[TaskComparison, ...]
    tests: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; undefined numbers are None."""
        tasks = {t.task: _plain(t) for t in self.tasks}
        runs = [{"name": n, "folder": f} for n, f in zip(self.names, self.folders, strict=True)]
        return {"runs": runs, "notices": list(self.notices), "tests": self.tests, "tasks": tasks}


def _plain(task: TaskComparison) -> dict[str, Any]:
    clean = {"clean": task.clean.as_dict() if task.clean else None}
    told = {"contamination": {"samples": task.seen, **clean}} if task.seen or task.untold else {}
    return {**(task.comparison.as_dict() if task.comparison else {}), "not_applicable": dict(task.not_applicable), **told}


def compare_runs(
    folders: Sequence[Path | str], *, task: str | None = None, accounting: str = "strict", seed: int = 0
) -> RunsComparison:
    """Compare every task that all runs hold (or the one named) with the first run's.

    Raises :class:`DataError` when they share no task, or when a shared one was run on other data or another version.
    """
    if len(folders) < 2:
        raise ConfigError("two runs or more are wanted, the reference first")
    runs = [open_run(f) for f in folders]
    names = run_names([head_of(r).get("config") or {} for r in runs], [r.name for r in runs])
    shared = shared_tasks(runs, names, task)
    tasks = _adjusted([_compare_task(runs, names, name, accounting, seed) for name in shared])
    found = [t.comparison for t in tasks if t.comparison is not None]
    notices = tuple(notices_of(runs, names, shared))
    return RunsComparison(tuple(names), tuple(str(r.path) for r in runs), notices, tasks, found[0].tests if found else 0)


def _compare_task(runs: Sequence[StoredRun], names: Sequence[str], task: str, accounting: str, seed: int) -> TaskComparison:
    records = [next(t for t in run.tasks if t.name == task) for run in runs]
    check_comparable(names, task_facts(records))
    kept = [i for i in range(1, len(runs)) if not _same_classifier(runs[0], runs[i])]
    not_applicable = {names[i]: CLASSIFIER for i in range(1, len(runs)) if i not in kept}
    if not kept:
        return TaskComparison(task, None, not_applicable)
    judged = [records[0].judgements(), *(records[i].judgements() for i in kept)]
    shown = [names[0], *(names[i] for i in kept)]
    found = compare(judged[0], judged[1:], shown, accounting=accounting, seed=seed)
    seen = {id_ for one in judged for id_, known in zip(one.ids, one.seen.tolist(), strict=True) if known}
    untold = any(_is_untold(runs[i], task) for i in (0, *kept))
    clean = [one.take([i for i, id_ in enumerate(one.ids) if id_ not in seen]) for one in judged] if seen and not untold else []
    shared = bool(clean) and all(set(clean[0].ids).intersection(one.ids) for one in clean[1:])
    beside = compare(clean[0], clean[1:], shown, accounting=accounting, seed=seed) if shared else None
    return TaskComparison(task, found, not_applicable, len(seen), beside, untold)


def _is_untold(run: StoredRun, task: str) -> bool:
    return is_untold(contacts_of((head_of(run).get("configs") or {}).get(task) or {}))


def _same_classifier(reference: StoredRun, other: StoredRun) -> bool:
    one, two = (r.record["record"]["model"] for r in (reference, other))
    return bool(one.get("classifies") and two.get("classifies") and one.get("identity") == two.get("identity"))


def _adjusted(tasks: Sequence[TaskComparison]) -> tuple[TaskComparison, ...]:
    """Adjusted p-values over the tests of all tasks, for a reader looks at all of them."""
    differences = [d for t in tasks if t.comparison for p in t.comparison.pairs for d in p.differences]
    tested = [d.p_value for d in differences if d.p_value is not None]
    given = iter(holm(tested))
    out = []
    for one in tasks:
        if one.comparison is None:
            out.append(one)
            continue
        pairs = tuple(
            replace(p, differences=tuple(d if d.p_value is None else replace(d, p_adjusted=next(given)) for d in p.differences))
            for p in one.comparison.pairs
        )
        out.append(replace(one, comparison=replace(one.comparison, pairs=pairs, tests=len(tested))))
    return tuple(out)
