"""Charts of any experiment: values with their intervals, tables of values in colour, what is gained at which cost.

Each returns one ``<svg>`` element for a page, or a whole file where ``standalone`` is set. Undefined reads ``n/a``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from guardeval.report.canvas import GRID, INK, MARKERS, MUTED, PANEL, SERIES, drawing, logarithmic, name_text, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["heat_chart", "interval_chart", "matrix_chart", "pareto_chart"]

_WIDTH = 720.0  # CSS pixels
_ROW = 26.0
_MOST_LABEL = 90  # characters of a label below an axis


def interval_chart(
    rows: Sequence[tuple[str, float, float, float]],
    expected: Sequence[tuple[float, float] | None] | None = None,
    *,
    label: str = "",
    standalone: bool = False,
) -> str:
    """Name, value, low and high a row: a dot with its interval, the numbers beside it, the first row on top.

    ``expected``: by row, the range that was expected, drawn as a grey band behind it; None where nothing was.
    """
    bands = list(expected) if expected is not None else [None] * len(rows)
    if len(bands) != len(rows):
        raise ValueError(f"{len(bands)} expected ranges for {len(rows)} rows")
    with drawing(_WIDTH, _ROW * max(len(rows), 1) + 52) as (figure, (axes,)):
        _limits(axes, [v for _, *values in rows for v in values] + [v for band in bands if band for v in band])
        for y, ((_, value, low, high), band) in enumerate(zip(rows, bands, strict=True)):
            if band is not None:
                axes.barh(y, band[1] - band[0], left=band[0], height=0.62, color=GRID, edgecolor=MUTED, linewidth=0.6)
            if _defined(value):
                if _defined(low) and _defined(high):
                    axes.plot([low, high], [y, y], color=SERIES[0], linewidth=2.2, solid_capstyle="butt")
                axes.plot([value], [y], MARKERS[0], color=SERIES[0], markersize=7, markeredgecolor=PANEL)
        _row_names(axes, [r[0] for r in rows])
        _beside(axes, [_estimate(*r[1:]) for r in rows])
        axes.grid(axis="x")
        axes.set_xlabel(name_text(label, _MOST_LABEL))
        said = "; ".join(f"{name_text(r[0])}: {_estimate(*r[1:])}" for r in rows)
        grey = ". Grey bands: expected" if any(bands) else ""
        return svg(figure, f"{label or 'values'} with intervals", said + grey, standalone=standalone)


def heat_chart(
    rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], *, label: str = "", standalone: bool = False
) -> str:
    """A table of values, the higher the deeper its colour, each written in its cell; nan is a blank that reads ``n/a``."""
    known = [v for row in values for v in row if _defined(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    scale = (min(low, 0.0), 1.0) if low >= 0 and high <= 1 else (low, high)
    return _cells(rows, columns, values, scale, lambda v: f"{v:.3f}", label, standalone)


def matrix_chart(
    rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[float]], *, label: str = "", standalone: bool = False
) -> str:
    """Numbers of samples by row and column, deeper where there are more."""
    most = max((v for row in counts for v in row), default=0.0)
    return _cells(rows, columns, counts, (0.0, max(most, 1.0)), lambda v: f"{v:,.0f}", label, standalone)


def pareto_chart(
    points: Sequence[tuple[str, float, float, bool]], x_label: str, y_label: str, *, standalone: bool = False
) -> str:
    """Name, x, y and whether nothing is better in both. The front is filled and joined, the others are open.

    Points that are undefined in either are named in the picture's description, not drawn.
    """
    drawn = [p for p in points if _defined(p[1]) and _defined(p[2])]
    left_out = [name_text(p[0]) for p in points if p not in drawn]
    with drawing(_WIDTH, 380) as (figure, (axes,)):
        front = sorted((p for p in drawn if p[3]), key=lambda p: (p[1], p[2]))
        xs, ys = [p[1] for p in front], [p[2] for p in front]
        axes.plot(xs, ys, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), drawstyle="steps-post", zorder=1)
        for _, x, y, on_front in drawn:
            fill = SERIES[0] if on_front else PANEL
            axes.plot([x], [y], MARKERS[0], markersize=8, markerfacecolor=fill, markeredgecolor=SERIES[0], zorder=2)
        _log_where_wide(axes, [p[1] for p in drawn])
        axes.margins(0.12, 0.15)
        _label_points(axes, drawn)
        axes.grid()
        axes.set_xlabel(f"{name_text(x_label, _MOST_LABEL)} (filled: on the front, nothing is better in both)")
        axes.set_ylabel(name_text(y_label))
        said = "; ".join(f"{name_text(n)}: {x:.4g}, {y:.3f}{', on the front' if on else ''}" for n, x, y, on in drawn)
        missing = f". Not drawn, for a value is missing: {', '.join(left_out)}" if left_out else ""
        return svg(figure, f"{y_label} against {x_label}", said + missing, standalone=standalone)


# ---- parts ----


def _defined(value: float) -> bool:
    return math.isfinite(value)


def _estimate(value: float, low: float, high: float) -> str:
    if not _defined(value):
        return "n/a"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if _defined(low) and _defined(high) else f"{value:.3f}"


def _limits(axes: Axes, values: Sequence[float]) -> None:
    """Shares on the whole of [0, 1]; others as far as they reach, zero marked where it lies between."""
    known = [v for v in values if _defined(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if low >= 0 and high <= 1:
        axes.set_xlim(0, 1)
        return
    pad = 0.05 * (high - low or 1.0)
    axes.set_xlim(low - pad, high + pad)
    if low < 0 < high:
        axes.axvline(0, color=INK, linewidth=1)


def _row_names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [name_text(n) for n in names])
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _beside(axes: Axes, texts: Sequence[str]) -> None:
    """Texts right of the axes, one a row."""
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(texts)), texts)
    right.tick_params(axis="y", length=0, labelsize=10)
    right.spines["right"].set_visible(False)


def _cells(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    scale: tuple[float, float],
    write: Callable[[float], str],
    label: str,
    standalone: bool,
) -> str:
    """Colour is one hue, thinned: the page's ink reads on all of it, in both themes."""
    if len(values) != len(rows) or any(len(row) != len(columns) for row in values):
        raise ValueError(f"the values are no table of {len(rows)} rows and {len(columns)} columns")
    wide = min(max(110.0, 460.0 / max(len(columns), 1)), 150.0)
    with drawing(170 + wide * max(len(columns), 1), 34 * max(len(rows), 1) + 66) as (figure, (axes,)):
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                depth = (value - scale[0]) / (scale[1] - scale[0]) if _defined(value) and scale[1] > scale[0] else 0.0
                axes.barh(y, 0.96, left=x - 0.48, height=0.92, color=SERIES[0], alpha=0.04 + 0.56 * depth, linewidth=0)
                text = write(value) if _defined(value) else "n/a"
                axes.text(x, y, text, ha="center", va="center", color=INK if _defined(value) else MUTED)
        _row_names(axes, rows)
        axes.set_xlim(-0.5, max(len(columns), 1) - 0.5)
        axes.set_xticks(range(len(columns)), [name_text(c, 20) for c in columns])
        axes.tick_params(axis="x", length=0, labeltop=True, labelbottom=False)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel(name_text(label, _MOST_LABEL))
        said = "; ".join(
            f"{name_text(r)}, {name_text(c)}: {write(v) if _defined(v) else 'n/a'}"
            for r, row in zip(rows, values, strict=True)
            for c, v in zip(columns, row, strict=True)
        )
        return svg(figure, label or "table of values", said, standalone=standalone)


def _log_where_wide(axes: Axes, xs: Sequence[float]) -> None:
    """A logarithmic axis where the largest is more than thirty times the smallest."""
    if xs and min(xs) > 0 and max(xs) / min(xs) > 30:
        logarithmic(axes)


def _label_points(axes: Axes, points: Sequence[tuple[str, float, float, bool]]) -> None:
    """Names beside their points: to the left where the right is near, apart where points are close in height."""
    transform = axes.transData
    placed: list[tuple[float, float]] = []
    axes.autoscale_view()
    width = axes.bbox.width
    for name, x, y, _ in sorted(points, key=lambda p: (-p[2], p[1])):
        px, py = transform.transform((x, y))
        shift = 0.0
        while any(abs(px - qx) < 0.4 * width and abs(py + shift - qy) < 13 for qx, qy in placed):
            shift -= 13
        placed.append((px, py + shift))
        left = px > 0.6 * width
        axes.annotate(
            name_text(name),
            (x, y),
            xytext=(-6 if left else 6, shift + 7),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=10,
            color=INK,
        )
