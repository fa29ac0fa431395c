"""What finished runs share, and the facts that must be equal before their numbers may stand side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guardeval.errors import DataError, did_you_mean
from guardeval.mined_rows import data_text
from guardeval.runs import StoredRun, TaskRecord

__all__ = ["head_of", "notices_of", "shared_tasks", "task_facts"]


def head_of(run: StoredRun) -> Mapping[str, Any]:
    """What scoring does not change, as the results file holds it too."""
    head: Mapping[str, Any] = run.record["record"].get("head") or {}
    return head


def shared_tasks(runs: Sequence[StoredRun], names: Sequence[str], task: str | None) -> list[str]:
    """Tasks that all runs hold, or the one named. Raises :class:`DataError` where there is none."""
    held = [[t.name for t in run.tasks] for run in runs]
    shared = [t for t in held[0] if all(t in h for h in held)]
    if task is not None:
        for name, tasks in zip(names, held, strict=True):
            if task not in tasks:
                raise DataError(f"run {name!r} holds no task {task!r}{did_you_mean(task, tasks)}")
        return [task]
    if not shared:
        listed = "; ".join(f"{n}: {', '.join(h)}" for n, h in zip(names, held, strict=True))
        raise DataError(f"the runs share no task ({listed}): name runs of the same task")
    return shared


def task_facts(records: Sequence[TaskRecord]) -> list[dict[str, Any]]:
    """What must be equal before two numbers may stand side by side; subsets may differ, pairs are what they share."""
    return [
        {"target": r.about["target"], "task version": r.about["version"], "data": data_text(r.about["data"])} for r in records
    ]


def notices_of(runs: Sequence[StoredRun], names: Sequence[str], tasks: Sequence[str]) -> list[str]:
    """Notices of the runs about these tasks, each once; one that not all runs carry says whose it is."""
    found: dict[str, list[str]] = {}
    for run, name in zip(runs, names, strict=True):
        others = tuple(f"{t.name}: " for t in run.tasks if t.name not in tasks)
        for notice in head_of(run).get("notices") or ():
            if not (others and notice.startswith(others)):
                found.setdefault(notice, []).append(name)
    return [n if len(of) == len(runs) else f"({'; '.join(of)}) {n}" for n, of in found.items()]
