"""A model bound to a broker, and what one sample sees of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from guardeval.broker.counters import Estimate
from guardeval.broker.keys import Keys, identity_digest
from guardeval.broker.lane import Lane
from guardeval.contracts import BatchModel, Completion, Exchange, Model, Request, Traits
from guardeval.data import Usage
from guardeval.errors import ModelError

if TYPE_CHECKING:
    from guardeval.broker.broker import Broker

__all__ = ["Bound", "SampleAsker", "total", "usage_of"]

_N = TypeVar("_N", int, float)


class Bound:
    """One model under one name."""

    def __init__(self, broker: Broker, lane: Lane, model: Model | BatchModel, name: str) -> None:
        self.model = model
        self.name = name
        self._broker = broker
        self._lane = lane
        self._keys: Keys | None = None
        self._identity: Mapping[str, Any] | None = None

    @property
    def traits(self) -> Traits:
        return self._lane.traits

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model's identity, read once: when it is first needed, at the latest for the first request."""
        if self._identity is None:
            self._identity = dict(self.model.identity)
        return self._identity

    @property
    def estimate(self) -> Estimate:
        """What a dry run foresees for this model, under whatever names it was bound."""
        return self._lane.estimate

    @property
    def parallel(self) -> int:
        """How many samples to have under way at once to keep the model busy."""
        return self._lane.parallel

    def asker(self) -> SampleAsker:
        """The model for one sample: its exchanges tell what the sample took."""
        return SampleAsker(self)

    async def start(self) -> None:
        """Make the model ready now, not at the first request that the cache cannot answer. Nothing in a dry run.

        Raises :class:`ModelUnusable` where no request can succeed.
        """
        if not self._broker.dry:
            await self._lane.start()

    def key(self, request: Request) -> bytes:
        """The request's key in the cache. Raises :class:`PluginError` for a model whose identity is not JSON."""
        if self._keys is None:
            digest = identity_digest(self.identity, self.name)
            self._lane = self._broker.lane_of(digest, self._lane)
            self._lane.digest = digest
            self._keys = Keys(digest, self.traits.classifies, self.traits.per_sample)
        return self._keys.key(request)

    @property
    def lane(self) -> Lane:
        return self._lane


class SampleAsker:
    """An :class:`~guardeval.contracts.Asker` that keeps the exchanges of one sample, in the order of their answers."""

    __slots__ = ("_bound", "_unheard", "exchanges")

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._unheard = False
        self.exchanges: list[Exchange] = []

    @property
    def name(self) -> str:
        return self._bound.name

    @property
    def traits(self) -> Traits:
        return self._bound.traits

    async def generate(self, request: Request) -> Completion:
        """What the model says. Raises :class:`ModelError` for this request, anything else for the run."""
        try:
            settled, free = await self._bound._broker.ask(self._bound, request)
        except ModelError:
            self._unheard = True
            raise
        self.exchanges.append(Exchange(request, settled.completion, settled.latency, settled.cost, free, settled.attempts))
        return settled.completion

    def usage(self) -> Usage:
        """Sums over the exchanges; a sum of which a part is unknown is None, as all are where a request was not answered."""
        usage = usage_of(self.exchanges, self._unheard)
        return usage if self._bound.traits.timed else replace(usage, latency=None)


def usage_of(exchanges: Sequence[Exchange], unheard: bool = False) -> Usage:
    """Sums over exchanges; a sum of which a part is unknown is None. ``unheard``: what a request took besides is not known."""
    if unheard:
        return Usage(len(exchanges), sum(e.cached for e in exchanges))
    if len(exchanges) == 1:
        e = exchanges[0]
        return Usage(1, int(e.cached), e.latency, e.completion.tokens_in, e.completion.tokens_out, e.cost)
    return Usage(
        len(exchanges),
        sum(e.cached for e in exchanges),
        sum(e.latency for e in exchanges),
        _sum(e.completion.tokens_in for e in exchanges),
        _sum(e.completion.tokens_out for e in exchanges),
        _sum(e.cost for e in exchanges),
    )


def total(usages: Sequence[Usage | None]) -> Usage:
    """Sums over what several took; a sum of which a part is unknown is None."""
    known = [u for u in usages if u is not None]
    counted = (sum(u.requests for u in known), sum(u.cached for u in known))
    if len(known) < len(usages):
        return Usage(*counted)
    sums = (_sum(getattr(u, name) for u in known) for name in ("latency", "tokens_in", "tokens_out", "cost"))
    return Usage(*counted, *sums)


def _sum(values: Iterable[_N | None]) -> _N | None:
    total: Any = 0
    for value in values:
        if value is None:
            return None
        total += value
    return cast(_N, total)
