"""Models that are asked over connections: as many requests under way as the server bears, each with a time-out.

A request asks one question, for one answer or, where the model can, for several draws at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from guardeval.broker.deadlines import Deadlines
from guardeval.broker.draw_queue import DrawQueue
from guardeval.broker.flight import Flight
from guardeval.broker.lane import Lane
from guardeval.broker.limits import Limit
from guardeval.contracts import DrawingModel, Model
from guardeval.errors import GuardevalError, ModelError, ModelUnusable, PluginError, Transient
from guardeval.plugin_exit import exited

__all__ = ["Connections"]


class Connections(Lane):
    """Long-lived sender tasks, not a task a request: an idle one is handed the next request directly."""

    model: Model

    def __init__(self, model: Model, *common: Any, max_connections: int | None = None) -> None:
        super().__init__(model, *common)
        self.limit = Limit(max_connections or self.traits.connections)
        self._under_way = 0
        self._idle: list[asyncio.Future[Flight]] = []
        self._senders: set[asyncio.Task[None]] = set()
        self._resume: asyncio.TimerHandle | None = None
        timeout = self.traits.timeout
        self._deadlines = None if timeout is None else Deadlines(timeout, self._loop)
        self.draws = self._most_draws()  # a request asks for at most; less once the model has given less
        self._drew = False  # whether the model has given several at once
        self._draw_queue: DrawQueue | None = None  # the queue, once a draw other than 0 has come: until then none can go along

    def _most_draws(self) -> int:
        traits = self.traits
        if traits.draws > 1 and not hasattr(type(self.model), "generate_draws"):
            kind = type(self.model).__name__
            raise PluginError(f"{self.name}: {kind} says draws={traits.draws} and has no generate_draws to ask for them")
        return 1 if traits.classifies or traits.per_sample else max(1, traits.draws)  # there the prompt is not all

    @property
    def parallel(self) -> int:
        ceiling = self.limit.ceiling
        return ceiling + ceiling // 4 + 1  # the next request is ready when one is answered

    def _send(self) -> None:
        while (flight := self._next()) is not None:
            while self._idle and self._idle[-1].done():
                self._idle.pop()
            if self._idle:
                self._idle.pop().set_result(flight)
            else:
                task = self._loop.create_task(self._sender(flight))
                self._senders.add(task)
                task.add_done_callback(self._ended)

    def _next(self) -> Flight | None:
        """The next request if one more may be under way."""
        if self._under_way >= self.limit.now or not self._queue or self.grounded is not None:
            return None
        pause = self.limit.pause(self._loop.time())
        if pause:
            if self._resume is None:
                self._resume = self._loop.call_later(pause, self._resumed)
            return None
        flight = self._take()
        if flight is not None:
            self._under_way += 1
            if self._draw_queue is not None:
                self._take_along(flight, self._draw_queue)
        return flight

    def push(self, flight: Flight) -> None:
        """Queue a request; :meth:`pump` sends it."""
        if flight.request.draw and self.draws > 1 and self._draw_queue is None:
            self._queue = self._draw_queue = DrawQueue(self._queue)
        self._queue.append(flight)

    def _take_along(self, flight: Flight, queue: DrawQueue) -> None:
        """The next draws of the same question, as far as they wait, are wanted and can be paid for."""
        if flight.alone:
            return
        wing: list[Flight] = []
        last = flight
        while len(wing) < self.draws - 1 and (found := queue.next_draw(last)) is not None:
            last = found
            if not found.is_wanted() or not self._afford(found, rides=True):
                break
            queue.remove(found)
            found.first_sent = found.first_sent or flight.sent
            found.sent = flight.sent
            found.attempts += 1
            wing.append(found)
        flight.wing = wing or None

    def _resumed(self) -> None:
        self._resume = None
        self.pump()

    async def _sender(self, flight: Flight | None) -> None:
        task = cast(asyncio.Task[None], asyncio.current_task())
        while True:
            if flight is None:
                idle: asyncio.Future[Flight] = self._loop.create_future()
                self._idle.append(idle)
                flight = await idle
            await self._attempt(flight, task)
            flight = self._next()
            if self._queue and self._under_way < self.limit.now:
                self.pump()  # the limit has grown or a pause has ended

    async def _attempt(self, flight: Flight, task: asyncio.Task[None]) -> None:
        deadlines = self._deadlines
        if deadlines is not None:
            deadlines.watch(task)
        late = False
        try:
            try:
                said = await (self.model.generate(flight.request) if flight.wing is None else self._draw(flight, flight.wing))
            finally:
                late = deadlines is not None and deadlines.release(task)
        except asyncio.CancelledError:
            if task.cancelling():
                raise
            own = ModelError(f"{self.name} cancelled its own request")
            self._attempt_failed(flight, TimeoutError() if late else own)
        except SystemExit as e:
            self._attempt_failed(flight, exited(f"model {self.name}", e))
        except Exception as e:  # noqa: BLE001 - a plugin may raise anything; Lane._failed sorts it
            self._attempt_failed(flight, e)
        else:
            self.limit.answered(flight.sent)
            latency = self._loop.time() - flight.sent
            if flight.wing is not None:
                self._drawn(flight, said, latency)
            else:
                self._answered(flight, said, latency)
                if flight.alone and not self._drew:
                    self.draws = 1  # one by one worked where together did not, and never has
            await asyncio.sleep(0)  # the cache commits now: until then the request counts as under way, should we be killed
            self._under_way -= 1

    def _attempt_failed(self, flight: Flight, error: Exception) -> None:
        self._under_way -= 1
        now = self._loop.time()
        if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
            self.limit.refused(flight.sent, now)  # too many at once is the usual reason for not being served in time
        elif isinstance(error, Transient) and (error.throttled or error.retry_after is not None):
            self.limit.refused(flight.sent, now, error.retry_after)
        if isinstance(error, TimeoutError):
            error = Transient(f"{self.name} did not answer within {now - flight.sent:.3g} seconds")
        elif isinstance(error, ConnectionError):
            error = Transient(f"{self.name}: {type(error).__name__}: {error}")
        if flight.wing is not None:
            self._draws_failed(flight, error)
        else:
            self._failed(error, flight)

    # ── several draws in one request ──────────────────────────────────────────────────────────────────────────────

    async def _draw(self, flight: Flight, wing: Sequence[Flight]) -> object:
        return await cast(DrawingModel, self.model).generate_draws([f.request for f in (flight, *wing)])

    @staticmethod
    def _landing(flight: Flight) -> list[Flight]:
        """All that were asked for in this request; from here on each goes its own way."""
        wing, flight.wing = flight.wing or [], None
        return [flight, *wing]

    def _drawn(self, flight: Flight, said: object, latency: float) -> None:
        """Each draw gets its answer; those that the model left out are asked for in smaller numbers."""
        flights = self._landing(flight)
        if not isinstance(said, (list, tuple)) or len(said) > len(flights):
            given = f"{len(said)} answers" if isinstance(said, (list, tuple)) else f"a {type(said).__name__}"
            self._failed(PluginError(f"{self.name}: generate_draws gave {given} to {len(flights)} requests"), *flights)
            return
        missing = flights[len(said) :]
        if missing:
            self.draws = min(self.draws, max(1, len(said)))
            self._ask_apart(missing)
        self._drew = self._drew or len(said) > 1
        for i, (each, outcome) in enumerate(zip(flights, said, strict=False)):
            if isinstance(outcome, Exception):
                self._failed(outcome, each)
            else:
                self._answered(each, outcome, latency, rides=i > 0)

    def _draws_failed(self, flight: Flight, error: Exception) -> None:
        """What passes is asked again together, a second time and what was refused one by one."""
        flights = self._landing(flight)
        refused = isinstance(error, ModelError) or not isinstance(error, GuardevalError)
        if self.grounded is not None or isinstance(error, ModelUnusable) or not refused:
            self._failed(error, *flights)
        elif not isinstance(error, Transient):
            for each in flights:
                each.alone = True
            self._ask_apart(flights)
        elif error.throttled or not flight.failures:
            self._failed(error, *flights)
        else:
            for each in flights:
                each.alone = True
                self._failed(error, each)

    def _ask_apart(self, flights: Sequence[Flight]) -> None:
        """Back into the queue, as if they had not been asked yet."""
        for each in flights:
            self._release(each, None)
            each.attempts -= 1
            if not each.attempts:
                each.first_sent = 0.0
        self._queue_first(*flights)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._senders.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.ground(PluginError(f"{self.name}: {type(error).__name__}: {error}"))

    async def _stop_sending(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
        if self._deadlines is not None:
            self._deadlines.stop()
        for task in self._senders:
            task.cancel()
        if self._senders:
            await asyncio.wait(self._senders)
