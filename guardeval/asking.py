"""Samples of one task, asked: the inner loop of a run, the same wherever it is done."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardeval.broker import BudgetSpent
from guardeval.contamination import Marker
from guardeval.contracts import Case, Exchange, Solver
from guardeval.data import Judged, Outcome, Sample, Target, Verdict
from guardeval.errors import GuardevalError, ModelError, ModelUnusable, PluginError
from guardeval.lost_votes import LostVotes
from guardeval.plugin_exit import exited
from guardeval.sealed import shown_to

if TYPE_CHECKING:
    from guardeval.broker import Bound
    from guardeval.panel import BoundPanel
    from guardeval.policies import PolicySet

__all__ = ["Asking", "Heard", "Keep", "ask", "few_collections"]

Keep = Callable[[Judged, Sequence[Exchange]], None]  # takes a judged sample, with what was asked and said


@dataclass(frozen=True)
class Asking:
    """How the samples of one task are asked."""

    target: Target
    policies: PolicySet
    solver: Solver
    bound: Bound | BoundPanel


@dataclass
class Heard:
    """What was heard of one task beside its samples."""

    marker: Marker
    lost: LostVotes = field(default_factory=LostVotes)
    first_error: str = ""  # of a sample that was never heard

    def look(self, verdict: Verdict) -> None:
        if verdict.outcome is Outcome.FAILED and not self.first_error:
            self.first_error = verdict.raw
        self.lost.look(verdict)


async def ask(asking: Asking, samples: Iterator[Sample], marker: Marker, keep: Keep) -> bool:
    """Judge the samples and hand each to ``keep`` as soon as it is judged; False where the money limit ended it.

    Workers over one iterator, not a task a sample: a hundred thousand rows stay as light as one.
    Raises the :class:`GuardevalError` that ends the run: a model that cannot be used, a solver that broke.
    """
    target, policies, solver, bound = asking.target, asking.policies, asking.solver, asking.bound
    shown, spent = shown_to(solver), False

    async def work() -> None:
        nonlocal spent
        for sample in samples:
            asker = bound.asker()
            case = Case(shown(sample), target, policies)
            try:
                verdict = await solver.solve(case, asker)
            except BudgetSpent:  # the others finish what is under way and paid for, then stop by themselves
                spent = True
                return
            except (Exception, SystemExit) as e:  # noqa: BLE001 - told apart there: a sample that failed, or a run that must end
                verdict = _unheard(e, case, solver)
            keep(Judged(sample, verdict, asker.usage(), marker(sample)), asker.exchanges)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(bound.parallel):
                group.create_task(work())
    except BaseExceptionGroup as problems:
        raise _first(problems) from None
    return not spent


def _first(problems: BaseExceptionGroup[BaseException]) -> BaseException:
    """What broke the run, from what its workers raised: they all stop for one reason."""
    first = problems.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _unheard(error: Exception | SystemExit, case: Case, solver: Solver) -> Verdict:
    """FAILED, for an error of this one sample; any other ends the run."""
    if isinstance(error, ModelError) and not isinstance(error, ModelUnusable):
        return Verdict(case.target, Outcome.FAILED, raw=str(error))
    if isinstance(error, GuardevalError):  # a model that cannot be used, a cache that cannot be written
        raise error
    if isinstance(error, SystemExit):
        raise exited(f"solver {type(solver).__name__}, asked about sample {case.sample.id},", error) from error
    # a solver that breaks on a sample is a broken plugin: name it, do not skip the sample
    said = f"solver {type(solver).__name__} broke on sample {case.sample.id}: {type(error).__name__}: {error}"
    raise PluginError(said) from error


@contextlib.contextmanager
def few_collections() -> Iterator[None]:
    """Spare the cycle collector: what a run holds on to makes no cycles, and looking for them costs some 5 % of it."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
