"""A finished benchmark as figures: one row a cell, ratios to the first model, all JSON-able."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from guardeval.benchmarking.cells import Cell, Kind
from guardeval.benchmarking.estimates import NONE, late, mean_rate, paired_ratio, ratio_over_rounds
from guardeval.benchmarking.line import Line, line_of
from guardeval.benchmarking.measuring import Query, Reading
from guardeval.benchmarking.rounds import Bench, Measured
from guardeval.stats import Estimate, rate

__all__ = ["QUANTILES", "Figures", "Ratio", "as_dict", "figures_of", "ratios_of", "spread"]

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Figures:
    """One cell of one model. Latency is in milliseconds, rates are a second; unknown is nan with n = 0.

    ``accuracy`` is that of the first round, each sample once, no verdict wrong (strict).
    """

    cell: Cell
    latency: dict[str, Estimate]  # by name of QUANTILES
    queries: Estimate  # answered a second
    tokens_in: Estimate
    tokens_out: Estimate
    accuracy: Estimate
    asked: int
    failed: int
    rounds: int
    tokens_in_mean: float  # a query, as the model counts them; nan where it does not
    calls_mean: float  # prompts a call, of cells whose batches were sized
    lines: dict[str, Line]  # p50 and p95 against the limit, where a verdict was asked for


@dataclass(frozen=True, slots=True)
class Ratio:
    """A model beside the first one in the same cell: above 1 it takes longer, or answers more a second."""

    model: str
    cell: Cell
    p50: Estimate
    p95: Estimate
    queries: Estimate


def figures_of(measured: Measured, cell: Cell, limit_ms: float, floor: float) -> Figures:
    """What the rounds of one cell say."""
    readings = measured.of(cell)
    queries = [q for r in readings for q in r.queries]
    heard = [q for q in queries if not q.failed]
    failed = len(queries) - len(heard)
    times = [1000 * q.seconds for q in heard]
    together = cell.size if measured.local and cell.kind in {Kind.CONCURRENCY, Kind.BATCH} else 1  # answered in one batch
    latency = {name: late(times, failed, q, together) for name, q in QUANTILES.items()}
    accuracy = _accuracy(readings)
    judged = cell.kind is Kind.CONCURRENCY
    return Figures(
        cell,
        latency,
        _rate(readings, [float(r.heard) for r in readings]),
        _rate(readings, [_total(r.queries, "tokens_in") for r in readings]),
        _rate(readings, [_total(r.queries, "tokens_out") for r in readings]),
        accuracy,
        len(queries),
        failed,
        len(readings),
        _mean([q.tokens_in for q in heard]),
        _mean([c for r in readings for c in r.calls]),
        {name: line_of(latency[name], accuracy, limit_ms, floor) for name in ("p50", "p95")} if judged else {},
    )


def _rate(readings: Sequence[Reading], counts: Sequence[float | None]) -> Estimate:
    return mean_rate(counts, [r.seconds for r in readings], sum(len(r.queries) for r in readings)) if readings else NONE


def _total(queries: Sequence[Query], name: str) -> float | None:
    """Tokens of the answered queries; None where one of them is not known, and where nothing was answered."""
    found = [getattr(q, name) for q in queries if not q.failed]
    return None if not found or None in found else float(sum(found))


def _mean(values: Sequence[int | None]) -> float:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else math.nan


def _accuracy(readings: Sequence[Reading]) -> Estimate:
    """Of the first round: later ones ask the same samples again."""
    right = [q.right for q in readings[0].queries if q.right is not None] if readings else []
    return rate(sum(right), len(right))


def ratios_of(found: Bench) -> list[Ratio]:
    """Every later model beside the first, cell by cell, on the samples and in the rounds that both have."""
    first, *others = found.models
    out = []
    for other in others:
        for kind in Kind:
            shared = [c for c in first.cells(kind) if c in other.cells(kind)]
            out += [_ratio(other.name, cell, first.of(cell), other.of(cell), found.settings.seed) for cell in shared]
    return out


def _ratio(name: str, cell: Cell, first: Sequence[Reading], second: Sequence[Reading], seed: int) -> Ratio:
    turns = sorted({r.turn for r in first} & {r.turn for r in second})
    a, b = (sorted((r for r in readings if r.turn in turns), key=lambda r: r.turn) for readings in (first, second))
    first_times, second_times = (np.array([_times(r) for r in readings]).T for readings in (a, b))
    first_rates, second_rates = ([r.heard / r.seconds for r in readings] for readings in (a, b))
    n = sum(len(r.queries) for r in a)
    queries = NONE if cell.kind is Kind.FIRST_TOKEN else ratio_over_rounds(first_rates, second_rates, n)
    if cell.kind is Kind.BATCH:  # two batches are under way: most of a query's time is its waiting
        return Ratio(name, cell, NONE, NONE, queries)
    p50, p95 = (paired_ratio(first_times, second_times, q, seed) for q in (0.5, 0.95))
    return Ratio(name, cell, p50, p95, queries)


def _times(reading: Reading) -> list[float]:
    return [math.inf if q.failed else q.seconds for q in reading.queries]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and most; nan where there is nothing."""
    if not values:
        return math.nan, math.nan, math.nan
    return float(np.median(values)), min(values), max(values)


# ---- JSON ----


def as_dict(found: Bench) -> dict[str, Any]:
    """Everything, the single times too. What is unknown or has no bound is null."""
    return {
        "status": found.status,
        "settings": found.settings.to_mapping(),
        "machine": found.machine,
        "data": {"source": found.data, "notices": list(found.data_notices), "target": found.target, "n": found.n,
                 "positive": found.positive},
        "models": [_model(m, found) for m in found.models],
        "ratios_to_first": [
            {"model": r.model, **_cell(r.cell), **_estimates({"p50": r.p50, "p95": r.p95, "queries_per_second": r.queries})}
            for r in ratios_of(found)
        ],
    }  # fmt: skip


def _model(measured: Measured, found: Bench) -> dict[str, Any]:
    limits = found.settings.limit_ms, found.settings.accuracy_floor
    cells = [cell for kind in Kind for cell in measured.cells(kind)]
    return {
        "name": measured.name,
        "identity": measured.identity,
        "notices": list(measured.notices),
        "not_measured": list(measured.left_out),
        "bytes_on_disk": measured.disk,
        "loading_seconds": measured.loading,
        "memory": [asdict(m) for m in measured.memory],
        "cells": [_written(figures_of(measured, cell, *limits), measured.of(cell)) for cell in cells],
    }


def _written(one: Figures, readings: Sequence[Reading]) -> dict[str, Any]:
    return {
        **_cell(one.cell),
        "samples": len(readings[0].queries) if readings else 0,
        "rounds": one.rounds,
        "queries": one.asked,
        "failed": one.failed,
        **_estimates({f"{name}_ms": value for name, value in one.latency.items()}),
        **_estimates(
            {"queries_per_second": one.queries, "tokens_in_per_second": one.tokens_in, "tokens_out_per_second": one.tokens_out}
        ),
        **(_estimates({"accuracy,strict": one.accuracy}) if one.lines else {}),
        **{f"line_{name}": {"verdict": str(line.verdict), "speed": str(line.speed), "accuracy": str(line.accuracy)}
           for name, line in one.lines.items()},
        "tokens_in_mean": _finite(one.tokens_in_mean),
        "prompts_per_call": _finite(one.calls_mean),
        "readings": [
            {"round": r.turn + 1, "seconds": r.seconds, "ms": [None if q.failed else 1000 * q.seconds for q in r.queries]}
            for r in readings
        ],
    }  # fmt: skip


def _cell(cell: Cell) -> dict[str, Any]:
    return {"kind": str(cell.kind), "size": cell.size}


def _estimates(named: dict[str, Estimate]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in named.items():
        metric, comma, accounting = name.partition(",")
        out[name] = _finite(value.value)
        out[f"{metric}_ci{comma}{accounting}"] = [_finite(value.low), _finite(value.high)]
        out[f"{metric}_n{comma}{accounting}"] = value.n
    return out


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
