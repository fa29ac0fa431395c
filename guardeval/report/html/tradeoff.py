"""Quality against time and against money, by task: which systems nothing else beats in both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from guardeval.report.charts import pareto_chart
from guardeval.report.html.material import Material

__all__ = ["on_front", "tradeoff_charts"]

_COSTS = (("latency_p50", "median seconds a sample"), ("cost_per_1000", "US dollars for 1,000 samples"))


def tradeoff_charts(material: Material) -> Iterator[tuple[str, str]]:
    """Picture and caption for every task and cost for which two systems or more have both numbers."""
    for task in material.tasks:
        for measure, label in _COSTS:
            points = []
            for part in material.of(task):
                metrics = material.results[part.run]["results"][task]
                points.append((part.name, _number(metrics.get(f"{measure},none")), _number(metrics.get("f1,strict"))))
            if sum(math.isfinite(x) and math.isfinite(y) for _, x, y in points) >= 2:
                front = on_front([(x, y) for _, x, y in points])
                svg = pareto_chart([(*p, on) for p, on in zip(points, front, strict=True)], label, "F1 (strict)")
                yield svg, f"{task}: F1 against {label}."


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Cost and quality → is there no point that is as cheap and as good, and better in one? Undefined points never are."""
    known = [p for p in points if all(map(math.isfinite, p))]

    def beaten(x: float, y: float) -> bool:
        return any(a <= x and b >= y and (a < x or b > y) for a, b in known)

    return [math.isfinite(x) and math.isfinite(y) and not beaten(x, y) for x, y in points]
