"""What the workers of one run share: the answers that were given, and the money that is left.

One desk a run, beside the cache's file. An answer is committed there before its worker hears of it, so that whatever is killed,
and whenever, only what was under way is paid for again. A desk answers in values, errors too, for they cross processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from guardeval.broker import Budget, BudgetSpent, Cache
from guardeval.errors import GuardevalError

__all__ = ["Desk", "SharedAnswers", "SharedBudget"]

Call = Callable[..., Any]  # a desk's method by its name, with its arguments; raises what it answered with


class Desk:
    """``cache``: the file of answers, None for none; ``max_cost``: US dollars for all workers together, None for no limit."""

    def __init__(self, cache: Path | None, max_cost: float | None) -> None:
        self._path, self._cache = cache, None if cache is None else Cache(cache)
        self._budget = None if max_cost is None else Budget(max_cost)
        self._reserved: dict[int, list[float]] = {}  # by worker

    def call(self, method: str, *arguments: Any) -> tuple[Any, GuardevalError | None]:
        """What the method returns, or the error that it raises."""
        try:
            return getattr(self, method)(*arguments), None
        except GuardevalError as e:
            return None, e

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return {} if self._cache is None else self._cache.get(keys)

    def put(self, rows: list[tuple[bytes, int, bytes]]) -> None:
        if self._cache is not None:
            self._cache.put(rows)

    def model_number(self, digest: bytes, name: str) -> int:
        return 0 if self._cache is None else self._cache.model_number(digest, name)

    def reserve(self, worker: int, cost: float) -> tuple[bool, str]:
        """Whether it fits, and why nothing new is sent any more ("" while something may)."""
        if self._budget is None:
            return True, ""
        fits = self._budget.reserve(cost)
        if fits:
            self._reserved.setdefault(worker, []).append(cost)
        return fits, "" if self._budget.closed is None else str(self._budget.closed)

    def release(self, worker: int, reserved: float, cost: float) -> None:
        held = self._reserved.get(worker, [])
        if self._budget is not None and reserved in held:
            held.remove(reserved)
            self._budget.release(reserved, cost)

    def forget(self, worker: int) -> None:
        """A worker is lost: what it had set aside may have been spent, and counts as spent."""
        for reserved in self._reserved.pop(worker, []):
            if self._budget is not None:
                self._budget.release(reserved, reserved)

    def close(self) -> None:
        if self._cache is not None:
            self._cache.close()


class SharedAnswers:
    """A worker's way to the answers at the desk: what a broker takes for its cache."""

    def __init__(self, call: Call, path: Path) -> None:
        self._call = call
        self.path = path

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self._call("get", list(keys))
        return found

    def put(self, rows: list[tuple[bytes, int, bytes]]) -> None:
        self._call("put", rows)

    def model_number(self, digest: bytes, name: str) -> int:
        return int(self._call("model_number", digest, name))

    def close(self) -> None:
        """The desk goes on for the others."""


class SharedBudget(Budget):
    """A worker's way to the money at the desk. What others release is heard of by asking again."""

    def __init__(self, call: Call, worker: int, max_cost: float) -> None:
        super().__init__(max_cost)
        self._call, self._worker = call, worker

    def reserve(self, cost: float) -> bool:
        if self.closed is not None:
            return False
        fits, closed = self._call("reserve", self._worker, cost)
        if closed:
            self.closed = BudgetSpent(closed)
        return bool(fits)

    def release(self, reserved: float, cost: float) -> None:
        self._call("release", self._worker, reserved, cost)
