"""A finished run scored again: scoring is separate from asking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guardeval.contamination import contacts_of, is_untold
from guardeval.registry import Registry, build
from guardeval.results import assemble_results, groups_of
from guardeval.run_facts import head_of
from guardeval.runs import open_run, results_json, write_atomically
from guardeval.scoring import checked_scorer, score_task

__all__ = ["rescore"]


def rescore(
    folder: Path | str, scorers: Sequence[str] | None = None, *, append: bool = False, registry: Registry | None = None
) -> dict[str, Any]:
    """Score ``folder`` with ``scorers`` (None: those it was scored with), rewrite its results file, return its content.

    ``append`` keeps metrics that the new scorers do not give.
    """
    registry = registry or Registry()
    recorded = registry.for_files()
    trusted = recorded if scorers is None else registry
    run = open_run(folder)
    old = run.results() if append else {}
    metrics: dict[str, Any] = {}
    better: dict[str, dict[str, bool]] = {}
    for task in run.tasks:
        options = task.about.get("scorers") or {}
        chosen = {n: trusted.load("scorers", n) for n in (scorers if scorers is not None else options)}
        built = {n: checked_scorer(build(cls, options.get(n) or {}, f"scorer {n!r}", recorded), n) for n, cls in chosen.items()}
        contacts = contacts_of((head_of(run).get("configs") or {}).get(task.name) or {})
        values, direction = score_task(task.judgements(), built, is_untold(contacts))
        before = old.get("results", {}).get(task.name, {})
        if "contamination" in before and "contamination" in values:
            kept = before["contamination"]["clean"]
            values["contamination"] = {**values["contamination"], "clean": {**kept, **values["contamination"]["clean"]}}
        named = {"name": task.name, "alias": task.about["title"], "target": str(task.target)}
        metrics[task.name] = {**named, **before, **values}
        better[task.name] = {**old.get("higher_is_better", {}).get(task.name, {}), **direction}
    results = assemble_results(run.record["record"]["head"], groups_of(run), metrics, better)
    write_atomically(run.results_path, results_json(results))
    return results
