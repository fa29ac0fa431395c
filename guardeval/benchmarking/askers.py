"""What stands between solver and model while times are taken: shorter answers, batches of a given size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from guardeval.contracts import Asker, BatchModel, Completion, Request, Sampling, Traits
from guardeval.through import Through

__all__ = ["Capped", "FirstToken", "Heard", "Sized"]


class Capped(Through):
    """An asker whose answers have at most so many tokens."""

    def __init__(self, asker: Asker, max_tokens: int) -> None:
        super().__init__(asker)
        self._most = max_tokens

    async def generate(self, request: Request) -> Completion:
        return await self._asker.generate(replace(request, sampling=_capped(request.sampling, self._most)))


def _capped(sampling: Sampling, most: int) -> Sampling:
    return sampling if sampling.max_tokens <= most else replace(sampling, max_tokens=most)


class Heard(Exception):
    """Ends a solver after its first answer: no error, the solver need not go on."""


class FirstToken(Through):
    """Asks a solver's first request for one token, notes when it came, and stops the solver."""

    def __init__(self, asker: Asker, clock: Callable[[], float]) -> None:
        super().__init__(asker)
        self._clock = clock
        self.came: float | None = None  # by the clock

    async def generate(self, request: Request) -> Completion:
        await self._asker.generate(replace(request, sampling=replace(request.sampling, max_tokens=1, stop=())))
        self.came = self._clock() if self.came is None else self.came
        raise Heard


class Sized:
    """A local model as the broker sees it, with batches of at most ``size``; ``calls`` keeps how large they really were."""

    def __init__(self, model: BatchModel, size: int) -> None:
        self._model, self._size = model, size
        self.calls: list[int] = []

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its own: the broker shares one queue among equal models, and this one has other batches."""
        return {**self._model.identity, "bench_batch": self._size}

    @property
    def traits(self) -> Traits:
        return replace(self._model.traits, batch=self._size)

    def generate_batch(self, requests: Sequence[Request]) -> Sequence[Completion]:
        self.calls.append(len(requests))
        return self._model.generate_batch(requests)
