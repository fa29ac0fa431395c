"""executors/ray.py - a Ray cluster: shards of rows go to actors that hold the models. Extra: ``ray``.

Finished lines and columns come back. This process reads the rows and writes the run folder; it holds a few shards, however
many there are.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from guardeval.broker import Counters
from guardeval.brokers import cache_of, money_left
from guardeval.errors import ConfigError, ModelError, ModelUnusable
from guardeval.executors.cluster import connected
from guardeval.executors.crew import Crew, Done, Gone, NobodyLeft, Size
from guardeval.executors.shards import InOrder, Ledger, Poison
from guardeval.executors.worker import JudgedShard, Recipe, Shard, pack_samples, said_by
from guardeval.results import settings_from_anywhere

if TYPE_CHECKING:
    from guardeval.asking import Heard
    from guardeval.data import Sample
    from guardeval.executors import Hands
    from guardeval.party import Party
    from guardeval.pipeline import Plan
    from guardeval.running import Running
    from guardeval.runs import SampleLog

__all__ = ["Ray"]

_EARLY = 256 << 20  # bytes of shards that wait for an earlier one
_PATIENCE = 30.0  # seconds for workers to hand in what they have when a run is interrupted
_SHARD = {True: 64, False: 1000}  # rows: of models that are asked over the network, where few rows take long; of others


@dataclass(frozen=True)
class Ray:
    """``address``: ``local``, ``auto``, ``HOST:PORT``, ``ray://HOST:PORT``; else ``$RAY_ADDRESS``, else ``local``.

    ``workers``: as many as fit where None. ``shard``: rows that a worker gets at once, and that are done again when it is lost.
    ``retries``: how often a shard may be done again after it cost a worker; ``max_restarts``: how many lost workers are
    replaced, twice their number and eight where None. ``start_timeout``: seconds until a first worker must be ready.
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    shard: int | None = None
    retries: int = 3
    max_restarts: int | None = None
    start_timeout: float = 300.0

    def __post_init__(self) -> None:
        least = {"workers": 1, "shard": 1, "retries": 0, "max_restarts": 0, "cpus_per_worker": 0, "gpus_per_worker": 0}
        for name, lowest in least.items():
            given = getattr(self, name)
            if given is not None and not lowest <= given < float("inf"):
                raise ConfigError(f"executor 'ray': {name}={given}: at least {lowest} is wanted")
        if not self.start_timeout > 0:
            raise ConfigError(f"executor 'ray': start_timeout={self.start_timeout}: seconds above 0 are wanted")

    @contextlib.contextmanager
    def open(self, plan: Plan) -> Iterator[Hands]:
        wanted = self.workers or 1
        with connected(self.address, wanted * self.cpus_per_worker, wanted * self.gpus_per_worker) as ray:
            yield _Cluster(ray, self)

    def fitting(self, resources: Mapping[str, float]) -> int:
        """Workers that a cluster of so much ``CPU`` and ``GPU`` has room for, at least one."""
        shares = {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker}
        room = [int(resources.get(what, 0.0) / share) for what, share in shares.items() if share]
        return max(1, min(room, default=1))


class _Cluster:
    """Hands of a plan's runs: a crew for each."""

    def __init__(self, ray: Any, options: Ray) -> None:
        self._ray, self._options = ray, options

    def ask_all(self, run: Running) -> None:
        size = self._size(run)
        with Crew(self._ray, _recipe(run, size.workers), size) as crew:
            run.executor = {"name": "ray", "workers": size.workers, "nodes": crew.nodes, "workers_lost": 0, "shards_redone": 0}
            for task in run.plan.selection.tasks:
                with run.task(task) as (log, heard):
                    shard = Shard(task.name, task.target, run.plan.settings.redact)
                    rows = self._options.shard or _SHARD[_is_remote(run.party)]
                    work = _Work(crew, run, shard, iter(run.plan.rows[task.name]), rows, self._options.retries, log, heard)
                    work.through()
                if run.status != "complete":
                    return

    def _size(self, run: Running) -> Size:
        options = self._options
        workers = options.workers or options.fitting(self._ray.cluster_resources())
        most = run.plan.settings.max_connections
        if most is not None and _is_remote(run.party):
            workers = min(workers, most)  # a worker without a connection has nothing to do
        restarts = 2 * workers + 8 if options.max_restarts is None else options.max_restarts
        return Size(workers, options.cpus_per_worker, options.gpus_per_worker, options.start_timeout, restarts)


def _is_remote(party: Party) -> bool:
    return any(seat.model.traits.remote for seat in party.seats)


def _recipe(run: Running, workers: int) -> Recipe:
    plan, settings = run.plan, run.plan.settings
    values = settings_from_anywhere(settings, run.party)
    for name in ("executor", "executor_args"):
        values.pop(name, None)
    cache = cache_of(settings)
    if all(s.model.traits.classifies and not s.model.traits.remote for s in run.party.seats):
        cache = None  # see Broker: such answers are not kept
    left = money_left(settings, run.spent)
    return Recipe(values, plan.policies, plan.registry, workers, None if cache is None else cache.absolute(), left)


class _Work:
    """One task: shards out, judged shards in, in source order into the log."""

    def __init__(
        self,
        crew: Crew,
        run: Running,
        shard: Shard,
        samples: Iterator[Sample],
        rows: int,
        retries: int,
        log: SampleLog,
        heard: Heard,
    ) -> None:
        self._crew, self._run, self._shard, self._log, self._heard = crew, run, shard, log, heard
        self._samples, self._rows = samples, rows
        self._ledger = Ledger(retries)
        self._order: InOrder[JudgedShard] = InOrder(lambda judged: judged.size, _EARLY)
        self._packed: dict[int, Any] = {}  # of shards that are not accepted yet
        self._rest = True  # there are rows that nobody has been given
        self._last_word = ""

    def through(self) -> None:
        """All of the task. Raises what ends the run; KeyboardInterrupt once the workers have handed in what they have."""
        try:
            while self._hand_out():
                self._take(self._crew.news())
        except KeyboardInterrupt:
            self._call_in()
            raise
        except Poison as e:
            self._call_in()
            self._end(self._poisoned(e))
        except NobodyLeft as e:
            self._end(ModelUnusable(str(e)))
        finally:
            self._write_rest()

    def _end(self, problem: ModelError) -> None:
        """End the run early, with what was done kept. Raises the problem at once where nothing was."""
        self._write_rest()
        if not any(len(log.collector) for log in self._run.logs.values()):
            raise problem
        self._run.status, self._run.problem = "interrupted", problem

    def _write_rest(self) -> None:
        for judged in self._order.rest():
            self._write(judged)

    def _hand_out(self) -> bool:
        """Give every idle worker a shard; False once all is done."""
        for worker in self._crew.idle():
            number = self._ledger.again(worker)
            if number is None:
                chunk = list(islice(self._samples, self._rows)) if self._rest and self._run.status == "complete" else []
                if not chunk:
                    self._rest = False
                    break
                number = self._ledger.fresh(worker)
                self._packed[number] = self._crew.put(pack_samples(chunk))
            self._crew.give(worker, number, self._shard, self._packed[number])
        more = self._rest and self._run.status == "complete"
        return more or self._ledger.outstanding > 0 or (self._ledger.unfinished and self._run.status == "complete")

    def _take(self, news: Iterator[Done | Gone]) -> None:
        for event in news:
            if isinstance(event, Gone):
                self._gone(event)
            elif event.judged.error is not None:
                raise event.judged.error
            elif self._ledger.done(event.worker, event.shard):
                self._accept(event.shard, event.judged)

    def _gone(self, event: Gone) -> None:
        self._last_word = event.why
        self._crew.forget(event.worker)
        try:
            self._ledger.lost(event.worker)
        finally:
            self._run.executor["workers_lost"] = self._crew.lost
            self._run.executor["shards_redone"] += self._ledger.redone
            self._ledger.redone = 0

    def _accept(self, number: int, judged: JudgedShard) -> None:
        run, heard = self._run, self._heard
        if judged.identity != said_by(run.party):
            raise ConfigError(
                f"--executor ray: a worker's model is another than here under the same name: {judged.identity[:300]} there, "
                f"{said_by(run.party)[:300]} here; give all machines the same files"
            )
        del self._packed[number]
        if judged.spent:
            run.status = "stopped"
        heard.lost.add(judged.lost)
        heard.marker.add(judged.seen)
        heard.first_error = heard.first_error or judged.first_error
        _add(run.counters, judged.counters)
        run.progress.samples(judged.tally)
        for each in self._order.put(number, judged):
            self._write(each)

    def _write(self, judged: JudgedShard) -> None:
        if judged.part is not None:
            self._log.add_part(judged.part)

    def _call_in(self) -> None:
        """Have the workers end what they are at, and take what they hand in; the rest is lost, its answers are cached."""
        self._rest = False
        self._crew.stop()
        end = time.monotonic() + _PATIENCE
        with contextlib.suppress(NobodyLeft):
            while self._ledger.outstanding and time.monotonic() < end:
                for event in self._crew.news(end - time.monotonic()):
                    if isinstance(event, Gone):
                        self._drop(event)
                    elif self._ledger.done(event.worker, event.shard) and event.judged.error is None:
                        self._accept(event.shard, event.judged)

    def _drop(self, event: Gone) -> None:
        try:
            self._gone(event)
        except Poison:
            return  # the run ends anyway

    def _poisoned(self, e: Poison) -> ModelError:
        first = e.shard * self._rows
        return ModelUnusable(
            f"{self._shard.task}: samples {first + 1} to {first + self._rows} (in source order) cost {e.workers} workers one "
            f"after the other, the last with: {self._last_word or 'no word'}; smaller shards (-E shard=) or more memory a "
            "worker (-E cpus_per_worker=) may help, -E retries= tries more often"
        )


def _add(counters: Counters, more: Counters) -> None:
    """In place: whoever watches the run holds on to them."""
    total = counters + more
    for name in Counters.__slots__:
        setattr(counters, name, getattr(total, name))
