"""``--solver llama_guard``: the Llama Guard family, its hazard list and conversation in one prompt, ``safe`` or ``unsafe``.

Inan et al., 2023, arXiv:2312.06674; formats from the model cards in meta-llama/PurpleLlama. An answer is::

    safe                  unsafe
                          S1,S10
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from guardeval.contracts import Asker, Case, Prompt
from guardeval.data import Target, Verdict
from guardeval.native.asking import as_chat, shared, transcript
from guardeval.native.family import LLAMA_3_CONTROLS, Family
from guardeval.native.family_solver import AUTO, VersionedSolver
from guardeval.native.lines import word_and_line
from guardeval.native.reading import Said, listed, unread
from guardeval.native.texts import fill, native_text

__all__ = ["LlamaGuard"]

_JUDGED = frozenset({Target.PROMPT, Target.RESPONSE})
_CARD_2 = "meta-llama/PurpleLlama, Llama-Guard and Llama-Guard2; meta-llama/llama-recipes, prompt_format_utils.py"
_CARDS = "meta-llama/PurpleLlama, Llama-Guard3/*/MODEL_CARD.md and Llama-Guard4/12B/MODEL_CARD.md"
_VERDICT = "the first word, after two line ends"
_CONTROLS_1 = ("[INST]", "[/INST]", "<s>", "</s>")
_CONTROLS_2 = (*_CONTROLS_1, *LLAMA_3_CONTROLS)
_CONTROLS_4 = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|header_start|>", "<|header_end|>", "<|eom|>", "<|eot|>", "<|step|>",
    "<|python_start|>", "<|python_end|>", "<|image_start|>", "<|image_end|>", "<|image|>", "<|patch|>",
    "<|finetune_right_pad|>", "<|text_post_train_reserved_special_token_", "<|vision_reserved_special_token_",
)  # fmt: skip
_FORMS = ("raw", "chat")
_NAMES = {"user": "User", "assistant": "Agent"}
_VERDICT_1 = "the first word"
_OLD = ("1", "2")  # no headers of roles, the verdict at once
_WITHOUT_S14 = ("3-1b", "3-vision")
_DRESS = {
    "3": ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"),
    "4": ("<|header_start|>user<|header_end|>\n\n", "<|eot|><|header_start|>assistant<|header_end|>\n\n"),
}


@dataclass(frozen=True)
class LlamaGuard(VersionedSolver):
    """``version`` chooses format and hazards; ``auto`` takes that of the model's name, else 3.

    As a raw prompt where the backend takes one, else as turns that the model's own chat template dresses.
    """

    version: Literal["auto", "1", "2", "3", "3-1b", "3-vision", "4"] = AUTO
    max_tokens: int = 64

    default_version: ClassVar[str] = "3"
    families: ClassVar[tuple[Family, ...]] = (
        Family(
            "Llama Guard 1", ("llama-?guard(-?7b|$)", r"llama-?guard-?1(?!\d)"), _JUDGED, "llama_guard_1", _FORMS, _VERDICT_1,
            _CARD_2, {"version": "1"}, controls=_CONTROLS_1,
        ),
        Family(
            "Llama Guard 2", (r"llama-?guard-?2(?!\d)",), _JUDGED, "llama_guard_2", _FORMS, _VERDICT_1, _CARD_2,
            {"version": "2"}, controls=_CONTROLS_2,
        ),
        Family(
            "Llama Guard 3", (r"llama-?guard-?3(?!\d)",), _JUDGED, "llama_guard_3", _FORMS, _VERDICT, _CARDS,
            {"version": "3"}, controls=LLAMA_3_CONTROLS,
        ),
        Family(
            "Llama Guard 3 1B", ("llama-?guard-?3-1b",), _JUDGED, "llama_guard_3", _FORMS, _VERDICT, _CARDS,
            {"version": "3-1b"}, controls=LLAMA_3_CONTROLS,
        ),
        Family(
            "Llama Guard 3 11B Vision", ("llama-?guard-?3-(11b|vision)",), _JUDGED, "llama_guard_3", _FORMS, _VERDICT, _CARDS,
            {"version": "3-vision"}, controls=LLAMA_3_CONTROLS,
        ),
        Family(
            "Llama Guard 4", (r"llama-?guard-?4(?!\d)",), _JUDGED, "llama_guard_3", _FORMS, _VERDICT, _CARDS,
            {"version": "4"}, controls=_CONTROLS_4,
        ),
    )  # fmt: skip

    async def judged(self, case: Case, model: Asker) -> Verdict:
        return await self.asked(case, model, self.prompt, _read)

    def prompt(self, case: Case, model: Asker) -> Prompt:
        """What the model is sent about a case, in the form that the backend takes."""
        if self.form(case, model) == "chat":
            return as_chat(case.sample, case.target)
        role = "User" if case.target is Target.PROMPT else "Agent"
        text = transcript(case.sample, case.target, _NAMES, "\n\n")
        if self.version in _OLD:
            before, after = fill(native_text(f"llama_guard_{self.version}"), "conversation", role=role)
            return Prompt(shared(before, after, raw=True), text)
        left, right = _DRESS["4" if self.version == "4" else "3"]
        before, after = fill(native_text("llama_guard_3"), "conversation", role=role, categories=self._hazards)
        forced = "\n\n" if model.traits.forced else ""
        return Prompt(shared(left + before, after + right, raw=True, forced=forced), text)

    @property
    def _hazards(self) -> str:
        return self.listed_categories(but="S14" if self.version in _WITHOUT_S14 else "")


def _read(text: str) -> Said:
    """The whole answer is the verdict word, and under ``unsafe`` a line of categories; anything else is no verdict."""
    said = word_and_line(text, ("safe", "unsafe"))
    if said is None:
        return unread("the answer is not `safe` or `unsafe` with its categories")
    return Said(said.word == "unsafe", listed(said.line), said.at, ("unsafe",), ("safe",))
