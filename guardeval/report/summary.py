"""Several tasks or several runs in one table: a row each, so that they can be read beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guardeval.report.tables import CLEAN, Table, cell, number
from guardeval.run_names import run_names

__all__ = ["group_table", "summary_table"]

_METRICS = ("accuracy", "f1", "overflagging", "underflagging")
_CLEAN_METRICS = ("accuracy", "f1")
_GROUP_METRICS = (*_METRICS[:1], "balanced_accuracy", *_METRICS[1:])


def summary_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    """One row a task and run, headline metrics under ``strict``; runs of one task stand below each other.

    Marks that all rows share stand in a note, the others in a column.
    """
    named = list(zip(_names(runs), runs, strict=True))
    rows = [(task, name, r) for task in _tasks(runs) for name, r in named if task in r["results"]]
    marks = [tuple(r["configs"][task].get("marks") or ()) for task, _, r in rows]
    clean = any("contamination" in r["results"][task] for task, _, r in rows)
    shared = [m for m in (marks[0] if marks else ()) if all(m in of for of in marks)]
    own = [", ".join(m for m in of if m not in shared) for of in marks]
    several, marked = len(runs) > 1, any(own)
    cells = tuple(
        (
            task,
            *([name] if several else []),
            *_numbers(r, task),
            *(_clean(r, task) if clean else ()),
            *([mark] if marked else []),
        )
        for (task, name, r), mark in zip(rows, own, strict=True)
    )
    head = ("task", *(["run"] if several else []), "n", "coverage", "accuracy", "majority_rate", *_METRICS[1:])
    head = (*head, *(("n clean", *(f"{m}, {CLEAN}" for m in _CLEAN_METRICS)) if clean else ()))
    notes = (f"all marked: {', '.join(shared)}",) if shared else ()
    return Table("summary (strict)", (*head, *(["marked"] if marked else [])), cells, notes)


def _names(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return run_names([r["config"] for r in runs])


def _tasks(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(task for r in runs for task in r["results"]))


def _numbers(results: Mapping[str, Any], task: str) -> tuple[str, ...]:
    found = results["results"][task]
    accuracy, *others = (cell(found, m, "strict") for m in _METRICS)
    majority = number(found["majority_rate,strict"]) if "majority_rate,strict" in found else ""
    return (str(results["n-samples"][task]["effective"]), number(found["coverage"]), accuracy, majority, *others)


def _clean(results: Mapping[str, Any], task: str) -> tuple[str, ...]:
    """What stands beside the numbers of a contaminated task: of the samples that no model saw."""
    told = results["results"][task].get("contamination")
    if told is None:
        return ("",) * (1 + len(_CLEAN_METRICS))
    return (str(told["clean"]["sample_len"]), *(cell(told["clean"], m, "strict") for m in _CLEAN_METRICS))


def group_table(runs: Sequence[Mapping[str, Any]]) -> Table | None:
    """Averages of groups, within one target, weighted by row counts (``paper`` by published sizes)."""
    several = len(runs) > 1
    rows: list[tuple[str, ...]] = []
    seen: list[str] = []
    for group in dict.fromkeys(g for r in runs for g in r.get("groups", {})):
        for name, results in zip(_names(runs), runs, strict=True):
            metrics = results.get("groups", {}).get(group)
            if metrics is not None:
                shown = [cell(metrics, m, "strict") for m in _GROUP_METRICS]
                rows.append(
                    (group, *((name,) if several else ()), str(metrics["sample_len"]), *shown, cell(metrics, "f1", "paper"))
                )
                if told := metrics.get("contamination"):
                    clean = [cell(told["clean"], m, "strict") for m in _GROUP_METRICS]
                    n, paper = str(told["clean"]["sample_len"]), cell(told["clean"], "f1", "paper")
                    rows.append((f"{group}, {CLEAN}", *((name,) if several else ()), n, *clean, paper))
                    seen += [t for t in told["tasks"] if t not in seen]
    columns = ("group", *(("run",) if several else ()), "n", *_GROUP_METRICS, "f1 (paper)")
    note = "averages within one target, weighted by rows; paper: by the published sizes; undefined where a member is"
    notes = (note, *((f"contaminated: {', '.join(seen)}",) if seen else ()))
    return Table("groups (strict)", columns, tuple(rows), notes) if rows else None
