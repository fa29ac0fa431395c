"""Findings as a table of text, the same for terminal, Markdown and pytest."""

from __future__ import annotations

import math
from collections.abc import Sequence

from guardeval.gates.findings import Finding, Kind, Status
from guardeval.report.tables import Table

__all__ = ["amount", "findings_table", "limit_text"]

_COLUMNS = (
    "check", "status", "baseline", "current", "difference [95 %]", "p", "adjusted p", "allowed", "finds losses from", "n",
)  # fmt: skip
_OPTIONAL = {"difference [95 %]", "p", "adjusted p", "finds losses from", "n"}  # left out where no finding has one


def findings_table(findings: Sequence[Finding], title: str = "") -> Table:
    """One row a finding, in the order given; columns that nothing stands in are left out."""
    rows = [_row(f) for f in findings]
    shown = [i for i, name in enumerate(_COLUMNS) if name not in _OPTIONAL or any(r[i] for r in rows)]
    return Table(title, tuple(_COLUMNS[i] for i in shown), tuple(tuple(r[i] for i in shown) for r in rows))


def _row(f: Finding) -> tuple[str, ...]:
    status = "FAILED" if f.status is Status.FAILED else str(f.status)
    values = (amount(f.baseline, f.unit), amount(f.current, f.unit), _difference(f))
    sees = amount(f.detectable, f.unit)
    if not sees and f.kind in (Kind.REGRESSION, Kind.BUDGET) and f.status is not Status.SKIPPED:
        sees = "n/a"
    n = "" if f.n is None else f"{f.n:,}"
    return (f.name, status, *values, _p(f.p), _p(f.adjusted), limit_text(f), sees, n)


def amount(value: float | None, unit: str = "", sign: str = "") -> str:
    """``0.815``, ``1.250 s``, ``0.0210 USD``; ``n/a`` for nan, empty for None."""
    if value is None:
        return ""
    if math.isnan(value):
        return "n/a"
    digits = 4 if unit == "USD" else 3
    text = f"{round(value, digits) + 0.0:{sign}.{digits}f}"  # + 0.0: what rounds to nothing has no sign
    return f"{text} {unit}" if unit else text


def _difference(f: Finding) -> str:
    text = amount(f.difference, f.unit, "+")
    if not text or text == "n/a" or f.interval is None or any(map(math.isnan, f.interval)):
        return text
    low, high = (amount(v, sign="+") for v in f.interval)
    return f"{text} [{low}, {high}]"


def limit_text(f: Finding) -> str:
    """What was allowed: ``0.010 worse``, ``≥ 0.950``, ``≤ 1.200 s``."""
    text = amount(f.limit, f.unit)
    if not text:
        return ""
    if f.kind is Kind.FLOOR:
        return f"≥ {text}"
    return f"≤ {text}" if f.kind is Kind.CEILING else f"{text} worse"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    if math.isnan(value):
        return "n/a"
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
