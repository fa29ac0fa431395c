"""The unified evaluation as tables: a target each, benchmarks with intervals, averages beside the published ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from guardeval.programme.unified import GroupResult, Unified
from guardeval.report.tables import Table, number

__all__ = ["as_dict", "unified_tables"]


def unified_tables(found: Unified, size: str | None = None) -> list[Table]:
    """One table a target; ``size``: only that published column, and the difference from it under the first accounting."""
    sizes = found.published.sizes if size is None else (size,)
    tables = [_target(found, group, sizes, size) for group in found.groups]
    whole = _whole(found, sizes)
    return [*tables, *([whole] if whole else [])]


def _columns(found: Unified, sizes: Sequence[str], size: str | None) -> tuple[str, ...]:
    published = tuple(f"published {s}" for s in sizes)
    return (
        "benchmark", "n", "published n", *(f"F1 {a}" for a in found.accountings), "coverage", *published,
        *((f"{found.accountings[0]} - published",) if size else ()),
    )  # fmt: skip


def _target(found: Unified, group: GroupResult, sizes: Sequence[str], size: str | None) -> Table:
    rows = []
    for benchmark in group.published.benchmarks:
        metrics = group.results.get(benchmark.task)
        published = tuple(number(benchmark.f1[s], 4) for s in sizes)
        if metrics is None:
            blank = ("missing", *("",) * (len(found.accountings)))
            rows.append((benchmark.task, "", str(group.sizes[benchmark.task]), *blank, *published, *(("",) if size else ())))
            continue
        scores = tuple(_f1(metrics, a) for a in found.accountings)
        apart = (_apart(metrics, found, benchmark.f1[size]),) if size else ()
        counts = (str(metrics["sample_len"]), str(group.sizes[benchmark.task]))
        rows.append((benchmark.task, *counts, *scores, number(metrics["coverage"]), *published, *apart))
    rows.append(_average(found, group, sizes, size))
    if group.missing:
        everything = tuple(number(group.published.average[s], 4) for s in sizes)
        gap = ("", "", *("",) * len(found.accountings), "")
        rows.append(("published, of all", *gap, *everything, *(("",) if size else ())))
    title = f"{group.published.name} ({group.published.table} of {found.published.source})"
    return Table(title, _columns(found, sizes, size), tuple(rows), _notes(group))


def _f1(metrics: Any, accounting: str) -> str:
    """With four digits, as published ones have."""
    value = metrics.get(f"f1,{accounting}")
    low, high = metrics.get(f"f1_ci,{accounting}") or (math.nan, math.nan)
    interval = "" if low != low else f" [{number(low)}, {number(high)}]"
    return f"{number(value, 4)}{interval}"


def _average(found: Unified, group: GroupResult, sizes: Sequence[str], size: str | None) -> tuple[str, ...]:
    there = len(group.results)
    name = "weighted average" if not group.missing else f"weighted average of the {there} at hand"
    scores = tuple(_f1(group.average, a) for a in found.accountings)
    published = tuple(number(group.published_average(s), 4) for s in sizes)
    apart = (_apart(group.average, found, group.published_average(size)),) if size else ()
    n = str(sum(m["sample_len"] for m in group.results.values()))
    return (name, n, str(sum(group.sizes[t] for t in group.results)), *scores, "", *published, *apart)


def _apart(metrics: Any, found: Unified, published: float) -> str:
    value = metrics.get(f"f1,{found.accountings[0]}")
    return number(value - published, 4, "+") if isinstance(value, float) else "n/a"


def _notes(group: GroupResult) -> tuple[str, ...]:
    notes = ["paper weighs by the published sizes, the other accountings by the rows at hand"]
    if group.missing:
        notes.append("a missing benchmark is in no average; published averages stand beside over the same benchmarks")
    return (*notes, *(f"missing: {task}: {why}" for task, why in group.missing.items()))


def _whole(found: Unified, sizes: Sequence[str]) -> Table | None:
    """The mean of the three averages, where all three have one."""
    if not all(g.results for g in found.groups):
        return None
    rows = [(a, _mean_of_three(found, a), *(number(_published_mean(found, s), 4) for s in sizes)) for a in found.accountings]
    notes = () if found.complete else (f"published: over the benchmarks at hand; {_printed(found, sizes)} over all",)
    columns = ("accounting", "F1", *(f"published {s}" for s in sizes))
    return Table("average of the three targets", columns, tuple(rows), notes)


def _published_mean(found: Unified, size: str) -> float:
    """As printed where all benchmarks are at hand, else of the targets' averages over those that are."""
    if found.complete:
        return found.published.average[size]
    return sum(g.published_average(size) for g in found.groups) / len(found.groups)


def _printed(found: Unified, sizes: Sequence[str]) -> str:
    return ", ".join(f"{s} {number(found.published.average[s], 4)}" for s in sizes)


def _mean_of_three(found: Unified, accounting: str) -> str:
    """Targets weigh alike; their intervals are combined as independent (MOVER)."""
    key = f"f1,{accounting}"
    values = [g.average.get(key, math.nan) for g in found.groups]
    intervals = [g.average.get(f"f1_ci,{accounting}") or (math.nan, math.nan) for g in found.groups]
    mean = sum(values) / len(values)
    below, above = (
        math.sqrt(sum((v - i[end]) ** 2 for v, i in zip(values, intervals, strict=True))) / len(values) for end in (0, 1)
    )
    return _f1({key: mean, f"f1_ci,{accounting}": (mean - below, mean + above)}, accounting)


def as_dict(found: Unified) -> dict[str, Any]:
    """JSON-able: metrics as results files have them, averages, what is missing and why."""
    return {
        "model": found.model,
        "solver": found.solver,
        "accountings": list(found.accountings),
        "published_source": found.published.source,
        "complete": found.complete,
        "notices": list(found.notices),
        "groups": {
            g.published.name: {
                "results": dict(g.results),
                "average": dict(g.average),
                "missing": dict(g.missing),
                "published": {b.task: dict(b.f1) for b in g.published.benchmarks},
                "published_average": dict(g.published.average),
                "published_average_of_those_at_hand": {s: g.published_average(s) for s in found.published.sizes},
            }
            for g in found.groups
        },
    }
