"""Asking many questions at once, answers in the order of the questions; a spent budget ends it and keeps what was heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from guardeval.broker import Bound, BudgetSpent
from guardeval.contracts import Case, Completion, Solver
from guardeval.data import Judged, Outcome, Sample, Target, Usage, Verdict
from guardeval.errors import ModelError, ModelUnusable
from guardeval.pipeline import Progress
from guardeval.policies import PolicySet
from guardeval.synthesis.kinds import Slot, request_for
from guardeval.synthesis.settings import SynthesisSettings
from guardeval.unheard import heard

__all__ = ["Heard", "judged_by", "written_by"]

Q = TypeVar("Q")
A = TypeVar("A")


class Heard(Generic[A]):
    """Answers in the order of the questions, None where the money ended before; ``stopped`` says that it did."""

    def __init__(self, n: int) -> None:
        self.answers: list[A | None] = [None] * n
        self.stopped = False


async def _each(questions: Sequence[Q], parallel: int, ask: Callable[[Q], Awaitable[A]]) -> Heard[A]:
    heard: Heard[A] = Heard(len(questions))
    numbered = iter(enumerate(questions))

    async def work() -> None:
        for i, question in numbered:
            try:
                heard.answers[i] = await ask(question)
            except BudgetSpent:
                heard.stopped = True
                return

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(parallel, len(questions))):
                group.create_task(work())
    except BaseExceptionGroup as problems:
        raise problems.exceptions[0] from None
    return heard


async def written_by(
    generator: Bound, slots: Sequence[Slot], policies: PolicySet, settings: SynthesisSettings, progress: Progress
) -> Heard[Completion | ModelError]:
    """What the generator writes for each slot, or why it could not be heard on it."""
    from guardeval.contracts import Sampling

    sampling = Sampling(settings.max_tokens, settings.temperature, seed=settings.seed)

    async def ask(slot: Slot) -> Completion | ModelError:
        asker = generator.asker()
        try:
            answer: Completion | ModelError = await asker.generate(request_for(slot, policies, settings.each, sampling))
        except ModelUnusable:
            raise
        except ModelError as e:
            answer = e
        progress.sample(_watched(slot.seed.sample, isinstance(answer, ModelError), asker.usage()))
        return answer

    return await _each(slots, generator.parallel, ask)


def _watched(sample: Sample, failed: bool, usage: Usage) -> Judged:
    """A question to the generator as whoever watches takes it: nothing was judged."""
    outcome = Outcome.FAILED if failed else Outcome.UNPARSEABLE
    return Judged(Sample(sample.id, sample.index, ""), Verdict(Target.PROMPT, outcome), usage)


async def judged_by(
    verifier: Bound, solver: Solver, samples: Sequence[Sample], policies: PolicySet, progress: Progress
) -> Heard[Verdict]:
    """The verdict of one verifier on each sample; FAILED where it was not heard."""

    async def ask(sample: Sample) -> Verdict:
        asker = verifier.asker()
        case = Case(sample, Target.PROMPT, policies)
        verdict = await heard(solver.solve(case, asker), case.target)
        progress.sample(Judged(sample, verdict, asker.usage()))
        return verdict

    return await _each(samples, verifier.parallel, ask)
