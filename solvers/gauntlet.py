"""``--solver gauntlet``: one question per policy; a text that violates any of them is harmful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

from guardeval.any_violation import any_violation
from guardeval.contracts import Asker, Case
from guardeval.data import Target, Verdict
from guardeval.policies import PolicySet
from guardeval.solvers.asking import Asking
from guardeval.solvers.reasoning_prompts import reasoning_question
from guardeval.unheard import each_heard, heard

__all__ = ["Gauntlet"]


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
        if self.order == "parallel":
            answers = await each_heard([self._one_policy.verdict(one, model) for one in cases], case.target)
        else:
            answers = await self._in_series(cases, model)
        return any_violation(case.target, case.policies.names, answers)

    async def _in_series(self, cases: Sequence[Case], model: Asker) -> list[Verdict]:
        answers = []
        for case in cases:
            answers.append(await heard(self._one_policy.verdict(case, model), case.target))
            if self.stop_early and answers[-1].label:
                break
        return answers
