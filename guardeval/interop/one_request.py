"""A solver without a model: what it would ask about a case, and what it makes of an answer that came some other way.

Nothing here looks at a solver's name: it is asked to solve, and what it asks for is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from guardeval.contracts import Case, Completion, Request, Solver, Traits
from guardeval.data import Verdict
from guardeval.errors import ConfigError, GuardevalError

__all__ = ["all_requests", "only_request", "read_answer"]


class _Asked(Exception):
    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


class _Stopping:
    """An asker at which a solver ends as soon as it asks."""

    def __init__(self, name: str, traits: Traits) -> None:
        self.name, self.traits = name, traits

    async def generate(self, request: Request) -> Completion:
        raise _Asked(request)


class _Answering:
    """An asker that says one thing, whatever it is asked, and keeps what it was asked; ``most``: requests it answers."""

    def __init__(self, name: str, traits: Traits, completion: Completion, most: int | None = None) -> None:
        self.name, self.traits = name, traits
        self.requests: list[Request] = []
        self._completion, self._most = completion, most

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        if self._most is not None and len(self.requests) > self._most:
            raise ConfigError(f"the solver asks more than {self._most} time about {request.case.sample.id!r}")
        return self._completion


def only_request(solver: Solver, case: Case, traits: Traits, name: str = "model") -> Request:
    """What a solver that asks once asks about a case. Raises :class:`ConfigError` for one that asks nothing, or waits."""
    try:
        _driven(solver.solve(case, _Stopping(name, traits)))
    except _Asked as asked:
        return asked.request
    raise ConfigError(f"the solver asks nothing about sample {case.sample.id!r}")


def read_answer(solver: Solver, case: Case, completion: Completion, traits: Traits, name: str = "model") -> Verdict:
    """The verdict that a solver which asks once reads from an answer."""
    return _driven(solver.solve(case, _Answering(name, traits, completion, 1)))


def all_requests(
    solver: Solver, case: Case, traits: Traits, answers: Sequence[str], name: str = "model"
) -> list[list[Request]]:
    """What a solver asks about a case, for each answer that it may get to every question.

    Raises the solver's own :class:`GuardevalError` where a model with these traits cannot be asked at all.
    """
    return [asyncio.run(_requests(solver, case, _Answering(name, traits, Completion(text)))) for text in answers]


async def _requests(solver: Solver, case: Case, asker: _Answering) -> list[Request]:
    try:
        await solver.solve(case, asker)
    except GuardevalError:
        if not asker.requests:
            raise
    return asker.requests


def _driven(solving: Coroutine[Any, Any, Verdict]) -> Verdict:
    """The result of a coroutine that never has to wait; no event loop is needed, so it also works inside one."""
    try:
        solving.send(None)
    except StopIteration as done:
        found: Verdict = done.value
        return found
    solving.close()
    raise ConfigError("the solver waits for something else than its one answer")
