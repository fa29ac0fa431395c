"""The check of an optimised model as a table: before, after, and what changed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from guardeval.compare import Difference
from guardeval.optimizing_check import Check
from guardeval.report.tables import Table, number
from guardeval.stats import Estimate

__all__ = ["check_table", "flips_table"]


def check_table(check: Check) -> Table:
    """Quality, size and speed of both side by side; numbers with their 95 % intervals."""
    notes = (
        check.verdict,
        f"verdicts that changed: {sum(f.n for f in check.flips)} of {check.pair.n}; McNemar's exact test of right and wrong: "
        f"p = {_p(check.accuracy.p_value)}",
        f"ms per query and tokens/s: one query at a time, {check.before.ms_p50.n} queries; before on {check.before.runs_on}, "
        f"after on {check.after.runs_on}",
        "differences: paired bootstrap; quality: strict, no verdict counts as wrong",
    )
    return Table("before and after", ("", check.before.name, check.after.name, "change"), tuple(_rows(check)), notes)


def _rows(check: Check) -> Iterator[tuple[str, ...]]:
    before, after = check.before, check.after
    for difference in check.pair.differences:
        yield _quality(difference)
    yield ("parse rate", _estimate(before.parsed, 3), _estimate(after.parsed, 3), "")
    yield ("weights, bytes", _bytes(before.weights), _bytes(after.weights), _times(before.weights, after.weights))
    for name in ("ms_p50", "ms_p95", "tokens_per_second"):
        one, two = getattr(before, name), getattr(after, name)
        title = {"ms_p50": "ms per query, p50", "ms_p95": "ms per query, p95", "tokens_per_second": "tokens/s"}[name]
        yield (title, _estimate(one, 1), _estimate(two, 1), _times(one.value, two.value))
    one, two = before.batched_tokens_per_second, after.batched_tokens_per_second
    yield ("tokens/s, batched", number(one, 0), number(two, 0), _times(one, two))


def _quality(d: Difference) -> tuple[str, str, str, str]:
    change = f"{number(d.difference, 3, '+')} [{number(d.low, 3, '+')}, {number(d.high, 3, '+')}]"
    return (f"{d.metric} (n={d.n})", _with(d.reference, d.reference_ci), _with(d.other, d.other_ci), change)


def _with(value: float, interval: tuple[float, float], digits: int = 3) -> str:
    if math.isnan(value):
        return "n/a"
    return f"{number(value, digits)} [{number(interval[0], digits)}, {number(interval[1], digits)}]"


def _estimate(found: Estimate, digits: int) -> str:
    return _with(found.value, (found.low, found.high), digits)


def _bytes(size: int | None) -> str:
    return "n/a" if size is None else f"{size:,}"


def _times(before: float | None, after: float | None) -> str:
    known = before is not None and after is not None and before > 0 and after == after
    return f"× {after / before:.2f}" if known and before and after is not None else "n/a"


def _p(value: float | None) -> str:
    return "n/a" if value is None or math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def flips_table(check: Check) -> Table | None:
    """Samples whose verdict changed, by label; None where there is none."""
    if not check.flips:
        return None
    rows = tuple((f.gold, f.before, f.after, str(f.n), ", ".join(f.ids[:5]) + (", …" if f.n > 5 else "")) for f in check.flips)
    return Table("verdicts that changed", ("label", "before", "after", "n", "samples"), rows)
