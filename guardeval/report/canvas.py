"""Figures drawn with matplotlib, written as SVG that takes its colours from the page: one picture for both themes and paper.

Shapes are drawn in stand-in colours, which become CSS variables (``var(--series-1)``) in a page and plain colours in a file
of its own. Text stays text in the reader's own font, and the same figure gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from guardeval.errors import needs_extra
from guardeval.report.plain import clipped, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["GRID", "INK", "LINES", "MARKERS", "MUTED", "PANEL", "SERIES", "drawing", "logarithmic", "name_text", "svg"]

# colours of a file of its own; pages give both themes theirs under the same names. Series: Okabe & Ito (2008), the yellow
# replaced, for it does not show on white
_COLOURS = {
    "ink": "#1d2430", "muted": "#5b6675", "rule": "#d5dae1", "panel": "#ffffff",
    "series-1": "#0072b2", "series-2": "#d55e00", "series-3": "#009e73", "series-4": "#b2568d",
    "series-5": "#b57a00", "series-6": "#2f8fc4", "series-7": "#6b6b6b", "series-8": "#7a4b1f",
}  # fmt: skip
_STAND_IN = {name: f"#0a0b{code:02x}" for code, name in enumerate(_COLOURS, 16)}
_NAME = {stand_in: name for name, stand_in in _STAND_IN.items()}
INK, MUTED, GRID, PANEL = (_STAND_IN[n] for n in ("ink", "muted", "rule", "panel"))
SERIES = tuple(v for k, v in _STAND_IN.items() if k.startswith("series"))
# beside the colour, for eyes and printers that see none
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)), (0, (1, 1)), (0, (4, 1, 1, 1, 1, 1)), (0, (3, 3)))

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "font.family": "sans-serif", "font.size": 11.0,
    "axes.edgecolor": GRID, "axes.labelcolor": MUTED, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": False, "axes.titlesize": 12.0, "axes.titlecolor": INK, "text.color": INK, "grid.color": GRID,
    "grid.linewidth": 0.8, "xtick.color": GRID, "ytick.color": GRID, "xtick.labelcolor": MUTED, "ytick.labelcolor": INK,
    "xtick.labelsize": 10.0, "ytick.labelsize": 11.0, "legend.frameon": False, "legend.fontsize": 10.0,
    "lines.linewidth": 1.8, "axes.axisbelow": True, "axes.unicode_minus": False,
}  # fmt: skip
_MOST_NAME = 38  # characters of a name that a chart has room for


def name_text(name: str, most: int = _MOST_NAME) -> str:
    """A name from anywhere as a chart shows it: one line, no control characters, not longer than there is room."""
    return clipped(printable(name), most)


@contextmanager
def drawing(width: float, height: float, columns: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of ``width`` × ``height`` CSS pixels with its axes, and the settings to draw and write it in."""
    with needs_extra("report"):
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": "guardeval"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)  # the reader's font has it
        figure = Figure(figsize=(width / 72, height / 72), facecolor="none", layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, [figure.add_subplot(1, columns, i + 1, facecolor="none") for i in range(columns)]


def logarithmic(axes: Axes) -> None:
    """A logarithmic x axis with plain numbers: powers of ten, and 2 and 5 between them where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 1000 * low else (1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def svg(figure: Figure, title: str, description: str, *, standalone: bool = False) -> str:
    """The figure as one ``<svg>`` element, or as a file of its own with a background. Call it inside :func:`drawing`."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    body = re.search(r"<svg[^>]*viewBox=\"0 0 ([\d.]+) ([\d.]+)\"[^>]*>(.*)</svg>", out.getvalue(), re.DOTALL)
    assert body is not None  # noqa: S101  # matplotlib writes one
    width, height, inner = float(body[1]), float(body[2]), _plain(body[3])
    background = f'<rect width="{width:g}" height="{height:g}" fill="{_COLOURS["panel"]}"/>' if standalone else ""
    shape = f'width="{width:g}" height="{height:g}"' if standalone else f'style="max-width:{width:g}px"'
    head = (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="{_FONT}" {shape}>'
    )
    words = f"<title>{escape(printable(title))}</title><desc>{escape(printable(description))}</desc>"
    text = f"{head}{words}{background}{_coloured(inner, standalone)}</svg>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n' if standalone else text


def _plain(inner: str) -> str:
    """Without what would reach beyond the picture: style sheets, metadata, names that other pictures have."""
    inner = re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.DOTALL)
    inner = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", inner, flags=re.DOTALL)
    inner = re.sub(r"<!--.*?-->", "", inner, flags=re.DOTALL)
    inner = re.sub(r'<g id="[^"<>]*"', "<g", inner)
    own = hashlib.blake2b(inner.encode("utf-8", "replace"), digest_size=4).hexdigest()
    inner = re.sub(r'(?<= id=")(?=[mpChi][\w]*")|(?<=xlink:href="#)|(?<=url\(#)', f"c{own}-", inner)
    inner = re.sub(r" font-family: [^;\"]*;", "", inner)
    inner = re.sub(r"font: (?:\d+ )?([\d.]+px) [^;\"]*;", r"font-size: \1;", inner)  # older matplotlib's way
    inner = re.sub(r'<path d="[^"]*" style="fill: none"/>', "", inner)
    return re.sub(r">\s+<", "><", inner).strip()


def _coloured(inner: str, standalone: bool) -> str:
    """Stand-in colours, as they occur in style attributes, by what they stand for."""

    def one(match: re.Match[str]) -> str:
        name = _NAME.get(match[0])
        return match[0] if name is None else _COLOURS[name] if standalone else f"var(--{name})"

    return re.sub(r'style="[^"<>]*"', lambda style: re.sub(r"#0a0b[0-9a-f]{2}", one, style[0]), inner)
