"""Votes and cascades of finished runs as a table, and the fronts of F1 against latency and cost as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from guardeval.grid import System
from guardeval.report.tables import Table, number
from guardeval.runs import results_json, write_atomically

__all__ = ["grid_table", "write_grid"]


def grid_table(task: str, systems: Sequence[System]) -> Table:
    """A row a system, best F1 first."""
    rows = tuple(
        (
            s.name,
            f"{number(s.f1)} [{number(s.f1_ci[0])}, {number(s.f1_ci[1])}]",
            number(s.accuracy),
            number(s.overflagging),
            number(s.asked, 2),
            _amount(s.latency),
            _amount(s.cost),
            " ".join(w for w, on in (("latency", s.on_latency_front), ("cost", s.on_cost_front)) if on),
        )
        for s in systems
    )
    columns = ("system", "f1", "accuracy", "overflagging", "asked", "latency s", "US$ per 1,000", "on the front of")
    notes = (
        f"strict, n={systems[0].n if systems else 0}; asked: members per sample",
        "latency: mean seconds a sample; of members asked at once the slowest counts, of a cascade's stages the sum",
        "the best of many systems looks better here than on other samples: choose on one half, report on the other",
    )
    return Table(f"{task}: votes and cascades", columns, rows, notes)


def _amount(value: float) -> str:
    return "n/a" if value != value else f"{value:.3g}"


def write_grid(task: str, systems: Sequence[System], path: Path) -> list[Path]:
    """As ``.json``, ``.md`` or ``.svg``; of the last, one file a front, of those whose price is known."""
    if path.suffix == ".json":
        write_atomically(path, results_json({"task": task, "systems": [asdict(s) for s in systems]}))
        return [path]
    if path.suffix == ".md":
        from guardeval.report.markdown import markdown_tables

        write_atomically(path, markdown_tables([grid_table(task, systems)]).encode())
        return [path]
    from guardeval.report.charts import pareto_chart

    written = []
    for what, unit in (("latency", "mean seconds a sample"), ("cost", "US$ per 1,000 samples")):
        points = [(s.name, getattr(s, what), s.f1, getattr(s, f"on_{what}_front")) for s in systems]
        known = [p for p in points if p[1] == p[1] and p[2] == p[2]]
        if any(p[1] > 0 for p in known):
            file = path.with_name(f"{path.stem}_{what}{path.suffix}")
            write_atomically(file, pareto_chart(known, unit, "F1 (strict)", standalone=True).encode())
            written.append(file)
    return written
