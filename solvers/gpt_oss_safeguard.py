"""``--solver gpt_oss_safeguard``: a policy in the system turn, the content in the user turn, a JSON verdict after reasoning.

Format from openai-cookbook, ``articles/gpt-oss-safeguard-guide.md``: the policies in force, in its skeleton (INSTRUCTIONS,
DEFINITIONS, VIOLATES, SAFE, EXAMPLES). The verdict stands in the *final* channel; an answer that ends in *analysis* is cut off.
The token probability is conditional on the one reasoning that was drawn; ``self_consistency`` averages over several.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from guardeval.contracts import Asker, Case, Prompt, Turn
from guardeval.data import Step, Target, Verdict
from guardeval.native.asking import shared, spoken_turns
from guardeval.native.family import Family
from guardeval.native.family_solver import FamilySolver
from guardeval.native.json_answer import json_answer, value_at
from guardeval.native.reading import Said, unread
from guardeval.native.texts import native_text

__all__ = ["GptOssSafeguard"]

_SUBJECT = {
    Target.PROMPT: "the last message of a user to an AI assistant",
    Target.RESPONSE: "the last answer of an AI assistant",
}
_NAMES = {"user": "User", "assistant": "AI assistant", "system": "System"}
_CONTROLS = (
    "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|constrain|>", "<|call|>", "<|endoftext|>",
)  # fmt: skip
# a message begins the answer or follows one that ended: a channel mark elsewhere is quoted
_FINAL = re.compile(
    r"(?:\A\s*(?:<\|start\|>assistant)?|<\|end\|>\s*<\|start\|>assistant)\s*"
    r"(<\|channel\|>final[^<]{0,80}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>)"
)
_END = re.compile(r"<\|(?:return|end|call)\|>")
_ANALYSIS = re.compile(r"<\|channel\|>analysis<\|message\|>(.*?)(?:<\|end\|>|\Z)", re.DOTALL)
_BARE = re.compile(r"\s*([01])\s*")
_MOST_NAMES = 32  # policies of one answer that are looked at
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class GptOssSafeguard(FamilySolver):
    """``effort``: how long it reasons. ``max_tokens`` is generous, for its output should not be cut."""

    effort: Literal["low", "medium", "high"] = "medium"
    max_tokens: int = 8192

    families: ClassVar[tuple[Family, ...]] = (
        Family(
            "gpt-oss-safeguard", ("gpt-?oss-?safeguard",), frozenset({Target.PROMPT, Target.RESPONSE}), "", ("chat",),
            "the digit after violation, in the final channel", "openai/openai-cookbook, gpt-oss-safeguard-guide.md",
            roles=("user", "assistant", "system"),
            controls=_CONTROLS,
        ),
    )  # fmt: skip

    async def solve(self, case: Case, model: Asker) -> Verdict:
        read = partial(_read, names=frozenset(case.policies.names))
        return await self.asked(case, model, self.prompt, read)

    def prompt(self, case: Case, model: Asker) -> Prompt:
        policy = native_text("gpt_oss_safeguard").replace("[[subject]]", _SUBJECT[case.target])
        head, tail = policy.split("[[policies]]")  # a policy's own text is never looked at for slots
        effort = {"reasoning_effort": self.effort} if model.traits.template else {}
        said = f"{head}{case.policies.text}{tail}\n\nReasoning: {self.effort}"  # servers that speak Harmony take no options
        turns = spoken_turns(case.sample, case.target, tuple(_NAMES))
        alone = len(turns) == 1
        text = turns[0].content if alone else "\n\n".join(f"{_NAMES[role]}: {content}" for role, content in turns)
        return Prompt(shared(turns=(Turn("system", said),), options=effort), text)


def _read(text: str, names: frozenset[str]) -> Said:
    """The last final channel, where the backend shows channels; else all of the text, which is the final one."""
    mark, start, thought = None, 0, tuple(Step("Analysis", m[1].strip()) for m in _ANALYSIS.finditer(text) if m[1].strip())
    if "<|channel|>" in text:
        finals = list(_FINAL.finditer(text))
        if not finals:
            return unread("ended in its analysis, before the final channel", cut=True)
        mark, start = finals[-1].span(1)
    answer = _END.split(text[start:], 1)[0]
    bare = _BARE.fullmatch(answer)
    if bare is not None:
        block = None if mark is None else (mark, start + len(answer))  # the bare digit alone may stand in any sample
        return Said(bare[1] == "1", (), start + bare.start(1), ("1",), ("0",), block=block, steps=thought)
    found, why = json_answer(answer)
    violation = None if found is None else found.get("violation")
    if isinstance(violation, bool) or violation not in (0, 1, "0", "1"):
        return unread(why or 'no "violation" of 0 or 1')
    label = int(violation) == 1
    policies, notes = _policies(found.get("policy_category"), names) if label and found is not None else (_NONE, ())
    word, block = value_at(answer, "violation"), (start if mark is None else mark, start + len(answer))
    at = -1 if word < 0 else start + word
    return Said(label, (), at, ("1",), ("0",), block=block, steps=thought, notes=notes, policies=policies)


def _policies(named: Any, names: frozenset[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """The policies of the run that are named, one or several, and a note for each that is none of them."""
    given = named if isinstance(named, list) else str(named).split(",") if named else []
    found, notes = set(), []
    for spelling in list(map(str, given))[:_MOST_NAMES]:
        name = "_".join(spelling.strip().lower().replace("-", " ").split())
        if spelling.strip() in names or name in names:
            found.add(spelling.strip() if spelling.strip() in names else name)
        elif name:
            notes.append(f"unknown policy {spelling.strip()[:60]!r}")
    return frozenset(found), tuple(notes)
