"""``--solver nemotron``: NVIDIA's safety guards, three formats whose category codes are not comparable.

``guard``: Llama-3.1-Nemotron-Safety-Guard and NemoGuard, JSON, S1 to S23. ``reasoning``: Nemotron-Content-Safety-Reasoning,
lines after ``<think>``, S1 to S22. ``content_safety``: Nemotron content safety 3.5, its own chat template. Formats from
NVIDIA's model cards and NVIDIA-NeMo/Guardrails; the quotation marks of the first paragraph of ``guard`` vary between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from guardeval.contracts import Asker, Case, Prompt
from guardeval.data import Target, Verdict
from guardeval.native.asking import as_chat, forces_turn, shared, spoken_turns, user_and_assistant
from guardeval.native.family import LLAMA_3_CONTROLS, Family
from guardeval.native.family_solver import AUTO, VersionedSolver
from guardeval.native.json_answer import json_answer, value_at
from guardeval.native.lines import categories_of, field_said
from guardeval.native.reading import Said, listed, unread
from guardeval.native.texts import fill, native_text

__all__ = ["Nemotron"]

_JUDGED = frozenset({Target.PROMPT, Target.RESPONSE})
_CARDS = "NVIDIA model cards; NVIDIA-NeMo/Guardrails, examples/configs/content_safety*/prompts.yml"
_CONTROLS = (*LLAMA_3_CONTROLS, "<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "<think>", "</think>")
_SAFETY = {"unsafe": True, "safe": False}
_HARM = {"harmful": True, "unharmful": False}
_KEY = {Target.PROMPT: "User Safety", Target.RESPONSE: "Response Safety"}
_HARM_LINE = {Target.PROMPT: "prompt harm", Target.RESPONSE: "response harm"}
_LINES = ("user safety", "response safety", "safety categories")
_FORCED = '{"User Safety": "'


@dataclass(frozen=True)
class Nemotron(VersionedSolver):
    """``think`` (reasoning, content_safety): reason first. Earlier turns stand before the last one under the same headings,
    which the cards do not show. ``version=auto``: that of the model's name, else ``guard``.
    """

    version: Literal["auto", "guard", "reasoning", "content_safety"] = AUTO
    think: bool = True
    max_tokens: int = 2048

    default_version: ClassVar[str] = "guard"
    families: ClassVar[tuple[Family, ...]] = (
        Family(
            "Nemotron Safety Guard", ("nemotron-safety-guard", "nemoguard.*content-safety"), _JUDGED, "nemotron_guard",
            ("chat",), "the word after the target's key in the JSON", _CARDS, {"version": "guard"}, controls=_CONTROLS,
        ),
        Family(
            "Nemotron Content Safety Reasoning", ("nemotron-content-safety-reasoning",), _JUDGED, "nemotron_reasoning",
            ("chat",), "the word after the target's label, after </think>", _CARDS, {"version": "reasoning"},
            controls=_CONTROLS,
        ),
        Family(
            "Nemotron 3.5 Content Safety", ("nemotron-3[.-]5-content-safety",), _JUDGED, "nemotron_guard",
            ("chat",), "the word after the target's label", _CARDS, {"version": "content_safety"}, template=True,
            controls=_CONTROLS,
        ),
    )  # fmt: skip

    async def judged(self, case: Case, model: Asker) -> Verdict:

        def read(text: str) -> Said:
            if self.version == "guard":
                return _json(text, _KEY[case.target])
            if self.version == "reasoning":
                said = field_said(_unquoted(text), _HARM_LINE[case.target], tuple(_HARM_LINE.values()), _HARM)
            else:
                named = categories_of(text, "safety categories", _LINES)
                said = field_said(text, _KEY[case.target].lower(), _LINES, _SAFETY, named)
            return replace(said, reasons=self.think)

        return await self.asked(case, model, self.prompt, read)

    def prompt(self, case: Case, model: Asker) -> Prompt:
        if self.version == "content_safety":
            options: dict[str, Any] = {"enable_thinking": self.think, "request_categories": "/categories"}
            return as_chat(case.sample, case.target, options=options)
        if self.version == "reasoning":
            mode = "/think" if self.think else "/no_think"
            text = native_text("nemotron_reasoning")
            before, after = fill(text, "conversation", categories=self.listed_categories(), mode=mode)
            return Prompt(shared(before, after), user_and_assistant(case.sample, case.target, absent="None"))
        listed = self.listed_categories("{code}: {title}. ")  # a blank at the end of the line, as the card has it
        before, after = fill(native_text("nemotron_guard"), "conversation", categories=listed)
        forced = _FORCED if forces_turn(model) else ""
        return Prompt(shared(before, after, forced=forced), _conversation(case))


def _conversation(case: Case) -> str:
    """``user: …`` and, of a response, ``response: agent: …``; earlier turns as ``user:`` and ``agent:``."""
    turns = spoken_turns(case.sample, case.target)
    names = {"user": "user", "assistant": "agent"}
    lines = [f"{names[role]}: {content}" for role, content in turns]
    if case.target is Target.RESPONSE:
        lines[-1] = f"response: {lines[-1]}"
    return "\n\n".join(lines)


def _json(text: str, key: str) -> Said:
    found, why = json_answer(text)
    if found is None:
        return unread(why)
    word = found.get(key)
    if not isinstance(word, str) or word.strip().lower() not in _SAFETY:
        return unread(f"{key!r} is {'missing' if key not in found else 'neither safe nor unsafe'}")
    named = found.get("Safety Categories")
    if isinstance(named, list):  # against the format, but clear
        named = ", ".join(part for part in named if isinstance(part, str))
    categories = listed(named) if isinstance(named, str) else ()
    return Said(_SAFETY[word.strip().lower()], categories, value_at(text, key), ("unsafe",), ("safe",), block=(0, len(text)))


def _unquoted(text: str) -> str:
    """Quotation marks of the format that some answers repeat, blanked out so that offsets stay."""
    return text.replace('"', " ")
