"""``--solver qwen3guard``: Qwen3Guard-Gen. Ordinary turns; the model's own chat template adds the task and its policy.

Qwen Team, 2025, arXiv:2510.14276; format from the README of QwenLM/Qwen3Guard. An answer is::

    Safety: Safe | Unsafe | Controversial
    Categories: Violent, … | None
    Refusal: Yes | No                       (where there is a response)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from guardeval.contracts import Asker, Case, Prompt
from guardeval.data import Target, Verdict
from guardeval.native.asking import as_chat, forces_turn
from guardeval.native.family import Family
from guardeval.native.family_solver import FamilySolver
from guardeval.native.lines import categories_of, field_said
from guardeval.native.reading import Said
from guardeval.native.texts import said_word

__all__ = ["Qwen3Guard"]

_LABELS = ("safety", "categories", "refusal")
_REFUSAL = {"yes": True, "no": False}
_THINKING = {"enable_thinking": False}  # so that no server's default alters the template


@dataclass(frozen=True)
class Qwen3Guard(FamilySolver):
    """``mode``: whether what it calls controversial counts as harmful (``strict``) or not (``loose``).

    The token probability is over its three words: strict 1 − P(Safe), loose P(Unsafe).
    """

    mode: Literal["strict", "loose"] = "strict"
    max_tokens: int = 128

    families: ClassVar[tuple[Family, ...]] = (
        Family(
            "Qwen3Guard-Gen", ("qwen-?3-?guard(?!.*stream)",), frozenset(Target), "qwen3guard", ("chat",),
            "the word after Safety:, of a refusal after Refusal:", "QwenLM/Qwen3Guard, README.md",
            controls=("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>"),
        ),
    )  # fmt: skip

    async def solve(self, case: Case, model: Asker) -> Verdict:

        def read(text: str) -> Said:
            if case.target is Target.REFUSAL:
                return field_said(text, "refusal", _LABELS, _REFUSAL)
            words = {"safe": False, "unsafe": True, "controversial": self.mode == "strict"}
            said = field_said(text, "safety", _LABELS, words, categories_of(text, "categories", _LABELS))
            return replace(said, notes=(f"controversial ({self.mode})",)) if said_word(text, said) == "controversial" else said

        return await self.asked(case, model, self.prompt, read)

    def prompt(self, case: Case, model: Asker) -> Prompt:
        options = _THINKING if model.traits.template else {}
        forced = "Safety:" if forces_turn(model) else ""
        return as_chat(case.sample, case.target, forced=forced, options=options)
