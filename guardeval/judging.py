"""Judging samples with a model at hand, without a run folder: what trainers stop on and optimizers compare."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from guardeval.broker import Bound, Broker
from guardeval.contracts import BatchModel, Case, Model, Solver
from guardeval.data import Judged, Sample, Target
from guardeval.judged import Judgements
from guardeval.policies import PolicySet
from guardeval.sealed import shown_to
from guardeval.unheard import heard

__all__ = ["Judging", "judge"]


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
    with Judging(model, name, cache) as judging:
        return judging.ask(samples, target, policies, solver, each)


class Judging:
    """A model that stays loaded while it is asked again and again: ``with Judging(model) as judging: judging.ask(…)``."""

    def __init__(self, model: Model | BatchModel, name: str = "model", cache: Path | None = None) -> None:
        self._model, self._name, self._cache = model, name, cache

    def __enter__(self) -> Judging:
        self._runner = asyncio.Runner()
        self._broker, self._bound = self._runner.run(self._opened())
        return self

    def __exit__(self, *problem: object) -> None:
        try:
            self._runner.run(self._broker.close())
        finally:
            self._runner.close()

    async def _opened(self) -> tuple[Broker, Bound]:
        broker = await Broker(cache=self._cache).__aenter__()
        return broker, broker.bind(self._model, self._name)

    def ask(
        self,
        samples: Iterable[Sample],
        target: Target,
        policies: PolicySet,
        solver: Solver,
        each: Callable[[Judged], None] | None = None,
        parallel: int | None = None,
    ) -> Judgements:
        """As :func:`judge`. ``parallel``: samples under way at once, as many as keep the model busy where None."""
        numbered = enumerate(samples)
        found: dict[int, Judged] = {}
        shown = shown_to(solver)

        async def work() -> None:
            for place, sample in numbered:
                asker = self._bound.asker()
                verdict = await heard(solver.solve(Case(shown(sample), target, policies), asker), target)
                found[place] = Judged(sample, verdict, asker.usage())
                if each is not None:
                    each(found[place])

        async def ask() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(parallel or self._bound.parallel):
                    group.create_task(work())

        try:
            self._runner.run(ask())
        except BaseExceptionGroup as problems:
            raise problems.exceptions[0] from None
        return Judgements.of([found[i] for i in sorted(found)], target, policies.names)
