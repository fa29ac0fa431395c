"""Judging samples with a model at hand, without a run folder: what trainers stop on and optimizers compare."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from guardeval.broker import Broker
from guardeval.contracts import BatchModel, Case, Model, Solver
from guardeval.data import Judged, Outcome, Sample, Target, Verdict
from guardeval.errors import ModelError, ModelUnusable
from guardeval.judged import Judgements
from guardeval.policies import PolicySet

__all__ = ["judge"]


def judge(
    samples: Iterable[Sample],
    target: Target,
    policies: PolicySet,
    solver: Solver,
    model: Model | BatchModel,
    name: str = "model",
    each: Callable[[Judged], None] | None = None,
    cache: Path | None = None,
) -> Judgements:
    """What ``model`` says of the samples, in their order; ``each`` is called as soon as a sample is judged.

    ``cache``: file of answers that are not asked for again, None for none.

    A sample that the model refuses is a FAILED verdict; :class:`ModelUnusable` ends it, as in a run.
    """
    numbered = enumerate(samples)
    found: dict[int, Judged] = {}

    async def ask() -> None:
        async with Broker(cache=cache) as broker:
            bound = broker.bind(model, name)

            async def work(rows: Iterator[tuple[int, Sample]]) -> None:
                for place, sample in rows:
                    asker = bound.asker()
                    verdict = await _verdict(solver, Case(sample, target, policies), asker)
                    found[place] = Judged(sample, verdict, asker.usage())
                    if each is not None:
                        each(found[place])

            async with asyncio.TaskGroup() as group:
                for _ in range(bound.parallel):
                    group.create_task(work(numbered))

    try:
        asyncio.run(ask())
    except BaseExceptionGroup as problems:
        raise problems.exceptions[0] from None
    return Judgements.of([found[i] for i in sorted(found)], target, policies.names)


async def _verdict(solver: Solver, case: Case, asker: object) -> Verdict:
    try:
        return await solver.solve(case, asker)  # type: ignore[arg-type]
    except ModelUnusable:
        raise
    except ModelError as e:
        return Verdict(case.target, Outcome.FAILED, raw=str(e))
