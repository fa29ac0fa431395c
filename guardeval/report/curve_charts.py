"""Charts of scores and of time: precision and recall, ROC, reliability, and how many samples took at most how long.

Several systems share a chart; each has a colour, a dash and a marker of its own, and stands in the legend with its figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from guardeval.curves import auroc, average_precision, pr_curve, reliability, roc_curve
from guardeval.report.canvas import GRID, LINES, MARKERS, MUTED, PANEL, SERIES, drawing, logarithmic, name_text, svg
from guardeval.scored import Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_SERIES", "Series", "ranking_chart", "reliability_chart", "time_chart"]

Floats = NDArray[np.float64]
Corner = Literal["lower left", "lower right", "upper left"]
_MOST_POINTS = 240  # of a curve: more than its pixels show
MOST_SERIES = len(SERIES)  # systems that a chart tells apart


class Series(NamedTuple):
    """Scores of one system on labelled samples."""

    name: str
    scored: Scored


def ranking_chart(series: Sequence[Series], *, standalone: bool = False) -> str:
    """Precision against recall and recall against over-flagging, side by side; at most eight systems."""
    shown = series[:MOST_SERIES]
    with drawing(960, 400, columns=2) as (figure, (left, right)):
        said = []
        for i, (name, scored) in enumerate(shown):
            pos, neg = scored.by_level()
            ap, area = float(average_precision(pos, neg)), float(auroc(pos, neg))
            recall, precision, _ = pr_curve(scored.scores, scored.gold)
            over, found, _ = roc_curve(scored.scores, scored.gold)
            style: dict[str, Any] = {"color": SERIES[i], "linestyle": LINES[i]}
            left.plot(*_thinned(recall, precision), label=f"{name_text(name, 26)}  {ap:.3f}", **style)
            right.plot(*_thinned(over, found), label=f"{name_text(name, 26)}  {area:.3f}", **style)
            said.append(f"{name_text(name)}: average precision {ap:.3f}, area under ROC {area:.3f}, n={len(scored)}")
        right.plot([0, 1], [0, 1], color=GRID, linewidth=1, zorder=0)
        _square(left, "recall", "precision", "precision and recall (AUPRC)", "lower left")
        _square(right, "over-flagging", "recall", "ROC (AUROC)", "lower right")
        return svg(figure, "precision-recall and ROC curves", "; ".join(said), standalone=standalone)


def reliability_chart(series: Sequence[Series], *, standalone: bool = False) -> str:
    """Share of positives found against P(positive) said, in bins of equal mass, with Wilson intervals."""
    with drawing(460, 400) as (figure, (axes,)):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        said = []
        for i, (name, scored) in enumerate(series[:MOST_SERIES]):
            bins = reliability(scored.scores, scored.gold)
            for b in bins:
                axes.plot([b.said, b.said], [b.found.low, b.found.high], color=SERIES[i], linewidth=1.2, alpha=0.55)
            points = [b.said for b in bins], [b.found.value for b in bins]
            axes.plot(
                *points, MARKERS[i], color=SERIES[i], markersize=5.5, markeredgecolor=PANEL, markeredgewidth=0.7,
                linestyle=LINES[i], linewidth=1, label=name_text(name, 26),
            )  # fmt: skip
            said.append(f"{name_text(name)}: " + ", ".join(f"{b.said:.2f} said, {b.found.value:.2f} found" for b in bins))
        _square(axes, "P(positive) said", "share of positives found", "reliability", "upper left")
        return svg(figure, "reliability diagram", "; ".join(said), standalone=standalone)


def time_chart(latencies: Sequence[tuple[str, Floats]], *, standalone: bool = False) -> str:
    """Share of samples answered within a time, seconds, logarithmic where times differ much."""
    with drawing(460, 400) as (figure, (axes,)):
        said = []
        for i, (name, values) in enumerate(latencies[:MOST_SERIES]):
            ordered = np.sort(values)
            share = np.arange(1, len(ordered) + 1) / len(ordered)
            axes.plot(*_thinned(ordered, share), color=SERIES[i], linestyle=LINES[i], label=name_text(name, 26))
            middle, late = np.quantile(ordered, [0.5, 0.95])
            said.append(f"{name_text(name)}: median {middle:.3g} s, 95th percentile {late:.3g} s, n={len(ordered)}")
        every = np.concatenate([v for _, v in latencies]) if latencies else np.zeros(0)
        if len(every) and every.min() > 0 and every.max() / every.min() > 20:
            logarithmic(axes)
        axes.set_ylim(0, 1.02)
        _labels(axes, "seconds a sample", "share answered within", "latency", "lower right")
        return svg(figure, "latency distribution", "; ".join(said), standalone=standalone)


def _thinned(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most so many points of a curve, its ends among them."""
    if len(x) <= _MOST_POINTS:
        return x, y
    at = np.unique(np.linspace(0, len(x) - 1, _MOST_POINTS).round().astype(int))
    return x[at], y[at]


def _square(axes: Axes, x: str, y: str, title: str, place: Corner) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    axes.set_aspect("equal")
    _labels(axes, x, y, title, place)


def _labels(axes: Axes, x: str, y: str, title: str, place: Corner) -> None:
    axes.grid()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.tick_params(axis="both", labelsize=10, length=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place, handlelength=2.6)
