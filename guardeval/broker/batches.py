"""Models that answer a batch in one plain call: one thread per model, the next batch gathered meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from guardeval.broker.flight import Flight
from guardeval.broker.lane import Lane
from guardeval.contracts import BatchModel, Completion, Request
from guardeval.errors import GuardevalError, ModelError, ModelUnusable, PluginError, Transient
from guardeval.plugin_exit import exited

__all__ = ["Batches"]

_QUIET_TICKS = 4  # turns of the loop without a new request after which a batch that is not full goes anyway
_PATIENCE = 5.0  # seconds to wait at the end for a batch that nobody wants any more

Outcome = Completion | Exception


class Batches(Lane):
    """Gathers what is asked into batches of at most ``traits.batch``.

    After a batch, its solvers need a few turns of the loop to ask again; a batch that is not full waits for them, or
    samples that once fell out of step would be asked in small batches for ever.
    """

    model: BatchModel

    def __init__(self, model: BatchModel, *common: Any) -> None:
        super().__init__(model, *common)
        self._thread = _Thread(f"guardeval-{self.name}")
        self._busy = False
        self._gathering = False
        self._seen = 0  # length of the queue at the last turn
        self._quiet = 0  # turns since it last grew

    @property
    def parallel(self) -> int:
        return 2 * self.traits.batch  # one batch is answered while another is asked

    def _send(self) -> None:
        if self._busy:
            return
        if len(self._queue) >= self.traits.batch:
            self._dispatch()
        elif not self._gathering:
            self._gathering, self._seen, self._quiet = True, len(self._queue), 0
            self._loop.call_soon(self._gather)

    def _gather(self) -> None:
        grown = len(self._queue) > self._seen
        self._seen, self._quiet = len(self._queue), 0 if grown else self._quiet + 1
        if self._busy or self.grounded is not None or not self._queue:
            self._gathering = False
        elif self._seen >= self.traits.batch or self._quiet >= _QUIET_TICKS:
            self._gathering = False
            self._dispatch()
        else:
            self._loop.call_soon(self._gather)

    def _dispatch(self) -> None:
        batch: list[Flight] = []
        while len(batch) < self.traits.batch and (flight := self._take()) is not None:
            batch.append(flight)
        if not batch:
            return
        self._busy = True
        requests = [flight.request for flight in batch]
        if self.traits.instant:
            self._loop.call_soon(lambda: self._done(batch, _ask(self.model, self.name, requests)))
            return
        self._thread.call(
            lambda: _ask(self.model, self.name, requests),
            self._loop,
            lambda outcomes: self._done(batch, outcomes),
        )

    def _done(self, batch: list[Flight], outcomes: list[Outcome] | BaseException) -> None:
        self._busy = False
        if isinstance(outcomes, BaseException):
            error = outcomes if isinstance(outcomes, Exception) else ModelUnusable(f"{self.name} ended with {outcomes!r}")
            outcomes = [error] * len(batch)
        latency = self._loop.time() - batch[0].sent
        for flight, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._failed(outcome, flight)
            else:
                self._answered(flight, outcome, latency)
        self.pump()

    async def _call(self, function: Callable[[], Any]) -> Any:
        future = self._loop.create_future()

        def done(result: Any) -> None:
            if future.done():
                return
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        self._thread.call(function, self._loop, done)
        return await future

    async def _stop_sending(self) -> None:
        """Let a batch under way end, or the start; it cannot be interrupted, only left."""
        end = self._loop.time() + _PATIENCE
        while self._thread.calls and self._loop.time() < end:
            await asyncio.sleep(0.01)

    async def _close_model(self) -> None:
        if not self._thread.calls:  # a model is not closed under a batch's feet
            await super()._close_model()
        self._thread.end()


def _ask(model: BatchModel, name: str, requests: Sequence[Request]) -> list[Outcome]:
    """One outcome per request. A batch that fails is halved until the requests that fail stand alone."""
    try:
        answers = list(model.generate_batch(requests))
    except (ModelUnusable, Transient) as e:
        return [e] * len(requests)
    except ModelError as e:
        failure: Exception = e
    except GuardevalError as e:
        return [e] * len(requests)
    except SystemExit as e:
        return [exited(f"model {name}", e)] * len(requests)
    except Exception as e:  # noqa: BLE001 - a plugin may raise anything, and half a batch may be what fits into memory
        failure = e
    else:
        if len(answers) != len(requests):
            wrong = f"{name}: generate_batch gave {len(answers)} answers to {len(requests)} requests; it must give one each"
            return [PluginError(wrong)] * len(requests)
        return list(answers)
    if len(requests) == 1:
        return [failure]
    half = len(requests) // 2
    return _ask(model, name, requests[:half]) + _ask(model, name, requests[half:])


class _Thread:
    """A thread that runs one call after another. A daemon: Ctrl-C need not wait for a long batch."""

    def __init__(self, name: str) -> None:
        self.calls = 0  # under way or waiting, as the loop knows
        self._name = name
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop, done: Callable[[Any], None]) -> None:
        """Run ``function`` in the thread and ``done`` on the loop, with its result or what it raised."""
        self.calls += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

        def heard(result: Any) -> None:
            self.calls -= 1
            done(result)

        def work() -> None:
            try:
                result = function()
            except BaseException as e:  # noqa: BLE001 - the loop's side decides; a dead thread would leave it waiting
                result = e
            try:
                loop.call_soon_threadsafe(heard, result)
            except RuntimeError:
                return  # the loop is closed: nobody waits

        self._queue.put(work)

    def end(self) -> None:
        self._queue.put(None)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
