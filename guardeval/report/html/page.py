"""What a report shows, in which order, as plain data: sections of notices, tables and charts. How it looks is the template's.

Charts never stand alone: what they draw is also in a table beside them or in their own words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guardeval.accounting import cells_of
from guardeval.compare import Pair
from guardeval.report.charts import heat_chart, interval_chart, matrix_chart
from guardeval.report.curve_charts import MOST_SERIES, Series, ranking_chart, reliability_chart, time_chart
from guardeval.report.failures import failure_tables
from guardeval.report.html.changes import GAINED, LOST, MOST_CELLS, Changes
from guardeval.report.html.material import Material, Part
from guardeval.report.html.reviews import PageReviews
from guardeval.report.html.tradeoff import tradeoff_charts
from guardeval.report.summary import group_table, summary_table
from guardeval.report.tables import Table, facts, heading, number, task_tables
from guardeval.scored import Scored

__all__ = ["Block", "Chart", "Notices", "Section", "sections"]

_MOST_ROWS = 40  # of a chart of intervals


@dataclass(frozen=True, slots=True)
class Chart:
    """An ``<svg>`` element of our own making, and what to read in it."""

    svg: str
    caption: str
    kind: str = "chart"


@dataclass(frozen=True, slots=True)
class Notices:
    """What must be known before believing a number."""

    texts: tuple[str, ...]
    kind: str = "notices"


@dataclass(frozen=True, slots=True)
class Facts:
    """One line under a heading."""

    text: str
    kind: str = "facts"


@dataclass(frozen=True, slots=True)
class Shown:
    """A table."""

    table: Table
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Beside:
    """Blocks that stand side by side where there is room."""

    blocks: tuple[Block, ...]
    kind: str = "beside"


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks that are opened by a click, and on paper."""

    title: str
    blocks: tuple[Block, ...]
    kind: str = "folded"


@dataclass(frozen=True, slots=True)
class Link:
    """To the samples of the browser that are behind a number: of one run and task, and of one cell or kind of change."""

    text: str
    run: int
    task: int
    change: str


@dataclass(frozen=True, slots=True)
class Links:
    """What to look at; the page's script sets the filters."""

    about: str
    links: tuple[Link, ...]
    kind: str = "links"


@dataclass(frozen=True, slots=True)
class Together:
    """Blocks that belong below one another."""

    blocks: tuple[Block, ...]
    kind: str = "together"


Block = Together | Links | Chart | Notices | Facts | Folded | Shown | Beside


@dataclass(frozen=True, slots=True)
class Section:
    """``id`` is its anchor, ``short`` its name in the table of contents."""

    id: str
    title: str
    blocks: tuple[Block, ...]
    short: str


def sections(material: Material, changes: Changes, reviews: PageReviews) -> list[Section]:
    """All but the sample browser."""
    out = [_summary(material)]
    out += [_task(material, i, task) for i, task in enumerate(material.tasks, 1)]
    for section in (
        _reviews(material, reviews),
        _comparison(material, changes),
        _generalisation(material),
        _tradeoffs(material),
    ):
        if section is not None:
            out.append(section)
    return out


# ---- summary ----


def _summary(material: Material) -> Section:
    tables: list[Table] = []
    if len(material.parts) > 1:
        tables = [t for t in (summary_table(material.results), group_table(material.results)) if t is not None]
    chart = _headline_chart(material)
    blocks = (Notices(_notices(material)), *map(Shown, tables), *((chart,) if chart else ()))
    return Section("summary", "Summary", blocks, "Summary")


def _notices(material: Material) -> tuple[str, ...]:
    """Each once; one that not all runs carry says whose it is."""
    found: dict[str, list[str]] = {}
    for results, name in zip(material.results, material.names, strict=True):
        for notice in results.get("notices") or ():
            found.setdefault(notice, []).append(name)
    return tuple(n if len(of) == len(material.runs) else f"({'; '.join(of)}) {n}" for n, of in found.items())


def _headline_chart(material: Material) -> Chart | None:
    rows = []
    for part in sorted(material.parts, key=lambda p: material.tasks.index(p.task)):
        metrics = _metrics(material, part)
        words = [part.task] if len(material.runs) == 1 else [part.name] if len(material.tasks) == 1 else [part.task, part.name]
        for metric in ("f1", "accuracy", "overflagging") if len(material.parts) == 1 else ("f1",):
            name = metric if len(material.parts) == 1 else " · ".join(words)
            rows.append((f"{name} (n={_count(metrics, metric)})", *_estimate(metrics, f"{metric},strict")))
    if not any(math.isfinite(r[1]) for r in rows):
        return None
    left_out = f" The first {_MOST_ROWS} of {len(rows)} are drawn." if len(rows) > _MOST_ROWS else ""
    label = "strict accounting" if len(material.parts) == 1 else "F1, strict accounting"
    return Chart(interval_chart(rows[:_MOST_ROWS], label=label), f"With 95 % intervals; a missing verdict is wrong.{left_out}")


def _metrics(material: Material, part: Part) -> Mapping[str, Any]:
    found: Mapping[str, Any] = material.results[part.run]["results"][part.task]
    return found


def _estimate(metrics: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    """Value, low and high; nan where undefined or not reported."""
    name, _, accounting = key.partition(",")
    low, high = metrics.get(f"{name}_ci,{accounting}") or (None, None)
    value, low, high = (math.nan if v is None else float(v) for v in (metrics.get(key), low, high))
    return value, low, high


def _count(metrics: Mapping[str, Any], metric: str) -> str:
    value = metrics.get(f"{metric}_n,strict")
    return f"{value:.0f}" if isinstance(value, (int, float)) else "n/a"


# ---- one task ----


def _task(material: Material, i: int, task: str) -> Section:
    parts = material.of(task)
    curves, runs = tuple(_curves(parts)), [tuple(_run(material, part)) for part in parts]
    if len(parts) == 1:
        blocks = (*runs[0], *curves)
    else:  # what is shared first, then every run by itself
        blocks = (*curves, *(Folded(p.name, inner) for p, inner in zip(parts, runs, strict=True)))
    return Section(f"task-{i}", heading(material.results[parts[0].run], task), blocks, task)


def _run(material: Material, part: Part) -> Iterator[Block]:
    results = material.results[part.run]
    yield Facts(facts(results, part.task))
    tables = [Shown(t) for t in task_tables(results, part.task)]
    yield from tables[:1]
    yield _confusion(part)
    yield from _policy_bars(_metrics(material, part))
    yield from tables[1:]
    yield from _failures(part, material.redacted(part.run))


def _confusion(part: Part) -> Chart:
    counts = cells_of(part.judged.gold, part.judged.label).sum(axis=0)  # tp, fp, fn, tn, missing by gold
    positive, negative = part.judged.target.positive, part.judged.target.negative
    table = [[counts[0], counts[2], counts[4]], [counts[1], counts[3], counts[5]]]
    columns = [f"said {positive}", f"said {negative}", "no verdict"]
    svg = matrix_chart([f"gold {positive}", f"gold {negative}"], columns, table, label="samples")
    return Chart(svg, "Confusion matrix: what the labels say, and what the guard said.")


def _policy_bars(metrics: Mapping[str, Any]) -> Iterator[Chart]:
    names = list(dict.fromkeys(k.partition("/")[0] for k in metrics if "/" in k.partition(",")[0]))
    rows = []
    for name in names:
        positives = number(metrics.get(f"{name}/recall_n,strict"), 0)
        rows.append((f"{name} (n={positives})", *_estimate(metrics, f"{name}/f1,strict")))
    if rows:
        yield Chart(interval_chart(rows, label="F1, one policy against the rest"), "F1 by policy; n counts known positives.")


def _curves(parts: Sequence[Part]) -> Iterator[Block]:
    """Charts that all runs of a task share."""
    scored = [Series(p.name, Scored.of(p.judged)) for p in parts]
    scored = [s for s in scored if len(s.scored)]
    charts = []
    most = f" The first {MOST_SERIES} of {len(parts)} runs are drawn." if len(parts) > MOST_SERIES else ""
    if scored and any(len(set(s.scored.gold.tolist())) == 2 for s in scored):
        yield Chart(ranking_chart(scored), f"Curves of P(positive), over samples with a verdict and a probability.{most}")
    if scored:
        caption = "Bins of equal mass with 95 % intervals; on the dashed line, what is said is what is found."
        charts.append(Chart(reliability_chart(scored), caption + most))
    latencies = [(p.name, p.judged.latency[~np.isnan(p.judged.latency)]) for p in parts]
    latencies = [(name, values) for name, values in latencies if len(values)]
    if latencies:
        charts.append(Chart(time_chart(latencies), f"Time of a sample, summed over its requests, when first asked.{most}"))
    if charts:
        yield Beside(tuple(charts))


def _failures(part: Part, redacted: bool) -> Iterator[Shown]:
    """Examples are what the sample browser is for."""
    tables = failure_tables(part.judged, examples=0, redacted=redacted)
    yield from (Shown(t) for t in tables if t.rows or t.title != "examples")


# ---- several runs ----


def _comparison(material: Material, changes: Changes) -> Section | None:
    if len(material.runs) < 2:
        return None
    found = changes.comparison
    if found is None:
        return Section("comparison", "Comparison", (Notices((f"not compared: {changes.why}",)),), "Comparison")
    from guardeval.report.comparison import comparison_tables

    matrices = tuple(
        Together((_flip_chart(t.task, found.names[0], pair), *_behind(material, changes, found.names.index(pair.name), t.task)))
        for t in found.tasks
        if t.comparison
        for pair in t.comparison.pairs
    )
    blocks = (*map(Shown, comparison_tables(found)), *((Beside(matrices),) if matrices else ()))
    return Section("comparison", f"Comparison with {found.names[0]}", blocks, "Comparison")


def _flip_chart(task: str, reference: str, pair: Pair) -> Chart:
    right_or_wrong = ("right", "wrong")
    counts = [[float(pair.matrix.get(f"{a}→{b}", 0)) for b in right_or_wrong] for a in right_or_wrong]
    svg = matrix_chart([f"before {w}" for w in right_or_wrong], [f"after {w}" for w in right_or_wrong], counts, label="samples")
    return Chart(svg, f"{task}: what changes from {reference} (before) to {pair.name} (after).")


def _behind(material: Material, changes: Changes, run: int, task: str) -> Iterator[Links]:
    """Links to the samples of each changed cell: of the matrix, and of its parts by gold label and verdicts."""
    at = material.tasks.index(task)
    links = []
    for kind, words in ((LOST, "right before, wrong after"), (GAINED, "wrong before, right after")):
        n = sum(changes.cells[i].flip.n for i in changes.numbers(run, task, kind))
        if n:
            links.append(Link(f"{words}: {n:,}", run, at, kind))
    for i in changes.numbers(run, task) if len(changes.cells) <= MOST_CELLS else ():
        flip = changes.cells[i].flip
        links.append(Link(f"gold {flip.gold}, {flip.before} → {flip.after}: {flip.n:,}", run, at, f"c{i}"))
    if links:
        yield Links("Samples that changed", tuple(links))


def _reviews(material: Material, reviews: PageReviews) -> Section | None:
    """What people said; of several runs, whose samples they read."""
    if not reviews.summaries:
        return None
    from guardeval.report.review_tables import review_tables

    blocks: list[Block] = []
    for run, summary in reviews.summaries:
        if len(material.runs) > 1:
            blocks.append(Facts(material.names[run]))
        blocks += map(Shown, review_tables(summary))
    return Section("reviews", "Reviews by people", tuple(blocks), "Reviews")


def _generalisation(material: Material) -> Section | None:
    if len(material.tasks) < 2:
        return None
    values = [[math.nan] * len(material.tasks) for _ in material.names]
    for part in material.parts:
        values[part.run][material.tasks.index(part.task)] = _estimate(_metrics(material, part), "f1,strict")[0]
    chart = heat_chart(material.names, material.tasks, values, label="F1, strict accounting")
    blocks = (Chart(chart, "Intervals and n stand in the summary."),)
    return Section("generalisation", "Benchmarks and systems", blocks, "Benchmarks")


def _tradeoffs(material: Material) -> Section | None:
    charts = tuple(Chart(svg, caption) for svg, caption in tradeoff_charts(material))
    return Section("tradeoffs", "What quality costs", charts, "Cost") if charts else None
