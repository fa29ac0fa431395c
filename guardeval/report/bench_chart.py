"""A benchmark as one picture: latency by concurrency and by length, throughput by batch size or by concurrency."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from guardeval.benchmarking.cells import Cell, Kind
from guardeval.benchmarking.figures import Figures, figures_of
from guardeval.benchmarking.rounds import Bench, Measured
from guardeval.report.canvas import LINES, MARKERS, MUTED, PANEL, SERIES, drawing, logarithmic, name_text, svg
from guardeval.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bench_chart"]

_MOST = len(SERIES)  # models that a chart tells apart


def bench_chart(found: Bench, *, standalone: bool = False) -> str:
    """One ``<svg>`` of at most eight models: p50 with its interval, p95 as an open marker, the limit a dashed line."""
    shown = found.models[:_MOST]
    batches = any(m.cells(Kind.BATCH) for m in shown)
    with drawing(1080, 360, columns=3) as (figure, (left, middle, right)):
        said = _latencies(left, found, shown, Kind.CONCURRENCY, "queries at once", "latency by concurrency")
        said += _latencies(middle, found, shown, Kind.LENGTH, "length of the text, tokens of 4 characters", "latency by length")
        kind, what = (Kind.BATCH, "prompts a call") if batches else (Kind.CONCURRENCY, "queries at once")
        said += _rates(right, found, shown, kind, what)
        left_out = found.models[_MOST:]
        if left_out:
            said.append(f"not drawn: {', '.join(name_text(m.name) for m in left_out)}")
        return svg(figure, "latency and throughput", "; ".join(said), standalone=standalone)


def _points(found: Bench, m: Measured, kind: Kind) -> list[tuple[Cell, Figures]]:
    limits = found.settings.limit_ms, found.settings.accuracy_floor
    return [(cell, figures_of(m, cell, *limits)) for cell in m.cells(kind)]


def _latencies(axes: Axes, found: Bench, shown: Sequence[Measured], kind: Kind, x: str, title: str) -> list[str]:
    said = []
    for i, m in enumerate(shown):
        points = _points(found, m, kind)
        middle = [(c.size, f.latency["p50"]) for c, f in points if _drawn(f.latency["p50"])]
        far = [(c.size, f.latency["p95"].value) for c, f in points if _drawn(f.latency["p95"])]
        _series(axes, middle, i, m.name)
        axes.plot(
            [s for s, _ in far], [v for _, v in far], MARKERS[i], color=SERIES[i], markerfacecolor=PANEL, markersize=5,
            linestyle="none",
        )  # fmt: skip
        said += [f"{name_text(m.name)}, {c}: p50 {_ms(f.latency['p50'])}, p95 {_ms(f.latency['p95'])}" for c, f in points]
    if said:
        axes.axhline(found.settings.limit_ms, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
    _finish(axes, x, "ms a query (filled: p50, open: p95)", title, _sizes(shown, kind))
    return said


def _rates(axes: Axes, found: Bench, shown: Sequence[Measured], kind: Kind, x: str) -> list[str]:
    said = []
    for i, m in enumerate(shown):
        points = _points(found, m, kind)
        _series(axes, [(c.size, f.queries) for c, f in points if _drawn(f.queries)], i, m.name)
        said += [f"{name_text(m.name)}, {c}: {f.queries.value:.4g} queries a second" for c, f in points if _drawn(f.queries)]
    _finish(axes, x, "queries a second", "throughput", _sizes(shown, kind))
    return said


def _series(axes: Axes, points: Sequence[tuple[int, Estimate]], i: int, name: str) -> None:
    style: dict[str, Any] = {"color": SERIES[i], "linestyle": LINES[i], "marker": MARKERS[i], "markersize": 6}
    axes.plot([x for x, _ in points], [e.value for _, e in points], label=name_text(name, 26), **style)
    for x, e in points:
        if math.isfinite(e.low) and math.isfinite(e.high):
            axes.plot([x, x], [e.low, e.high], color=SERIES[i], linewidth=1.2, alpha=0.6)


def _sizes(shown: Sequence[Measured], kind: Kind) -> list[int]:
    return [cell.size for m in shown for cell in m.cells(kind)]


def _drawn(value: Estimate) -> bool:
    return math.isfinite(value.value)


def _ms(value: Estimate) -> str:
    return f"{value.value:.4g} ms" if _drawn(value) else "n/a"


def _finish(axes: Axes, x: str, y: str, title: str, sizes: Iterable[int]) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontweight="bold")
    ticks = sorted(set(sizes))
    if not ticks:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", color=MUTED, transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.grid()
    if ticks[-1] > 8 * ticks[0]:
        logarithmic(axes)
    axes.set_xticks(ticks, [f"{s:g}" for s in ticks])
    heights = [v for line in axes.get_lines() for v in np.asarray(line.get_ydata(), float).tolist() if v > 0]
    if heights and max(heights) > 20 * min(heights):
        _logarithmic_heights(axes)
    else:
        axes.set_ylim(bottom=0)
    axes.legend(loc="best")


def _logarithmic_heights(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
