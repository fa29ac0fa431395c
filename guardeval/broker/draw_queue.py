"""What waits to be sent to a model that draws several answers in one request."""

from __future__ import annotations

from collections import deque

from guardeval.broker.flight import Flight
from guardeval.contracts import Sampling

__all__ = ["DrawQueue"]


class DrawQueue(deque[Flight]):
    """First come, first served; knows which of those that wait are draws of the same question.

    Nothing is looked up before the first draw other than 0 is queued: a run that asks each question once pays nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._draws: dict[tuple[bytes, Sampling], dict[int, Flight]] | None = None  # by question, then by draw

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
        self._draws = None

    def next_draw(self, flight: Flight) -> Flight | None:
        """The draw after this one of the same question, if it waits and may go with others.

        In a row, because a server that is given a seed gives the n-th of its answers the n-th seed after it.
        """
        if self._draws is None:
            return None
        found = self._draws.get(_question(flight), {}).get(flight.request.draw + 1)
        return None if found is None or found.alone else found

    def _note(self, flight: Flight) -> None:
        if self._draws is not None:
            self._draws.setdefault(_question(flight), {})[flight.request.draw] = flight
        elif flight.request.draw:
            self._draws = {}
            for each in self:
                self._note(each)

    def _forget(self, flight: Flight) -> None:
        if self._draws is None:
            return
        question = _question(flight)
        draws = self._draws.get(question, {})
        draws.pop(flight.request.draw, None)
        if not draws:
            self._draws.pop(question, None)


def _question(flight: Flight) -> tuple[bytes, Sampling]:
    return flight.request.prompt.digest(), flight.request.sampling
