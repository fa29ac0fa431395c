"""What lanes to models have in common: a queue, a start, a price, and what to do when an attempt fails."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from guardeval.broker.answers import Settled
from guardeval.broker.budget import Budget, Spending, estimated_tokens
from guardeval.broker.counters import Estimate
from guardeval.broker.flight import Flight, Tower
from guardeval.broker.retries import FailureStreak, Retries
from guardeval.contracts import BatchModel, Completion, Model
from guardeval.errors import GuardevalError, ModelError, ModelUnusable, PluginError, Transient
from guardeval.plugin_exit import exited

__all__ = ["Lane"]

_START_WAITS = (0.2, 1.0)  # seconds before asking a server again that did not answer at the start
_log = logging.getLogger("guardeval")


class Lane(ABC):
    """The way to one model. Subclasses send what :meth:`_take` gives out and report how each attempt ended.

    Single-threaded: everything here runs on the event loop.
    """

    def __init__(self, model: Model | BatchModel, name: str, tower: Tower, retries: Retries, budget: Budget | None) -> None:
        self.model = model
        self.name = name
        self.traits = model.traits
        self.price = self.traits.price
        self.digest = b""  # of the model's identity, once that has been read
        self.cache_number: int | None = None
        self.kept = True  # its answers are cached
        self.estimate = Estimate()
        self.grounded: Exception | None = None  # why nothing is sent any more
        self._tower = tower
        self._retries = retries
        self._budget = budget
        self._spending = Spending(self.price) if budget is not None and self.price is not None else None
        self._queue: deque[Flight] = deque()
        self._streak = FailureStreak(name)
        self._rng = random.Random()
        self._starting: asyncio.Task[None] | None = None
        self._ready = False
        self._waiting: dict[Flight, asyncio.TimerHandle] = {}  # to be asked again
        self._loop = asyncio.get_running_loop()

    @property
    @abstractmethod
    def parallel(self) -> int:
        """How many requests under way keep the model busy."""

    async def start(self) -> None:
        """Make the model ready, once; raises what its ``start`` raises, as :class:`ModelUnusable` where it says less."""
        await asyncio.shield(self._begin())

    def push(self, flight: Flight) -> None:
        """Queue a request; :meth:`pump` sends it."""
        self._queue.append(flight)

    def pump(self) -> None:
        """Send what may be sent now."""
        if not self._queue or self.grounded is not None:
            return
        if self._ready:
            self._send()
        else:
            self._begin()

    async def close(self) -> None:
        """Stop sending and close the model, if it was ever started."""
        self.grounded = self.grounded or ModelUnusable(f"{self.name}: closed")
        for timer in self._waiting.values():
            timer.cancel()
        self._queue.clear()
        if self._starting is None:
            return
        self._starting.cancel()
        await asyncio.wait([self._starting])
        await self._stop_sending()
        await self._close_model()

    def ground(self, error: Exception) -> None:
        """Give up on the model: nothing more is sent, all who wait are told."""
        if self.grounded is None:
            self.grounded = error
            self._queue.clear()
            self._tower.grounded(self, error)

    @abstractmethod
    def _send(self) -> None:
        """Send from the queue as much as the model takes at once."""

    @abstractmethod
    async def _stop_sending(self) -> None:
        """Cancel what is under way, or wait for it where it cannot be cancelled."""

    async def _call(self, function: Callable[[], Any]) -> Any:
        """Call a plain method of the model where its work belongs."""
        return function()

    def _take(self) -> Flight | None:
        """The next request that is wanted and affordable; None if there is none now."""
        while self._queue:
            flight = self._queue[0]
            if not flight.is_wanted():
                self._queue.popleft()
                self._tower.lost(flight, ModelError("nobody waits for the answer any more"))
                continue
            if not self._afford(flight):
                return None
            self._queue.popleft()
            now = self._loop.time()
            flight.first_sent = flight.first_sent or now
            flight.sent = now
            flight.attempts += 1
            flight.counters.sent += 1
            return flight
        return None

    def _answered(self, flight: Flight, completion: object, latency: float, rides: bool = False) -> None:
        """An attempt ended with what the model returned. ``rides``: another draw, asked for with it, paid for the prompt."""
        if not isinstance(completion, Completion):
            kind = type(completion).__name__
            self._release(flight, None)
            self._tower.lost(flight, error := PluginError(f"{self.name}: answered with a {kind}, not with a Completion"))
            self.ground(error)
            return
        self._streak.heard()
        self._release(flight, completion, rides)
        self._tower.landed(flight, Settled(completion, latency, self._cost(completion), flight.attempts))

    def _failed(self, error: Exception, *flights: Flight) -> None:
        """An attempt ended with an exception: ask again, give the request up, or give the model up.

        ``flights``: one, or the draws that were asked for in one request; they fare alike.
        """
        for flight in flights:
            self._release(flight, None)
        if self.grounded is not None:
            self._lost(self.grounded, *flights)
            return
        try:
            if isinstance(error, Transient):
                self._ask_again(error, *flights)
            elif isinstance(error, ModelUnusable):
                raise error
            elif isinstance(error, ModelError):
                self._streak.heard()
                self._lost(error, *flights)
            elif isinstance(error, GuardevalError):
                raise error
            else:
                wrapped = ModelError(f"{self.name} raised {type(error).__name__}: {error}")
                wrapped.__cause__ = error
                self._give_up(wrapped, *flights)
        except GuardevalError as end:
            self._lost(end, *flights)
            self.ground(end)

    def _lost(self, error: Exception, *flights: Flight) -> None:
        for flight in flights:
            self._tower.lost(flight, error)

    def _ask_again(self, error: Transient, *flights: Flight) -> None:
        self._retries.refuse_long_wait(error, self.name)
        flight = flights[0]
        if error.throttled:
            flight.counters.throttled += 1
        else:
            for each in flights:
                each.failures += 1
        delay = self._retries.wait(error, flight.attempts, self._rng)
        took = self._loop.time() - flight.first_sent
        if flight.failures >= self._retries.attempts or took + delay > self._retries.total:
            tried = f"asked {flight.attempts} times over {took:.0f} seconds"
            spent = ModelError(f"{error} ({tried})")
            spent.__cause__ = error
            self._give_up(spent, *flights)
            return
        flight.counters.retried += 1
        self._waiting[flight] = self._loop.call_later(delay, self._requeue, *flights)

    def _requeue(self, *flights: Flight) -> None:
        del self._waiting[flights[0]]
        if self.grounded is None:
            self._queue_first(*flights)
            self.pump()

    def _queue_first(self, *flights: Flight) -> None:
        """Before all others, first come first served: they have waited longest."""
        for flight in reversed(flights):
            self._queue.appendleft(flight)

    def _give_up(self, error: ModelError, *flights: Flight) -> None:
        self._lost(error, *flights)
        self._streak.gave_up(error)

    def _afford(self, flight: Flight, rides: bool = False) -> bool:
        if self._budget is None or self._spending is None:
            return True
        forecast = self._spending.forecast(flight.request, rides)
        if self._budget.reserve(forecast):
            flight.reserved = forecast
            return True
        if self._budget.closed is not None:
            refused = list(self._queue)
            self._queue.clear()
            self._lost(self._budget.closed, *refused)
        return False

    def _release(self, flight: Flight, completion: Completion | None, rides: bool = False) -> None:
        """The budget learns what an attempt cost; what fails is taken to cost nothing."""
        if self._budget is None or self._spending is None:
            return
        cost = 0.0
        if completion is not None:
            thought = 0 if rides else estimated_tokens(flight.request)
            tokens_in = thought if completion.tokens_in is None else completion.tokens_in
            tokens_out = len(completion.text) // 4 + 1 if completion.tokens_out is None else completion.tokens_out
            self._spending.learn(flight.request, tokens_in, tokens_out, rides)
            cost = self._cost_of(tokens_in, tokens_out) or 0.0
        self._budget.release(flight.reserved, cost)
        self._loop.call_soon(self._tower.room_again)

    def _cost(self, completion: Completion) -> float | None:
        if completion.tokens_in is None or completion.tokens_out is None:
            return None
        return self._cost_of(completion.tokens_in, completion.tokens_out)

    def _cost_of(self, tokens_in: int, tokens_out: int) -> float | None:
        price = self.price
        return None if price is None else (tokens_in * price[0] + tokens_out * price[1]) / 1e6

    def _begin(self) -> asyncio.Task[None]:
        if self._starting is None:
            self._starting = self._loop.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return self._starting

    async def _start(self) -> None:
        start = getattr(self.model, "start", None)
        if start is None:
            return
        for wait in (*_START_WAITS, None):
            try:
                await self._run(start)
                return
            except Transient as e:
                if wait is None:
                    raise ModelUnusable(str(e)) from e
                await asyncio.sleep(wait)
            except GuardevalError:
                raise
            except SystemExit as e:
                raise exited(f"model {self.name}, being started,", e) from e
            except Exception as e:  # a plugin may raise anything; the run ends with what it was
                raise ModelUnusable(f"{self.name} could not start: {type(e).__name__}: {e}") from e

    def _started(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._ready = True
            self.pump()
        elif isinstance(error, Exception):
            self.ground(error)

    async def _close_model(self) -> None:
        close = getattr(self.model, "aclose", None) or getattr(self.model, "close", None)
        if close is None:
            return
        try:
            await self._run(close)
        except (Exception, SystemExit) as e:  # noqa: BLE001 - the results count; a model that does not close well is a remark
            _log.warning("%s did not close well: %s: %s", self.name, type(e).__name__, e)

    async def _run(self, method: Callable[[], Awaitable[Any] | Any]) -> None:
        """Call ``start`` or ``close``, plain or async."""
        if inspect.iscoroutinefunction(method):
            await method()
            return
        result = await self._call(method)
        if inspect.isawaitable(result):
            await result
