"""``--solver gauntlet``: one question per policy; a text that violates any of them is harmful."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

from guardeval.contracts import Asker, Case
from guardeval.data import Outcome, Step, Target, Verdict, Vote, Voters
from guardeval.errors import ModelError, ModelUnusable
from guardeval.policies import PolicySet
from guardeval.solvers.asking import Asking
from guardeval.solvers.reasoning_prompts import reasoning_question

__all__ = ["Gauntlet"]

_MISSING = (Outcome.FAILED, Outcome.TRUNCATED, Outcome.UNPARSEABLE)  # which of several is told: the least heard first
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Gauntlet:
    """Asks about one policy at a time, in series or all at once (``order``).

    ``stop_early`` ends a series at the first violation, so later policies stay unasked. Refusal is one question, as no
    policy bears on it, and a model that classifies is asked once, about all policies.
    """

    order: Literal["series", "parallel"] = "series"
    stop_early: bool = False
    max_tokens: int = 1024  # per question
    temperature: float = 0.0

    def __post_init__(self) -> None:
        _ = self._one_policy  # refuses impossible settings

    @cached_property
    def _one_policy(self) -> Asking:
        return Asking(partial(reasoning_question, "gauntlet"), self.max_tokens, self.temperature)

    @cached_property
    def _all_policies(self) -> Asking:
        return Asking(partial(reasoning_question, "direct"), self.max_tokens, self.temperature)

    @cached_property
    def _single(self) -> dict[int, tuple[PolicySet, tuple[PolicySet, ...]]]:
        return {}

    def _split(self, policies: PolicySet) -> tuple[PolicySet, ...]:
        """One set per policy, the same objects for every sample, so that their prompts are rendered once."""
        entry = self._single.get(id(policies))
        if entry is None:
            if len(self._single) >= 16:  # a caller that makes a new set per sample has no end
                self._single.clear()
            entry = self._single[id(policies)] = (policies, tuple(policies.only(name) for name in policies.names))
        return entry[1]

    async def solve(self, case: Case, model: Asker) -> Verdict:
        if case.target is Target.REFUSAL or model.traits.classifies:
            return await self._all_policies.verdict(case, model)
        cases = [Case(case.sample, case.target, single) for single in self._split(case.policies)]
        answers = await (self._at_once(cases, model) if self.order == "parallel" else self._in_series(cases, model))
        return _combined(case, case.policies.names, answers)

    async def _in_series(self, cases: Sequence[Case], model: Asker) -> list[Verdict]:
        answers = []
        for case in cases:
            answers.append(await self._answer(case, model))
            if self.stop_early and answers[-1].label:
                break
        return answers

    async def _at_once(self, cases: Sequence[Case], model: Asker) -> list[Verdict]:
        tasks = [asyncio.ensure_future(self._answer(case, model)) for case in cases]
        try:
            return await asyncio.gather(*tasks)
        finally:  # when one question ends the run, the others must not go on unheard
            for task in tasks:
                task.cancel()

    async def _answer(self, case: Case, model: Asker) -> Verdict:
        """The verdict on one policy; a question that was never heard is one of its own, for others may still flag."""
        try:
            return await self._one_policy.verdict(case, model)
        except ModelUnusable:
            raise
        except ModelError as e:
            return Verdict(case.target, Outcome.FAILED, raw=str(e))


def _combined(case: Case, names: Sequence[str], answers: Sequence[Verdict]) -> Verdict:
    """Any violation flags, whatever else is missing; unharmful only if every policy was answered.

    The score is the largest of the policies' scores, a lower bound of P(any is violated); absent unless all have one.
    """
    votes = tuple(
        Vote(name, a.outcome, a.label, a.score, frozenset({name}) if a.label else _NONE)
        for name, a in zip(names, answers, strict=False)  # fewer answers than names when stopped early
    )
    violated = frozenset(vote.member for vote in votes if vote.label)
    missing = [outcome for outcome in _MISSING if any(a.outcome is outcome for a in answers)]
    outcome = Outcome.PARSED if violated or not missing else missing[0]
    scores = [a.score for a in answers if a.score is not None]
    score = max(scores) if outcome is Outcome.PARSED and len(scores) == len(names) else None
    return Verdict(
        case.target,
        outcome,
        bool(violated) if outcome is Outcome.PARSED else None,
        score,
        violated,
        tuple(Step(name, _reasoning(a)) for name, a in zip(names, answers, strict=False) if a.steps),
        votes,
        "\n\n".join(f"[{name}]\n{a.raw}" for name, a in zip(names, answers, strict=False)),
        None if score is None else "tokens",
        tuple(f"{name}: {note}" for name, a in zip(names, answers, strict=False) for note in a.notes),
        voters=Voters.POLICIES,
    )


def _reasoning(answer: Verdict) -> str:
    return "\n\n".join(step.text for step in answer.steps)
