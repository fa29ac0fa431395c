"""The one place that knows about asking: cache, single flight, limits, retries, batches and money meet here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from guardeval.broker.answers import Settled, pack, unpack
from guardeval.broker.batches import Batches
from guardeval.broker.bound import Bound
from guardeval.broker.budget import Budget, estimated_tokens
from guardeval.broker.cache import Answers, Cache
from guardeval.broker.connections import Connections
from guardeval.broker.counters import Counters, Estimate
from guardeval.broker.flight import Flight, Waiting
from guardeval.broker.lane import Lane
from guardeval.broker.retries import Retries
from guardeval.contracts import BatchModel, Completion, Model, Request
from guardeval.errors import ConfigError, PluginError

__all__ = ["Broker"]

_UNSENT = Settled(Completion(""), 0.0, None, 0)


class Broker:
    """Asks models for solvers, inside one event loop: ``async with Broker(cache=path) as broker``.

    What is asked in one turn of the loop is looked up together, in one query, and what is answered in one turn is kept
    together, in one transaction, before anyone hears of it.

    ``cache``: a file, None for no cache. ``max_connections``: instead of what a model's traits say. ``max_cost``: US
    dollars over all models, beyond which :class:`BudgetSpent` is raised. ``dry``: nothing is sent; what is not in the cache
    is answered with an empty text, ``estimate`` says what it would have taken; with ``listed``, ``unsent`` holds
    what would have been sent.

    Of several brokers at work on one run each is told so: ``cache`` is then what keeps the answers of all, ``budget`` the
    money of all, and each asks over its part of a model's connections, one of ``sharers``. What costs nothing to ask again
    (a model in this process that classifies) is not kept then.
    """

    def __init__(
        self,
        cache: Path | str | Answers | None = None,
        *,
        max_connections: int | None = None,
        max_cost: float | None = None,
        budget: Budget | None = None,
        sharers: int = 1,
        dry: bool = False,
        listed: bool = False,
        retries: Retries | None = None,
    ) -> None:
        if max_connections is not None and max_connections < 1:
            raise ConfigError(f"max_connections is a number of requests, at least 1, not {max_connections}")
        self.dry = dry
        self._path = Path(cache) if isinstance(cache, (str, Path)) else None
        self._max_connections = max_connections
        self._sharers = sharers
        self._budget = budget if max_cost is None or dry else Budget(max_cost)
        self._retries = retries or Retries()
        self.counters = Counters()  # over all models, kept up to date
        self._cache: Answers | None = None if isinstance(cache, (str, Path)) else cache
        self._shared = self._cache is not None
        self._lanes: dict[int, Lane] = {}  # by id of the model, which the lane keeps alive
        self._by_identity: dict[bytes, Lane] = {}
        self._flights: dict[bytes, Flight] = {}
        self._asked: list[tuple[Bound, Request, Waiting]] = []
        self._landed: list[tuple[Flight, Settled]] = []
        self._foreseen: set[bytes] = set()
        self.unsent: dict[bytes, Request] = {}  # by key, in the order asked
        self._listed = listed

    @property
    def estimate(self) -> Estimate:
        """What a dry run foresees, over all models."""
        return reduce(lambda a, b: a + b, (lane.estimate for lane in self._lanes.values()), Estimate())

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        if self._path is not None and not (self.dry and not self._path.exists()):
            self._cache = Cache(self._path)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop asking, keep what was answered, close models and cache. Who still waits is cancelled."""
        try:
            for lane in self._lanes.values():
                await lane.close()
            self._keep()
        finally:
            for flight in self._flights.values():
                flight.cancel()
            for _, _, waiting in self._asked:
                waiting.cancel()
            self._flights.clear()
            self._asked.clear()
            if self._cache is not None:
                self._cache.close()
                self._cache = None

    def bind(self, model: Model | BatchModel, name: str | None = None) -> Bound:
        """A model as solvers see it. Nothing is asked of it yet, its identity is not read yet.

        Raises :class:`PluginError` for what is no model, :class:`ConfigError` where ``max_cost`` meets an unknown price.
        """
        name = name or type(model).__name__
        if self._budget is not None:
            self._budget.check(name, model.traits)
        lane = self._lanes.get(id(model))
        if lane is None:
            lane = self._lanes[id(model)] = self._lane(model, name)
            traits = lane.traits
            lane.kept = not traits.per_sample and not (self._shared and traits.classifies and not traits.remote)
        return Bound(self, lane, model, name)

    def _lane(self, model: Model | BatchModel, name: str) -> Lane:
        # by method, not isinstance: on Python 3.11 that would read `identity`, which may ask a server or hash a model's files
        if hasattr(type(model), "generate_batch"):
            return Batches(cast(BatchModel, model), name, self, self._retries, self._budget)
        if hasattr(type(model), "generate"):
            most = self._max_connections
            if self._sharers > 1:
                most = max(1, (most or model.traits.connections) // self._sharers)
            return Connections(cast(Model, model), name, self, self._retries, self._budget, max_connections=most)
        raise PluginError(f"{name}: {type(model).__name__} is no model: it lacks identity, traits, or generate")

    def lane_of(self, digest: bytes, lane: Lane) -> Lane:
        """The lane of a model by its identity: equal models bound twice share the first one's."""
        return self._by_identity.setdefault(digest, lane)

    def ask(self, bound: Bound, request: Request) -> Waiting:
        """A future of the answer, and whether it came free of charge."""
        waiting: Waiting = self._loop.create_future()
        if not self._asked:
            self._loop.call_soon(self._look_up)
        self._asked.append((bound, request, waiting))
        self.counters.asked += 1
        return waiting

    def _look_up(self) -> None:
        """Answer what was asked since the last turn: shared, from the cache, or by sending."""
        asked, self._asked = self._asked, []
        fresh: dict[bytes, Flight] = {}
        try:
            for bound, request, waiting in asked:
                key = bound.key(request)
                flight = self._flights.get(key)
                if flight is None:
                    self._flights[key] = fresh[key] = Flight(key, request, waiting, self.counters, bound.lane)
                else:
                    flight.join(waiting)
            self._from_cache(fresh)
            if self.dry:
                self._foresee(fresh)
            else:
                self._dispatch(fresh.values())
        except Exception as e:  # noqa: BLE001 - whoever asked must hear it: a future left alone hangs the run
            for _, _, waiting in asked:
                if not waiting.done():
                    waiting.set_exception(e)
            for key in fresh:
                self._flights.pop(key, None)

    def _from_cache(self, fresh: dict[bytes, Flight]) -> None:
        """Resolve the flights whose answers are known and take them out of ``fresh``."""
        if self._cache is None or not fresh:
            return
        keys = [key for key, flight in fresh.items() if flight.lane.kept]
        for key, data in self._cache.get(keys).items() if keys else ():
            try:
                settled = unpack(data)
            except (ValueError, KeyError, TypeError) as e:
                path = self._cache.path
                again = f"`guardeval cache clear --cache {path}`"
                raise ConfigError(f"cache {path}: an answer in it cannot be read ({e}): {again}") from e
            flight = fresh.pop(key)
            del self._flights[key]
            if self.dry and key not in self._foreseen:
                self._foreseen.add(key)
                flight.lane.estimate.distinct += 1
                flight.lane.estimate.cached += 1
            flight.resolve(settled, cached=True)

    def _dispatch(self, flights: Iterable[Flight]) -> None:
        lanes: dict[Lane, None] = {}
        for flight in flights:
            if flight.lane.grounded is not None:
                self.lost(flight, flight.lane.grounded)
            else:
                flight.lane.push(flight)
                lanes[flight.lane] = None
        for lane in lanes:
            lane.pump()

    def _foresee(self, fresh: dict[bytes, Flight]) -> None:
        """Count what would be sent, and answer it with an empty text."""
        for key, flight in fresh.items():
            del self._flights[key]
            if key not in self._foreseen:
                self._foreseen.add(key)
                estimate = flight.lane.estimate
                estimate.distinct += 1
                if self._listed:
                    self.unsent[key] = flight.request
                estimate.add(estimated_tokens(flight.request), flight.request.sampling.max_tokens, flight.lane.price)
            flight.resolve(_UNSENT, cached=True)

    def landed(self, flight: Flight, settled: Settled) -> None:
        if self._cache is None or not flight.lane.kept:
            self._forget(flight)
            flight.resolve(settled, cached=False)
            return
        if not self._landed:
            self._loop.call_soon(self._keep)
        self._landed.append((flight, settled))

    def _keep(self) -> None:
        """Commit what was answered since the last turn, then tell those who wait."""
        landed, self._landed = self._landed, []
        if not landed or self._cache is None:
            return
        rows: list[tuple[bytes, int, bytes]] = []
        readable: list[tuple[Flight, Settled]] = []
        try:
            for flight, settled in landed:
                try:
                    data = pack(settled)
                except (TypeError, ValueError) as e:
                    self.lost(flight, PluginError(f"{flight.lane.name}: its answer holds something that is not JSON: {e}"))
                    continue
                rows.append((flight.key, self._number(flight), data))
                readable.append((flight, settled))
            self._cache.put(rows)
        except ConfigError as e:  # answers that cannot be kept would be paid for again: stop while that is few
            for flight, _ in landed:
                self.lost(flight, e)
            for lane in self._lanes.values():
                lane.ground(e)
            return
        for flight, settled in readable:
            self._forget(flight)
            flight.resolve(settled, cached=False)

    def _number(self, flight: Flight) -> int:
        lane = flight.lane
        if lane.cache_number is None and self._cache is not None:
            lane.cache_number = self._cache.model_number(lane.digest, lane.name)
        return lane.cache_number or 0

    def lost(self, flight: Flight, error: Exception) -> None:
        self._forget(flight)
        flight.fail(error)

    def grounded(self, lane: Lane, error: Exception) -> None:
        for flight in [f for f in self._flights.values() if f.lane is lane]:
            self.lost(flight, error)

    def room_again(self) -> None:
        for lane in self._lanes.values():
            lane.pump()

    def _forget(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
