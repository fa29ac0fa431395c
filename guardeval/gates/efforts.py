"""Latency and cost of a task's samples, as far as this run measured them itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from guardeval.stats import quantile

if TYPE_CHECKING:
    from guardeval.gates.candidate import TaskSide

__all__ = ["EFFORTS", "Efforts", "efforts_of"]

_LEAST = 20  # fresh answers that a quantile needs, of a task with as many
EFFORTS = ("latency_p50", "latency_p95", "latency_p99", "cost_per_1000")


@dataclass(frozen=True, slots=True)
class Efforts:
    """Seconds and US dollars, nan where not known. Latency is of the ``timed`` samples that this run asked itself: a stored
    answer tells the time of another day and machine. ``priced``: samples behind the cost, stored answers too."""

    latency_p50: float = math.nan
    latency_p95: float = math.nan
    latency_p99: float = math.nan
    cost_per_1000: float = math.nan
    timed: int = 0
    priced: int = 0
    samples: int = 0

    def why_not(self, metric: str, whose: str) -> str:
        """Why a ceiling on it cannot be held; empty where it can."""
        if not metric.startswith("latency"):
            return "" if self.priced else f"no cost is known {whose}: the backend reports no tokens, or there is no price"
        if self.timed >= min(_LEAST, self.samples) and self.timed:
            return ""
        return f"{self.timed} of {self.samples} answers {whose} were timed by it; the others are stored, or came without"

    def as_dict(self) -> dict[str, Any]:
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Efforts:
        known: dict[str, Any] = {f.name: values[f.name] for f in fields(cls)}
        for name, value in known.items():
            known[name] = (math.nan if value is None else float(value)) if name in EFFORTS else int(value)
            if math.isinf(known[name]):
                raise ValueError(f"{name} is {value!r}")
        return cls(**known)


def efforts_of(side: TaskSide) -> Efforts:
    """Of all samples, labelled or not."""
    judged = side.judged
    recorded = (side.run.record["record"]["model"].get("identity") or {}).get("backend") == "replay"
    fresh = ~np.isnan(judged.latency) & (judged.cached == 0) & (not recorded)
    p50, p95, p99 = (quantile(judged.latency[fresh], q).value for q in (0.5, 0.95, 0.99))
    cost = judged.cost[~np.isnan(judged.cost)]
    per_1000 = 1000 * float(cost.mean()) if len(cost) else math.nan
    return Efforts(p50, p95, p99, per_1000, int(fresh.sum()), len(cost), len(judged))
