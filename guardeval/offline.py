"""Answers by a provider's batch service: everything a run would ask, handed in at once, its answers put into the cache.

After that the run asks the cache only. What is under way survives the process (:mod:`guardeval.offline_ledger`).
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from guardeval.broker import Bound, Broker, BudgetSpent
from guardeval.broker.answers import Settled, pack
from guardeval.broker.budget import Budget, estimated_tokens
from guardeval.broker.cache import Cache
from guardeval.broker.keys import Keys, identity_digest
from guardeval.contracts import BatchModel, Completion, Model, OfflineModel, OfflineState, OfflineStatus, Request, Traits
from guardeval.errors import ConfigError, ModelError, ModelUnusable, Transient
from guardeval.offline_ledger import Entry, Ledger
from guardeval.party import Party
from guardeval.pipeline import foresee

if TYPE_CHECKING:
    from guardeval.pipeline import Plan

__all__ = ["AnsweredParty", "Offline", "answer_offline", "offline_model"]

_FIRST_PAUSE, _GROWTH, _LONGEST_PAUSE = 0.5, 1.5, 60.0  # seconds between two looks
_MOST_FAILURES = 20  # looks in a row that the server did not answer
_TRIES = 5  # of handing a submission in
Tell = Callable[[str], None]
T = TypeVar("T")


def offline_model(party: Party) -> OfflineModel:
    """The party's only model. Raises :class:`ConfigError` where it has no batch service."""
    model = party.seats[0].model
    if party.combined or not hasattr(type(model), "submit"):
        raise ConfigError(f"--batch: {party.name} has no batch service; leave --batch out, or use openai/NAME")
    return cast(OfflineModel, model)


@dataclass
class Offline:
    """What became of handing in: answers are in the cache, these are the others."""

    answered: int = 0
    cost: float | None = 0.0  # US dollars of what was fetched
    errors: dict[bytes, ModelError] = field(default_factory=dict)  # by key
    unaffordable: BudgetSpent | None = None


def answer_offline(plan: Plan, party: Party, cache: Path, max_cost: float | None, tell: Tell) -> Offline:
    """Fill the cache with the answers to everything that a run of the plan would ask, waiting as long as it takes.

    Requests that a submission under way holds already are waited for, whoever handed them in; of the others only as many are
    handed in as ``max_cost`` pays for. Raises :class:`ModelUnusable` where the service cannot be reached: a later call goes on.
    """
    return asyncio.run(_Submitting(plan, party, cache, max_cost, tell).run())


class _Submitting:
    def __init__(self, plan: Plan, party: Party, cache: Path, max_cost: float | None, tell: Tell) -> None:
        self.plan, self.party, self.cache, self.max_cost, self.tell = plan, party, cache, max_cost, tell
        self.model = offline_model(party)
        self.ledger = Ledger(cache)
        self.out = Offline()
        self.requests: dict[str, Request] = {}  # what is wanted and not in the cache, by name
        self._digest = b""
        if max_cost is not None:
            Budget.check(party.name, self.model.traits)

    async def run(self) -> Offline:
        async with Broker(cache=self.cache, dry=True, listed=True) as broker:
            await foresee(self.plan, self.party, broker)
            self.requests = {key.hex(): request for key, request in broker.unsent.items()}
        if not self.requests:
            return self.out
        self._digest = identity_digest(dict(self.model.identity), self.party.name)
        start, close = getattr(self.model, "start", None), getattr(self.model, "close", None)
        try:
            if start is not None:
                await start()
            with self.ledger.held():
                pending = await self._known()
                pending += await self._hand_in({n for e in pending for n in e.names})
            await self._collect(pending)
        finally:
            if close is not None:
                await close()
        return self.out

    # ── what is under way, and what is not ──

    async def _known(self) -> list[Entry]:
        """Entries that hold a request that is wanted; one that was never heard of at the provider is forgotten."""
        out = []
        for entry in self.ledger.entries():
            if not any(name in self.requests for name in entry.names):
                continue
            if entry.id is None:
                found = await self._patiently(lambda mark=entry.mark: self.model.find(mark))  # type: ignore[misc]
                if found is None:
                    self.ledger.drop(entry)
                    continue
                entry = self.ledger.known(entry, found)
            self.tell(f"{entry.shown}: handed in {entry.since}, waited for")
            out.append(entry)
        return out

    async def _hand_in(self, covered: set[str]) -> list[Entry]:
        out = []
        for chunk in _chunks(self._affordable(covered), self.model):
            names = [name for name, _ in chunk]
            entry = Entry.new(self.party.name, names)
            self.ledger.put(entry)
            entry = self.ledger.known(entry, await self._submit([line for _, line in chunk], entry))
            self.tell(f"{entry.shown}: {len(names)} requests handed in")
            out.append(entry)
        return out

    def _affordable(self, covered: set[str]) -> Iterator[tuple[str, bytes]]:
        """The requests to hand in, each by what it may cost at most."""
        left = self.max_cost
        for name, request in self.requests.items():
            if name in covered:
                continue
            if left is not None and self.out.unaffordable is None:
                left -= self._cost(estimated_tokens(request), request.sampling.max_tokens) or 0.0
                if left < 0:
                    self.out.unaffordable = BudgetSpent(
                        f"stopped before max_cost: the batch's next request could cost more than is left of ${self.max_cost}; "
                        "what was answered is kept in the cache: run the same command with a larger max_cost to go on"
                    )
            if self.out.unaffordable is None:
                yield name, self.model.offline_line(name, request)

    async def _submit(self, lines: Sequence[bytes], entry: Entry) -> str:
        """Hand in; where the server broke off, look whether it has it before handing it in again."""
        tried = 0
        while True:
            tried += 1
            try:
                return await self.model.submit(lines, entry.mark)
            except Transient as e:
                if tried >= _TRIES:
                    raise ModelUnusable(f"{self.party.name}: the batch could not be handed in: {e}") from e
                await asyncio.sleep(_pause(tried) if e.retry_after is None else e.retry_after)
            except ModelUnusable:
                self.ledger.drop(entry)
                raise
            except ModelError as e:
                self.ledger.drop(entry)
                raise ModelUnusable(f"{self.party.name} takes no such batch: {e}") from e
            found = await self._patiently(lambda: self.model.find(entry.mark))
            if found is not None:
                return found

    # ── waiting and fetching ──

    async def _collect(self, pending: list[Entry]) -> None:
        said: dict[str, str] = {}
        for look in itertools.count(1):
            for entry in list(pending):
                status = await self._patiently(lambda e=entry: self.model.status(str(e.id)))  # type: ignore[misc]
                line = f"{entry.shown}: {_progress(status)}"
                if said.get(entry.mark) != line:
                    self.tell(line)
                    said[entry.mark] = line
                if status.state is not OfflineState.WAITING:
                    await self._settle(entry, status)
                    pending.remove(entry)
            if not pending:
                return
            await asyncio.sleep(_pause(look))

    async def _settle(self, entry: Entry, status: OfflineStatus) -> None:
        found: Mapping[str, Completion | ModelError] = {}
        if status.state is OfflineState.ENDED:
            found = await self._patiently(lambda: self.model.fetch(str(entry.id), self.requests))
        why = (
            status.words
            if status.state is OfflineState.REFUSED
            else f"the batch ended ({status.words}) without an answer to it"
        )
        errors = {name: ModelError(f"{entry.shown}: {why}") for name in entry.names}
        errors |= {name: e for name, e in found.items() if isinstance(e, ModelError)}
        heard = {name: c for name, c in found.items() if isinstance(c, Completion) and name in errors}
        self._keep(heard)
        self.out.errors |= {bytes.fromhex(name): e for name, e in errors.items() if name not in heard}
        self.ledger.drop(entry)  # only now: what is fetched is kept
        self.tell(f"{entry.shown}: {len(heard)} answered, {len(errors) - len(heard)} not")

    def _keep(self, heard: Mapping[str, Completion]) -> None:
        cache = Cache(self.cache)
        try:
            number = cache.model_number(self._digest, self.party.name)
            rows = []
            for name, completion in heard.items():
                cost = None
                if completion.tokens_in is not None and completion.tokens_out is not None:
                    cost = self._cost(completion.tokens_in, completion.tokens_out)
                self.out.cost = None if cost is None or self.out.cost is None else self.out.cost + cost
                rows.append((bytes.fromhex(name), number, pack(Settled(completion, math.nan, cost))))
            if rows:
                cache.put(rows)
        finally:
            cache.close()
        self.out.answered += len(heard)

    def _cost(self, tokens_in: int, tokens_out: int) -> float | None:
        price = self.model.traits.price
        return None if price is None else self.model.offline.price * (tokens_in * price[0] + tokens_out * price[1]) / 1e6

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        failed = 0
        while True:
            failed += 1
            try:
                return await ask()
            except Transient as e:
                if failed >= _MOST_FAILURES:
                    again = f"what is handed in is kept in {self.ledger.path}: the same command goes on from there"
                    raise ModelUnusable(f"{self.party.name}: the batch service stopped answering: {e}; {again}") from e
                await asyncio.sleep(_pause(failed) if e.retry_after is None else e.retry_after)
            except ModelError as e:
                raise ModelUnusable(f"{e}; batches that are handed in stand in {self.ledger.path}") from e


def _pause(n: int) -> float:
    return float(min(_FIRST_PAUSE * _GROWTH ** min(n - 1, 30), _LONGEST_PAUSE))


def _progress(status: OfflineStatus) -> str:
    counted = f", {status.done} of {status.total}" if status.total else ""
    return (status.words or str(status.state)) + counted


def _chunks(lines: Iterator[tuple[str, bytes]], model: OfflineModel) -> Iterator[list[tuple[str, bytes]]]:
    """Lines in order, as many a chunk as the provider takes."""
    limits, chunk, size = model.offline, [], 0  # type: ignore[var-annotated]
    for name, line in lines:
        if chunk and (len(chunk) >= limits.requests or size + len(line) > limits.size):
            yield chunk
            chunk, size = [], 0
        chunk.append((name, line))
        size += len(line)
    if chunk:
        yield chunk


class _Answered:
    """The model after its batches: whatever is not in the cache was not answered, and is not asked again at full price."""

    def __init__(self, model: Model | BatchModel, name: str, offline: Offline) -> None:
        self._model, self._name, self._offline = model, name, offline
        self._keys: Keys | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        return self._model.identity

    @property
    def traits(self) -> Traits:
        return replace(self._model.traits, timed=False, draws=1)  # how long a batch takes says nothing about the model

    async def generate(self, request: Request) -> Completion:
        if self._keys is None:
            self._keys = Keys(identity_digest(dict(self.identity), self._name))
        known = self._offline.errors.get(self._keys.key(request))
        if known is None and self._offline.unaffordable is not None:
            raise self._offline.unaffordable
        raise known or ModelError("not part of the batch: run the same command again to have it asked")


@dataclass(frozen=True)
class AnsweredParty(Party):
    """A party of one whose model was asked by batches."""

    offline: Offline = field(default_factory=Offline)

    def bind(self, broker: Broker) -> Bound:
        (seat,) = self.seats
        return broker.bind(cast(Model, _Answered(seat.model, self.name, self.offline)), seat.spec.name)
