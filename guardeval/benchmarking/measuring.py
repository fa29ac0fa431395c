"""One cell, measured: workers ask one query after another, a clock that never goes back tells how long each took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from guardeval.benchmarking.askers import Capped, FirstToken, Heard
from guardeval.benchmarking.cells import Cell, Kind
from guardeval.broker import Bound, SampleAsker
from guardeval.contracts import Asker, Case, Solver
from guardeval.data import Sample, Target, Verdict
from guardeval.errors import ModelError, ModelUnusable
from guardeval.policies import PolicySet
from guardeval.sealed import sealed

__all__ = ["Query", "Question", "Reading", "measure"]

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Query:
    """One sample judged: seconds from asking to verdict, all requests and waits included."""

    seconds: float
    failed: bool  # never heard: ``seconds`` says when that was known
    right: bool | None = None  # by the gold label, no verdict is wrong; None without a label or a question
    tokens_in: int | None = None
    tokens_out: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One cell in one round: its queries in the order of the samples, and the seconds from the first to the last."""

    cell: Cell
    turn: int  # which round, from 0
    queries: tuple[Query, ...]
    seconds: float
    calls: tuple[int, ...] = ()  # prompts in each call of a local model, where batches were sized

    @property
    def heard(self) -> int:
        return sum(not q.failed for q in self.queries)


@dataclass(frozen=True, slots=True)
class Question:
    """How samples are asked, the same in every cell."""

    solver: Solver
    target: Target
    policies: PolicySet
    max_tokens: int | None = None

    def case(self, sample: Sample) -> Case:
        return Case(sealed(sample), self.target, self.policies)


async def measure(
    cell: Cell, turn: int, samples: Sequence[Sample], bound: Bound, workers: int, question: Question, clock: Clock
) -> Reading:
    """Ask all samples, ``workers`` at a time. Raises :class:`ModelUnusable` where no request can succeed."""
    one = _first_token if cell.kind is Kind.FIRST_TOKEN else _judged
    left = iter(enumerate(samples))
    found: dict[int, Query] = {}

    async def work(rows: Iterator[tuple[int, Sample]]) -> None:
        for place, sample in rows:
            found[place] = await one(sample, bound, question, clock)

    began = clock()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(samples))):
                group.create_task(work(left))
    except BaseExceptionGroup as problems:
        raise problems.exceptions[0] from None
    return Reading(cell, turn, tuple(found[i] for i in range(len(samples))), clock() - began)


async def _judged(sample: Sample, bound: Bound, question: Question, clock: Clock) -> Query:
    asker = bound.asker()
    began = clock()
    try:
        verdict: Verdict | None = await question.solver.solve(question.case(sample), _asker(asker, question))
    except ModelUnusable:
        raise
    except ModelError:
        verdict = None
    seconds = clock() - began
    gold = sample.labels.get(question.target)
    right = None if gold is None else verdict is not None and verdict.label is gold
    if verdict is None:
        return Query(seconds, True, right)
    usage = asker.usage()
    return Query(seconds, False, right, usage.tokens_in, usage.tokens_out)


def _asker(asker: SampleAsker, question: Question) -> Asker:
    return asker if question.max_tokens is None else Capped(asker, question.max_tokens)


async def _first_token(sample: Sample, bound: Bound, question: Question, clock: Clock) -> Query:
    """The time of the first request, limited to one token."""
    asker = FirstToken(bound.asker(), clock)
    began = clock()
    try:
        await question.solver.solve(question.case(sample), asker)
    except ModelUnusable:
        raise
    except (Heard, ModelError, BaseExceptionGroup):  # a group: of a solver that asks several questions at once
        pass
    return Query(clock() - began, True) if asker.came is None else Query(asker.came - began, False)
