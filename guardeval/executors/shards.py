"""Which shard is where, whose turn it is, and what a lost worker means: bookkeeping, with no cluster in it.

A shard is a stretch of rows by its number, from 0, in source order. It is handed to one worker at a time, accepted once, and
handed out again when its worker is lost. Only the shard that a worker was at is held responsible for its end.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["InOrder", "Ledger", "Poison"]

T = TypeVar("T")


class Poison(Exception):
    """A shard has cost more workers than it may: its number and how many."""

    def __init__(self, shard: int, workers: int) -> None:
        super().__init__(shard, workers)
        self.shard, self.workers = shard, workers


class Ledger:
    """Shards and the workers that hold them. ``retries``: how often a shard may be handed out again after it lost a worker."""

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._held: dict[int, deque[int]] = {}  # worker → shards, first the one it is at
        self._again: deque[int] = deque()
        self._charged: Counter[int] = Counter()
        self._accepted: set[int] = set()  # those beyond the first gap
        self._before = 0  # all shards below it are accepted
        self._next = 0
        self.redone = 0

    @property
    def outstanding(self) -> int:
        """Shards that workers hold."""
        return sum(map(len, self._held.values()))

    @property
    def unfinished(self) -> bool:
        """Whether a shard that was begun is not accepted yet."""
        return bool(self._again) or self.outstanding > 0

    def holds(self, worker: int) -> int:
        """How many shards a worker has."""
        return len(self._held.get(worker, ()))

    def again(self, worker: int) -> int | None:
        """A shard to be done again, handed to the worker; None where there is none."""
        if not self._again:
            return None
        shard = self._again.popleft()
        self._held.setdefault(worker, deque()).append(shard)
        return shard

    def fresh(self, worker: int) -> int:
        """The number of the next shard, handed to the worker."""
        shard, self._next = self._next, self._next + 1
        self._held.setdefault(worker, deque()).append(shard)
        return shard

    def done(self, worker: int, shard: int) -> bool:
        """A worker has finished a shard. True: accept what it made; False: somebody else's was accepted before."""
        held = self._held.get(worker)
        if held is None or shard not in held:
            return False  # it was given up for lost
        held.remove(shard)
        self._accepted.add(shard)
        while self._before in self._accepted:
            self._accepted.remove(self._before)
            self._before += 1
        return True

    def lost(self, worker: int) -> None:
        """A worker is gone: its shards are done again, first the one it was at. Raises :class:`Poison` where that one has
        taken too many."""
        held = self._held.pop(worker, deque())
        self._again.extendleft(reversed(held))
        self.redone += len(held)
        if held:
            self._charged[held[0]] += 1
            if self._charged[held[0]] > self._retries:
                raise Poison(held[0], self._charged[held[0]])


class InOrder(Generic[T]):
    """Hands parts on in the order of their numbers, holding back at most ``most`` bytes of those that came early.

    Beyond that they are handed on as they are: who takes them sorts them in the end.
    """

    def __init__(self, size: Callable[[T], int], most: int) -> None:
        self._size, self._most = size, most
        self._held: dict[int, T] = {}
        self._bytes = 0
        self._next = 0

    def put(self, number: int, part: T) -> Iterator[T]:
        """Keep a part; yields those whose turn it is now, or was."""
        if number < self._next:
            yield part
            return
        self._held[number] = part
        self._bytes += self._size(part)
        while self._next in self._held:
            yield self._pop(self._next)
        if self._bytes > self._most:
            yield from self.rest()

    def rest(self) -> Iterator[T]:
        """All that is held, in the order of the numbers."""
        for number in sorted(self._held):
            yield self._pop(number)

    def _pop(self, number: int) -> T:
        part = self._held.pop(number)
        self._bytes -= self._size(part)
        self._next = max(self._next, number + 1)
        return part
