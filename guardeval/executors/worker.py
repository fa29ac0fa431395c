"""What a worker of a cluster does: builds the models of a run from their names, and judges shards of its samples.

What travels to it is what ``run.yaml`` holds, the policies' texts and pickled samples; back come finished lines and columns.
Nothing here knows by what it is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import guardeval
from guardeval.asking import Asking, Heard, ask, few_collections
from guardeval.broker import Broker, Counters
from guardeval.card_defaults import with_card_defaults
from guardeval.contracts import Exchange
from guardeval.data import Judged, Sample, Target
from guardeval.errors import ConfigError, DataError, GuardevalError, ModelError, ModelUnusable, PluginError
from guardeval.executors.desk import Call, SharedAnswers, SharedBudget
from guardeval.judged import Collector, cluster_of
from guardeval.lost_votes import LostVotes
from guardeval.party import Party
from guardeval.policies import PolicySet
from guardeval.registry import Registry
from guardeval.runs import LoggedPart
from guardeval.sample_lines import LineWriter
from guardeval.seating import parties_of
from guardeval.settings import Settings
from guardeval.tally import Tally

__all__ = ["JudgedShard", "Recipe", "Shard", "ShardLog", "Worker", "pack_samples", "said_by"]

_ASK_AGAIN = 0.25  # seconds between two looks whether others have released money


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to ask as its run asks. ``settings`` as ``run.yaml`` has them: files by absolute paths."""

    settings: Mapping[str, Any]
    policies: PolicySet
    registry: Registry
    sharers: int  # workers of the run: each has so much of a model's connections
    answers: Path | None = None  # where the desk keeps them; None: nothing is cached
    max_cost: float | None = None  # what the desk counts down from; None: no limit


@dataclass(frozen=True)
class Shard:
    """A stretch of one task's samples, in source order, pickled (see :func:`pack_samples`)."""

    task: str
    target: Target
    redact: bool


@dataclass(frozen=True)
class JudgedShard:
    """What came of a shard. ``error`` ends the run; ``complete`` is False where money or patience ended before the samples."""

    part: LoggedPart | None = None
    lost: LostVotes = field(default_factory=LostVotes)
    seen: Mapping[str, int] = field(default_factory=dict)
    first_error: str = ""
    tally: Tally = field(default_factory=Tally)
    counters: Counters = field(default_factory=Counters)
    complete: bool = True
    spent: bool = False  # the money limit ended it
    identity: str = ""  # of the models, as JSON
    error: GuardevalError | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes, nearly."""
        return 0 if self.part is None else len(self.part.lines) + 3 * len(self.part.columns.rows)


def pack_samples(samples: Sequence[Sample]) -> bytes:
    return pickle.dumps(list(samples), pickle.HIGHEST_PROTOCOL)


def said_by(party: Party) -> str:
    """A party's identity as one text: equal for equal models."""
    return json.dumps(party.identity, sort_keys=True, default=str)


class Worker:
    """Holds the models of one run for all shards that it is given, one at a time; ``call`` reaches the desk.

    :meth:`stop` may be called from another thread while :meth:`judge` runs.
    """

    def __init__(self, recipe: Recipe, number: int, call: Call) -> None:
        self._recipe, self._number, self._call = recipe, number, call
        self._runner: asyncio.Runner | None = None
        self._stopped = False

    def ready(self) -> str:
        """The version that it would ask with."""
        return guardeval.__version__

    def stop(self) -> None:
        """Begin no further sample: the shard under way ends with what it has."""
        self._stopped = True

    def judge(self, shard: Shard, packed: bytes) -> JudgedShard:
        try:
            if self._runner is None:
                self._open()
            assert self._runner is not None  # noqa: S101
            samples: list[Sample] = pickle.loads(packed)  # noqa: S301 - what our own driver has packed
            with few_collections():
                return self._runner.run(self._judge(shard, samples))
        except GuardevalError as e:
            return JudgedShard(error=portable(e))

    def _open(self) -> None:
        settings = Settings.from_mapping(self._recipe.settings, "the run's settings")
        (self._party,) = parties_of(with_card_defaults(settings, self._recipe.registry), self._recipe.registry)
        self._runner = asyncio.Runner()
        self._runner.run(self._open_broker(settings))
        self._identity = said_by(self._party)

    async def _open_broker(self, settings: Settings) -> None:
        recipe = self._recipe
        answers = None if recipe.answers is None else SharedAnswers(self._call, recipe.answers)
        budget = None if recipe.max_cost is None else SharedBudget(self._call, self._number, recipe.max_cost)
        broker = Broker(answers, max_connections=settings.max_connections, budget=budget, sharers=recipe.sharers)
        self._broker = await broker.__aenter__()
        self._bound = self._party.bind(self._broker)

    async def _judge(self, shard: Shard, samples: list[Sample]) -> JudgedShard:
        self._broker.counters = Counters()  # of this shard alone: nothing is under way between two
        asking = Asking(shard.target, self._recipe.policies, self._party.solver, self._bound)
        heard = Heard(self._party.marker(shard.task))
        log = ShardLog(shard, self._recipe.policies.names, heard)
        looking = asyncio.create_task(self._look_for_money()) if self._recipe.max_cost is not None else None
        try:
            afforded = await ask(asking, self._until_stopped(samples), heard.marker, log.keep)
        finally:
            if looking is not None:
                looking.cancel()
        return JudgedShard(
            log.part(),
            heard.lost,
            heard.marker.counts,
            heard.first_error,
            log.tally,
            self._broker.counters,
            complete=log.tally.n == len(samples),
            spent=not afforded,
            identity=self._identity,
        )

    def _until_stopped(self, samples: list[Sample]) -> Iterator[Sample]:
        for sample in samples:
            if self._stopped:
                return
            yield sample

    async def _look_for_money(self) -> None:
        while True:
            await asyncio.sleep(_ASK_AGAIN)
            self._broker.room_again()


class ShardLog:
    """Lines and columns of one shard, in memory."""

    def __init__(self, shard: Shard, policy_names: Sequence[str], heard: Heard) -> None:
        self.tally = Tally()
        self._heard = heard
        self._writer = LineWriter(shard.target, shard.redact)
        self._collector = Collector(shard.target, policy_names)
        self._lines: list[bytes] = []
        self._indices = array("q")

    def keep(self, judged: Judged, exchanges: Sequence[Exchange]) -> None:
        cluster = cluster_of(judged.sample.prompt)
        self._heard.look(judged.verdict)
        self._lines.append(self._writer.line(judged, exchanges, cluster))
        self._indices.append(judged.sample.index)
        self._collector.add(judged, cluster)
        self.tally.add(judged)

    def part(self) -> LoggedPart:
        order = sorted(range(len(self._lines)), key=self._indices.__getitem__)
        lines = [self._lines[i] for i in order]
        lengths, indices = array("q", map(len, lines)), array("q", (self._indices[i] for i in order))
        return LoggedPart(b"".join(lines), lengths.tobytes(), indices.tobytes(), self._collector.packed().in_order(order))


_FAMILY = (ModelUnusable, ModelError, ConfigError, DataError, PluginError)


def portable(error: GuardevalError) -> GuardevalError:
    """The error, or where it cannot cross to another process one of the family in the same words."""
    with contextlib.suppress(Exception):
        if type(error).__module__.startswith("guardeval.") and str(pickle.loads(pickle.dumps(error))) == str(error):  # noqa: S301
            return error
    kind = next((k for k in _FAMILY if isinstance(error, k)), GuardevalError)
    return kind(str(error))
