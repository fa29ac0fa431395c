"""A request under way, and everyone who waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from guardeval.broker.answers import Settled
from guardeval.broker.counters import Counters
from guardeval.contracts import Request

if TYPE_CHECKING:
    from guardeval.broker.lane import Lane

__all__ = ["Flight", "Tower", "Waiting"]

Waiting = asyncio.Future[tuple[Settled, bool]]  # the answer, and whether it came free of charge: cached or shared


class Flight:
    """One distinct request on its way to one model. Who asked first pays; who joins later shares.

    A waiter that is cancelled leaves the others and the request alone: what is sent is paid for, so its answer is kept.
    """

    __slots__ = (
        "alone",
        "attempts",
        "counters",
        "failures",
        "first_sent",
        "joined",
        "key",
        "lane",
        "owner",
        "request",
        "reserved",
        "sent",
        "wing",
    )

    def __init__(self, key: bytes, request: Request, owner: Waiting, counters: Counters, lane: Lane) -> None:
        self.key = key
        self.request = request
        self.owner = owner
        self.counters = counters
        self.lane = lane
        self.joined: list[Waiting] | None = None
        self.attempts = 0  # sent so far
        self.failures = 0  # of those, failed in a way that counts
        self.first_sent = 0.0  # seconds of the loop's clock
        self.sent = 0.0  # the latest attempt
        self.reserved = 0.0  # US dollars set aside in the budget
        self.wing: list[Flight] | None = None  # the next draws of its question, asked for in the same request
        self.alone = False  # not to be asked for together with other draws any more

    def join(self, waiting: Waiting) -> None:
        if self.joined is None:
            self.joined = []
        self.joined.append(waiting)

    def is_wanted(self) -> bool:
        """Whether anyone still waits; a request that nobody wants is not sent."""
        return not self.owner.done() or any(not waiting.done() for waiting in self.joined or ())

    def resolve(self, settled: Settled, *, cached: bool) -> None:
        """Hand the answer to all who still wait, and count it."""
        completion, cost, counters = settled.completion, settled.cost or 0.0, self.counters
        if cached:
            counters.cached += 1
            counters.saved += cost
        else:
            counters.answered += 1
            counters.cost += cost
            counters.tokens_in += completion.tokens_in or 0
            counters.tokens_out += completion.tokens_out or 0
        if not self.owner.done():
            self.owner.set_result((settled, cached))
        if self.joined is not None:
            self._share(settled, cost, cached)

    def _share(self, settled: Settled, cost: float, cached: bool) -> None:
        for waiting in self.joined or ():
            if cached:
                self.counters.cached += 1
            else:
                self.counters.joined += 1
            self.counters.saved += cost
            if not waiting.done():
                waiting.set_result((settled, True))

    def fail(self, error: Exception) -> None:
        """Tell all who still wait that there will be no answer."""
        for waiting in (self.owner, *(self.joined or ())):
            if not waiting.done():
                self.counters.failed += 1
                waiting.set_exception(error)

    def cancel(self) -> None:
        """The run is over before the answer came."""
        for waiting in (self.owner, *(self.joined or ())):
            waiting.cancel()


class Tower(Protocol):
    """What a lane tells the broker."""

    def landed(self, flight: Flight, settled: Settled) -> None:
        """The model answered."""

    def lost(self, flight: Flight, error: Exception) -> None:
        """The model will not answer this request."""

    def grounded(self, lane: Lane, error: Exception) -> None:
        """The model will not answer any request; those under way may still land, to be kept."""

    def room_again(self) -> None:
        """Money that was set aside is free again: any lane may go on."""
