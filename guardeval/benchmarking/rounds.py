"""``bench``: rounds over models over settings, each model alone in memory during its turn, everything timed apart.

In every round each model is built anew, loaded (timed apart), warmed up and asked in all settings, these in an order of
their own. So what the machine does beside falls on all of them, and memory is one model's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

from guardeval.benchmarking.askers import Sized
from guardeval.benchmarking.cells import Cell, Kind, cells_of, in_order, models_in_order
from guardeval.benchmarking.machine import machine
from guardeval.benchmarking.measuring import Clock, Question, Reading, measure
from guardeval.benchmarking.memory import Memory, Meter, disk_bytes
from guardeval.benchmarking.settings import CHARACTERS_A_TOKEN, BenchSettings
from guardeval.benchmarking.texts import distinct, numbered, of_length
from guardeval.broker import Bound, Broker, Retries
from guardeval.contracts import BatchModel
from guardeval.data import Sample
from guardeval.errors import ConfigError, DataError, ModelUnusable
from guardeval.models import build_model
from guardeval.panel import is_combining
from guardeval.pipeline import Plan, plan
from guardeval.registry import Registry
from guardeval.run_names import run_names
from guardeval.settings import Settings

__all__ = ["Bench", "Measured", "bench"]

_ONCE = Retries(
    attempts=1, total=60.0
)  # a failure is counted, not asked again until it is a slow answer; a rate limit is waited for
_WARMING = Cell(Kind.CONCURRENCY, 0)


@dataclass
class Measured:
    """One model: what was read of it, by round where there is one value a round."""

    name: str
    notices: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()  # what the model's card says of it, and of how it is asked
    left_out: tuple[str, ...] = ()  # what is not measured, and why
    classifies: bool = False
    local: bool = True
    identity: dict[str, Any] = field(default_factory=dict)
    disk: int | None = None  # bytes of its files
    loading: list[float] = field(default_factory=list)  # seconds
    memory: list[Memory] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)

    def of(self, cell: Cell) -> list[Reading]:
        return [r for r in self.readings if r.cell == cell]

    def cells(self, kind: Kind) -> list[Cell]:
        """Those that were measured, in the order of their sizes."""
        return sorted({r.cell for r in self.readings if r.cell.kind is kind}, key=lambda c: c.size)


@dataclass(frozen=True, slots=True)
class Bench:
    """A finished benchmark. ``status``: ``complete``, ``interrupted``, or why it stopped before its last round."""

    settings: BenchSettings
    models: tuple[Measured, ...]
    data: str  # where the rows are from
    data_notices: tuple[str, ...]
    target: str
    n: int  # samples
    positive: int
    machine: dict[str, Any]
    status: str = "complete"

    @property
    def failed(self) -> int:
        """Queries that were never heard, over everything."""
        return sum(q.failed for m in self.models for r in m.readings for q in r.queries)


def bench(
    settings: BenchSettings,
    registry: Registry | None = None,
    say: Callable[[str], None] = lambda _: None,
    clock: Clock = time.perf_counter,
) -> Bench:
    """Measure every model in every setting; ``say`` hears a line a turn.

    Raises :class:`ConfigError` for what cannot be measured and :class:`ModelUnusable` where a model answers nothing in the
    first round; later it ends the benchmark, and what was measured is kept.
    """
    registry = registry or Registry()
    facts = machine()
    resolved = _resolved(settings, registry)
    samples = _samples(resolved, settings)
    question = Question(resolved.parties[0].solver, resolved.selection.tasks[0].target, resolved.policies, settings.max_tokens)
    names = run_names([party.config() for party in resolved.parties])
    models = [Measured(name, remarks=party.remarks) for name, party in zip(names, resolved.parties, strict=True)]
    status = _rounds(models, _Desk(settings, samples, question, registry, clock), say)
    rows = resolved.rows[resolved.selection.tasks[0].name]
    notice = getattr(rows, "notice", None)
    return Bench(
        settings, tuple(models), rows.source, (notice,) if notice else (), str(question.target), len(samples),
        sum(s.labels.get(question.target) is True for s in samples), facts | machine() | _kept(facts), status,
    )  # fmt: skip


def _rounds(models: Sequence[Measured], desk: _Desk, say: Callable[[str], None]) -> str:
    """Every model in every round: "complete", or why it ended before. Raises where it ends with nothing measured."""
    settings = desk.settings
    try:
        for turn in range(settings.rounds):
            for place in models_in_order(len(models), turn):
                say(f"round {turn + 1} of {settings.rounds}: {models[place].name}")
                asyncio.run(_Visit(models[place], place, turn, desk).run())
    except ModelUnusable as e:
        if not any(r.heard for r in models[place].readings):
            raise
        return f"stopped in round {turn + 1}: {e}"
    except KeyboardInterrupt:
        if not any(m.readings for m in models):
            raise
        return "interrupted"
    return "complete"


def _kept(facts: dict[str, Any]) -> dict[str, Any]:
    """The load as it was before we added to it."""
    return {k: facts[k] for k in ("load_before",) if k in facts}


def _resolved(settings: BenchSettings, registry: Registry) -> Plan:
    """Names resolved; what has no speed of its own refused."""
    if is_combining(registry.build("solvers", settings.solver, settings.solver_args)):
        raise ConfigError(
            f"guardeval bench: --solver {settings.solver} combines models: measure its members with the solver that asks them"
        )
    found = plan(
        Settings(
            task=(settings.task,), solver=settings.solver, solver_args=settings.solver_args, model=settings.model,
            policies=settings.policies, data=settings.data, limit=settings.n, seed=settings.seed,
            include_path=settings.include_path, no_cache=True,
        ),
        registry,
    )  # fmt: skip
    if len(found.selection.tasks) != 1:
        names = ", ".join(found.selection.names)
        raise ConfigError(f"guardeval bench: --task {settings.task} means {names}: name one of them")
    for seat in (seat for party in found.parties for seat in party.seats):
        if not seat.model.traits.timed:
            raise ConfigError(
                f"guardeval bench: --model {seat.spec.name}: its answers are read from a file, and how long that takes says "
                "nothing about a model; name the model itself"
            )
    return found


def _samples(resolved: Plan, settings: BenchSettings) -> Sequence[Sample]:
    name = resolved.selection.tasks[0].name
    samples = distinct(resolved.rows[name], settings.n)
    if not samples:
        raise DataError(f"guardeval bench: {resolved.rows[name].source}: no labelled sample of {name} in it")
    return samples


@dataclass(frozen=True)
class _Desk:
    """What all turns share."""

    settings: BenchSettings
    samples: Sequence[Sample]
    question: Question
    registry: Registry
    clock: Clock
    numbers: Iterator[int] = field(default_factory=lambda: count(1))


@dataclass(frozen=True)
class _Visit:
    """A turn: build, load, warm up, measure every cell, give back."""

    measured: Measured
    place: int  # among the models
    turn: int
    desk: _Desk

    async def run(self) -> None:
        settings, clock = self.desk.settings, self.desk.clock
        spec = settings.model[self.place]
        meter = Meter()
        model = build_model(spec, self.desk.registry)
        most = max(model.traits.connections, *settings.concurrency, 1)
        async with Broker(cache=None, max_connections=most, retries=_ONCE) as broker:
            bound = broker.bind(model, spec.name)
            began = clock()
            await bound.start()
            self.measured.loading.append(clock() - began)
            meter.loaded()
            self._note(model, bound)
            cells, left_out = cells_of(settings, bound.traits, local=self.measured.local, n=len(self.desk.samples))
            self.measured.left_out = tuple(left_out)
            await self._warm_up(bound, cells)
            for cell in in_order(cells, settings.seed, self.turn, self.place):
                self.measured.readings.append(await self._read(cell, bound, broker))
            self.measured.memory.append(meter.read())

    def _note(self, model: Any, bound: Bound) -> None:
        told = self.measured
        told.local = hasattr(type(model), "generate_batch")
        told.classifies, told.notices = bound.traits.classifies, tuple(dict.fromkeys((*bound.traits.notices, *told.remarks)))
        told.identity, told.disk = dict(bound.identity), disk_bytes(model)

    async def _warm_up(self, bound: Bound, cells: Sequence[Cell]) -> None:
        """A few queries one by one, then as many at once as any cell has under way: connections open, kernels load."""
        if not self.desk.settings.warmup:
            return
        for many, workers in ((self.desk.settings.warmup, 1), (widest := max(map(_workers, cells)), widest)):
            asked = [self._fresh(self.desk.samples[i % len(self.desk.samples)], bound) for i in range(many)]
            await measure(_WARMING, self.turn, asked, bound, workers, self.desk.question, self.desk.clock)

    async def _read(self, cell: Cell, bound: Bound, broker: Broker) -> Reading:
        if cell.kind is not Kind.BATCH:
            return await self._measure(cell, self.desk.samples, bound)
        sized = Sized(cast(BatchModel, bound.model), cell.size)
        full = (
            len(self.desk.samples) - len(self.desk.samples) % cell.size
        )  # a last batch that is half empty is none of this size
        reading = await self._measure(cell, self.desk.samples[:full], broker.bind(sized, self.measured.name))
        return Reading(reading.cell, reading.turn, reading.queries, reading.seconds, tuple(sized.calls))

    async def _measure(self, cell: Cell, samples: Sequence[Sample], bound: Bound) -> Reading:
        if cell.kind is Kind.LENGTH:
            characters, target = cell.size * CHARACTERS_A_TOKEN, self.desk.question.target
            samples = [of_length(s, target, characters, i) for i, s in enumerate(samples)]
        asked = [self._fresh(s, bound) for s in samples]
        return await measure(cell, self.turn, asked, bound, _workers(cell), self.desk.question, self.desk.clock)

    def _fresh(self, sample: Sample, bound: Bound) -> Sample:
        """A text that nobody was asked before. What only classifies keeps no cache, and every word weighs: as it is."""
        return sample if bound.traits.classifies else numbered(sample, next(self.desk.numbers))


def _workers(cell: Cell) -> int:
    """Queries under way at once: of a batch cell two batches, one answered while the next is asked."""
    if cell.kind is Kind.CONCURRENCY:
        return max(1, cell.size)
    return 2 * cell.size if cell.kind is Kind.BATCH else 1
