"""A benchmark as tables of text: latency by concurrency with its line, by length, throughput, first token, memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from guardeval.benchmarking.cells import Kind
from guardeval.benchmarking.figures import Figures, Ratio, figures_of, ratios_of, spread
from guardeval.benchmarking.machine import machine_line
from guardeval.benchmarking.rounds import Bench, Measured
from guardeval.report.tables import Table, number
from guardeval.stats import Estimate

__all__ = ["bench_notices", "bench_tables"]

_LATENCY = ("p50 ms", "p95 ms", "p99 ms")


def bench_notices(found: Bench) -> list[str]:
    """What a reader must know before believing a number."""
    out = [*found.data_notices]
    out += [f"{m.name}: {n}" for m in found.models for n in m.notices]
    out += [f"{m.name}: not measured: {n}" for m in found.models for n in m.left_out]
    if found.status != "complete":
        out.append(f"not complete: {found.status}; the figures are of what was measured until then")
    if found.failed:
        out.append(f"{found.failed} queries were never heard: they count as longer than any answered one, and as wrong")
    return out


def bench_tables(found: Bench) -> list[Table]:
    """All tables, several models beside each other; empty ones left out."""
    tables = [
        _line(found),
        _latency(found, Kind.CONCURRENCY, "latency by concurrency", "at once", _by_concurrency_notes(found)),
        _latency(found, Kind.LENGTH, "latency by length of the judged text, one query at a time", "length", _length_notes()),
        _throughput(found),
        _latency(found, Kind.FIRST_TOKEN, "time to first token", "", _first_token_notes()),
        _ratios(found),
        _memory(found),
        _facts(found),
    ]
    return [t for t in tables if t.rows]


def _rows(found: Bench, kind: Kind, write: Callable[[Measured, Figures], tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    limits = found.settings.limit_ms, found.settings.accuracy_floor
    return tuple(write(m, figures_of(m, cell, *limits)) for m in found.models for cell in m.cells(kind))


def _line(found: Bench) -> Table:
    """Speed and accuracy, never one without the other."""
    limit, floor = f"{found.settings.limit_ms:g}", f"{found.settings.accuracy_floor:g}"

    def row(m: Measured, f: Figures) -> tuple[str, ...]:
        right = f"{_share(f.accuracy)} n={f.accuracy.n}"
        times = (_ms(f.latency["p50"]), _ms(f.latency["p95"]))
        return (m.name, str(f.cell.size), *times, right, str(f.lines["p50"]), str(f.lines["p95"]))

    notes = (
        "inside: the whole interval of the latency lies below the limit and that of the accuracy above the floor; outside: one "
        "lies wholly on the other side; else not decided (more samples, --n, decide more)",
        "accuracy: strict, no verdict is wrong; of the answers that were timed, each sample once",
    )
    columns = ("model", "at once", "p50 ms", "p95 ms", "accuracy", "p50 line", "p95 line")
    return Table(f"under {limit} ms a query at more than {floor} accuracy", columns, _rows(found, Kind.CONCURRENCY, row), notes)


def _latency(found: Bench, kind: Kind, title: str, size: str, notes: tuple[str, ...]) -> Table:
    def row(m: Measured, f: Figures) -> tuple[str, ...]:
        head = (m.name, str(f.cell.size)) if size else (m.name,)
        times = tuple(_ms(value) for value in f.latency.values())
        if kind is Kind.FIRST_TOKEN:
            return (*head, *times, _counted(f), str(f.failed))
        extra = (number(f.tokens_in_mean, 1),) if kind is Kind.LENGTH else (_plain(f.queries), _plain(f.tokens_out))
        return (*head, *times, *extra, _counted(f), str(f.failed))

    by_kind = {Kind.LENGTH: ("tokens read",), Kind.CONCURRENCY: ("queries/s", "tokens written/s")}
    columns = ("model", *((size,) if size else ()), *_LATENCY, *by_kind.get(kind, ()), "n", "failed")
    return Table(title, columns, _rows(found, kind, row), notes)


def _throughput(found: Bench) -> Table:
    def row(m: Measured, f: Figures) -> tuple[str, ...]:
        rates = (_plain(f.queries), _plain(f.tokens_out), _plain(f.tokens_in))
        return (m.name, str(f.cell.size), number(f.calls_mean, 1), *rates, _counted(f), str(f.failed))

    columns = ("model", "batch", "prompts a call", "queries/s", "tokens written/s", "tokens read/s", "n", "failed")
    notes = ("twice as many queries under way as a batch holds; full batches only; n/a: the model counts no tokens",)
    return Table("throughput by batch size", columns, _rows(found, Kind.BATCH, row), notes)


def _ratios(found: Bench) -> Table:
    def row(r: Ratio) -> tuple[str, ...]:
        return (r.model, str(r.cell), _plain(r.p50), _plain(r.p95), _plain(r.queries))

    notes = (
        "latency: paired by sample, bootstrap over samples (those of a batch taken as independent)",
        "queries/s: paired by round, Student's interval over the rounds",
        "above 1: takes longer; answers more a second",
        "n/a: of a batch the time of one query says little, and of a first token the rate",
    )
    columns = ("model", "setting", "p50", "p95", "queries/s")
    return Table(f"ratios to {found.models[0].name}", columns, tuple(row(r) for r in ratios_of(found)), notes)


def _memory(found: Bench) -> Table:
    def row(m: Measured) -> tuple[str, ...]:
        kept = m.memory
        return (
            m.name, _loading(m.loading), _most([k.loading for k in kept]), _most([k.peak for k in kept]),
            _most([k.cuda_peak for k in kept]), _most([m.disk]),
        )  # fmt: skip

    notes = ["loading: median (least to most) of the rounds; the first also imports what the model needs"]
    if any(not m.local for m in found.models):
        notes.append("memory is this process's; of a remote model it says nothing, and loading is the first contact")
    if any(k.since.startswith("the process") for m in found.models for k in m.memory):
        notes.append("peak memory is since the process began: this system does not start the count anew")
    columns = ("model", "loading s", "loading adds MB", "peak memory MB", "peak CUDA MB", "on disk MB")
    return Table("loading and memory", columns, tuple(row(m) for m in found.models if m.loading), tuple(notes))


def _facts(found: Bench) -> Table:
    asked = found.settings
    rows = [
        ("machine", machine_line(found.machine)),
        ("samples", f"{asked.task} ({found.target}), n={found.n}, {found.positive} positive; data: {found.data}"),
        ("asked", f"solver {asked.solver}, policies {asked.policies}" + (
            "" if asked.max_tokens is None else f", at most {asked.max_tokens} tokens an answer")),
        ("measured", f"each setting in {asked.rounds} rounds, in an order of its own each time; {asked.warmup} queries of "
                     "warm-up and one wave of the widest setting before each round; no cache"),
        ("failures", "not asked again, save after a rate limit, whose wait is part of the query's time"),
        *((m.name, where) for m in found.models if (where := _placed(m))),
    ]  # fmt: skip
    return Table("how this was measured", ("", ""), tuple(rows))


def _placed(m: Measured) -> str:
    return ", ".join(f"{k} {m.identity[k]}" for k in ("dtype", "device", "quantization", "threads") if m.identity.get(k))


def _by_concurrency_notes(found: Bench) -> tuple[str, ...]:
    notes = [
        "a query is one sample judged: all its requests, waiting included; intervals are of these samples",
    ]
    if any(m.local for m in found.models):
        notes.append("of a local model, queries that are under way together share a batch, and are worth one in the intervals")
    if not all(m.classifies for m in found.models):
        notes.append("each prompt begins with a number of its own, so that no cache of a server answers for the model")
    return (*notes, "∞: too few queries to bound it from above; never: so many failed")


def _length_notes() -> tuple[str, ...]:
    return (
        "length: tokens of four characters; texts are cut, or lengthened with neutral sentences, to exactly so many characters",
        "tokens read: of the whole prompt, policies included, as the model counts them",
    )


def _first_token_notes() -> tuple[str, ...]:
    return (
        "the time of a sample's first request with its answer limited to one token, one query at a time; nothing is streamed",
    )


# ---- cells ----


def _ms(value: Estimate) -> str:
    if math.isnan(value.value):
        return "n/a"
    middle = "never" if math.isinf(value.value) else _time(value.value)
    return f"{middle} [{_time(value.low)}, {_time(value.high)}]"


def _time(value: float) -> str:
    """Three digits, as many as a clock deserves."""
    if math.isinf(value):
        return "∞"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _share(value: Estimate) -> str:
    return "n/a" if math.isnan(value.value) else f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"


def _plain(value: Estimate) -> str:
    """A rate or a ratio to three digits; without an interval where one round gives none."""
    if math.isnan(value.value):
        return "n/a"
    return _digits(value.value) + ("" if math.isnan(value.low) else f" [{_digits(value.low)}, {_digits(value.high)}]")


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _counted(f: Figures) -> str:
    return f"{f.asked}" if f.rounds <= 1 else f"{f.asked} ({f.rounds} × {f.asked // f.rounds})"


def _loading(seconds: Sequence[float]) -> str:
    middle, least, most = spread(seconds)
    return f"{middle:.3g} ({least:.3g} to {most:.3g}) n={len(seconds)}"


def _most(values: Sequence[int | None]) -> str:
    """Megabytes (10⁶ bytes), the most of what is known."""
    known = [v for v in values if v is not None]
    return f"{max(known) / 1e6:,.1f}" if known else "n/a"
