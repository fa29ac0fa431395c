"""The texts that a guard is trained on: the prompt as its solver asks it, and the answer that a trace makes.

A model is trained on the very request that a run sends, and an answer goes into training only when the solver itself reads
it as the verdict that it is to teach.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from guardeval.contracts import Case, Completion, Request, Solver, Traits
from guardeval.data import Step, Target, Verdict
from guardeval.errors import ConfigError, DataError
from guardeval.policies import PolicySet
from guardeval.training_rows import Trace

__all__ = ["answer_of", "closing_block", "read_answer", "request_of"]

_DECISION = "Decision"


def request_of(solver: Solver, case: Case) -> Request:
    """The one request that a solver makes of a case. Raises :class:`ConfigError` for a solver that does not ask just once."""
    listener = _Listener()
    try:
        _finish(solver.solve(case, listener))
    except _Heard as heard:
        return heard.request
    raise ConfigError(f"solver {type(solver).__name__} asks nothing of a model: there is no prompt to train on")


def read_answer(solver: Solver, case: Case, answer: str) -> Verdict:
    """The verdict that a solver reads in an answer. Raises :class:`ConfigError` for a solver that asks more than once."""
    return _finish(solver.solve(case, _Answering(answer)))


def answer_of(trace: Trace, solver: Solver, policies: PolicySet) -> tuple[Request, str]:
    """Request and answer to train on: the trace's steps under the headings the prompt asks for, then the closing block.

    Raises :class:`DataError` when the solver does not read the answer as the trace's own label and policies.
    """
    case = Case(trace.sample, trace.target, policies)
    request = request_of(solver, case)
    asked = [h for h in request.steps if h != _DECISION]
    answer = "\n".join([*_steps(trace.steps, asked), closing_block(trace.target, trace.label, trace.policies)])
    verdict = read_answer(solver, case, answer)
    if verdict.label is not trace.label or verdict.policies != trace.policies & frozenset(policies.names):
        said = verdict.outcome if verdict.label is None else trace.target.word(verdict.label)
        raise DataError(
            f"sample {trace.sample.id!r}: {type(solver).__name__} reads the answer as {said} {sorted(verdict.policies)}, and "
            f"the trace says {trace.target.word(trace.label)} {sorted(trace.policies)}; leave the row out, or correct it"
        )
    return request, answer


def closing_block(target: Target, label: bool, policies: frozenset[str] = frozenset()) -> str:
    """The two lines that every reasoning style asks for at the end."""
    return f"{_DECISION}: {target.word(label)}\nPolicies: {', '.join(sorted(policies)) or 'none'}"


def _steps(steps: Sequence[Step], asked: Sequence[str]) -> list[str]:
    """Under the prompt's headings where there are as many of them as steps; else numbered, under its only heading or none."""
    if len(asked) == len(steps):
        return [f"{heading}: {step.text}" for heading, step in zip(asked, steps, strict=True)]
    numbered = [f"Step {i}: {step.text}" for i, step in enumerate(steps, 1)]
    return [f"{asked[0]}:", *numbered] if len(asked) == 1 and numbered else numbered if asked else []


class _Heard(Exception):
    def __init__(self, request: Request) -> None:
        self.request = request


class _Listener:
    """An asker that ends the question with the question."""

    name = "training"
    traits = Traits()

    async def generate(self, request: Request) -> Completion:
        raise _Heard(request)


class _Answering:
    """An asker that gives one answer, once."""

    name = "training"
    traits = Traits()

    def __init__(self, answer: str) -> None:
        self._answer: str | None = answer

    async def generate(self, request: Request) -> Completion:
        if self._answer is None:
            raise ConfigError("the solver asks more than one question a sample: train with one that asks once, e.g. multistep")
        answer, self._answer = self._answer, None
        return Completion(answer)


def _finish(solving: Coroutine[Any, Any, Verdict]) -> Verdict:
    """Run to the end what waits for nothing: the askers here answer at once."""
    try:
        solving.send(None)
    except StopIteration as done:
        verdict: Verdict = done.value
        return verdict
    finally:
        solving.close()
    raise ConfigError("the solver waits for something other than its model, so it cannot be trained on; name another solver")
