"""What waits to be sent to a model that draws several answers in one request."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from guardeval.broker.flight import Flight
from guardeval.contracts import Sampling

__all__ = ["DrawQueue"]


class DrawQueue(deque[Flight]):
    """First come, first served; knows which of those that wait are draws of the same question."""

    def __init__(self, waiting: Iterable[Flight] = ()) -> None:
        super().__init__(waiting)
        self._draws: dict[tuple[bytes, Sampling], dict[int, Flight]] = {}  # by question, then by draw
        for flight in self:
            self._note(flight)

    def append(self, flight: Flight, /) -> None:
        super().append(flight)
        self._note(flight)

    def appendleft(self, flight: Flight, /) -> None:
        super().appendleft(flight)
        self._note(flight)

    def popleft(self) -> Flight:
        flight = super().popleft()
        self._forget(flight)
        return flight

    def remove(self, flight: Flight, /) -> None:
        super().remove(flight)  # a neighbour of the head as a rule: found at once
        self._forget(flight)

    def clear(self) -> None:
        super().clear()
        self._draws.clear()

    def next_draw(self, flight: Flight) -> Flight | None:
        """The draw after this one of the same question, if it waits and may go with others.

        In a row, because a server that is given a seed gives the n-th of its answers the n-th seed after it.
        """
        found = self._draws.get(_question(flight), {}).get(flight.request.draw + 1)
        return None if found is None or found.alone else found

    def _note(self, flight: Flight) -> None:
        self._draws.setdefault(_question(flight), {})[flight.request.draw] = flight

    def _forget(self, flight: Flight) -> None:
        question = _question(flight)
        draws = self._draws.get(question, {})
        draws.pop(flight.request.draw, None)
        if not draws:
            self._draws.pop(question, None)


def _question(flight: Flight) -> tuple[bytes, Sampling]:
    return flight.request.prompt.digest(), flight.request.sampling
