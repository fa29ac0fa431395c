"""``--solver polyguard``: PolyGuard's system text and one user turn, one generation for three targets.

Kumar et al., 2025, arXiv:2504.04377; format from ``inference.py`` of kpriyanshu256/polyguard. An answer is::

    Harmful request: yes | no
    Response refusal: yes | no
    Harmful response: yes | no
    Request safety violations: S1, S10 | None
    Response safety violations: …
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from guardeval.contracts import Asker, Case, Prompt, Turn
from guardeval.data import Target, Verdict
from guardeval.native.asking import forces_turn, shared, user_and_assistant
from guardeval.native.family import Family
from guardeval.native.family_solver import FamilySolver
from guardeval.native.lines import categories_of, field_said
from guardeval.native.reading import Said
from guardeval.native.texts import native_text

__all__ = ["PolyGuard"]

_LABEL = {Target.PROMPT: "harmful request", Target.REFUSAL: "response refusal", Target.RESPONSE: "harmful response"}
_VIOLATIONS = {Target.PROMPT: "request safety violations", Target.RESPONSE: "response safety violations"}
_LABELS = (*_LABEL.values(), *_VIOLATIONS.values())
_WORDS = {"yes": True, "no": False}
_FORCED = "Harmful request:"


@dataclass(frozen=True)
class PolyGuard(FamilySolver):
    """The response is the empty string where there is none. Violations count for the target that they stand for."""

    max_tokens: int = 100

    families: ClassVar[tuple[Family, ...]] = (
        Family(
            "PolyGuard", ("poly-?guard",), frozenset(Target), "llama_guard_3", ("chat",), "the word after the target's label",
            "kpriyanshu256/polyguard, inference.py",
            controls=("<|im_start|>", "<|im_end|>", "<|endoftext|>", "[INST]", "[/INST]", "<s>", "</s>"),
        ),
    )  # fmt: skip

    async def solve(self, case: Case, model: Asker) -> Verdict:

        def read(text: str) -> Said:
            categories = categories_of(text, _VIOLATIONS.get(case.target, ""), _LABELS)
            return field_said(text, _LABEL[case.target], _LABELS, _WORDS, categories, ("n/a",))

        return await self.asked(case, model, self.prompt, read)

    def prompt(self, case: Case, model: Asker) -> Prompt:
        forced = _FORCED if forces_turn(model) else ""
        turns = (Turn("system", native_text("polyguard").replace("[[categories]]", self.listed_categories())),)
        return Prompt(shared(turns=turns, forced=forced), user_and_assistant(case.sample, case.target, absent=""))
