"""``--solver md_judge``: MD-Judge of SALAD-Bench. v0.1 reads a raw prompt, v0.2 turns that its own chat template dresses.

Li et al., 2024, arXiv:2402.05044; v0.1's format from ``scripts/effectiveness/md_judge.py`` of AmenRa/GuardBench, v0.2's answer
from its model card::

    v0.1  unsafe          v0.2  [REASONING]: …
          O5                    [RESULT]: unsafe, score 4
                                [UNSAFE CATEGORY]: O14: Illegal Activities

v0.2's score from 1 to 5 is an ordinal that it writes, not a probability: it is kept as a step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from guardeval.contracts import Asker, Case, Prompt
from guardeval.data import Step, Target, Verdict
from guardeval.native.asking import as_chat, shared, transcript
from guardeval.native.family import Family
from guardeval.native.family_solver import AUTO, VersionedSolver
from guardeval.native.lines import word_and_line
from guardeval.native.reading import Said, unread
from guardeval.native.texts import fill, native_text

__all__ = ["MDJudge"]

_NAMES = {"user": "User", "assistant": "Agent"}
_RESULT = re.compile(r"\[RESULT\]:\s*(safe|unsafe)\s*(?:,\s*score\s*([1-5]))?\s*\.?\s*", re.IGNORECASE | re.ASCII)
_RESULT_HEAD, _CATEGORY_HEAD = "[result]", "[unsafe category]:"
_REASONING = re.compile(r"[ \t]*\[REASONING\]:[ \t]*", re.IGNORECASE)
_LONGEST_RESULT = 80  # characters of a line that states a result


@dataclass(frozen=True)
class MDJudge(VersionedSolver):
    """v0.1 judges prompts and responses, v0.2 responses; ``auto`` takes the version of the model's name, else 0.2."""

    version: Literal["auto", "0.1", "0.2"] = AUTO
    max_tokens: int = 256

    default_version: ClassVar[str] = "0.2"
    families: ClassVar[tuple[Family, ...]] = (
        Family(
            "MD-Judge v0.1", ("md-?judge-?v?0?[-._]?1", "md-?judge$"), frozenset({Target.PROMPT, Target.RESPONSE}),
            "md_judge_1", ("raw",), "the first word", "AmenRa/GuardBench, scripts/effectiveness/md_judge.py",
            {"version": "0.1"}, controls=("[INST]", "[/INST]", "<s>", "</s>"),
        ),
        Family(
            "MD-Judge v0.2", ("md-?judge-?v?0?[-._]?2",), frozenset({Target.RESPONSE}), "md_judge_2",
            ("chat",), "the word after [RESULT]:, after the reasoning", "OpenSafetyLab/MD-Judge-v0_2-internlm2_7b, model card",
            {"version": "0.2"}, controls=("<|im_start|>", "<|im_end|>", "<s>", "</s>"),
        ),
    )  # fmt: skip

    async def judged(self, case: Case, model: Asker) -> Verdict:
        read = _first_word if self.version == "0.1" else _result
        return await self.asked(case, model, self.prompt, read)

    def prompt(self, case: Case, model: Asker) -> Prompt:
        if self.version == "0.2":
            return as_chat(case.sample, case.target)
        role = "User" if case.target is Target.PROMPT else "Agent"
        before, after = fill(native_text("md_judge_1"), "conversation", role=role)
        return Prompt(shared(before, after, raw=True), transcript(case.sample, case.target, _NAMES, "\n"))


def _first_word(text: str) -> Said:
    said = word_and_line(text, ("safe", "unsafe"), end=".")
    if said is None:
        return unread("the answer is not `safe` or `unsafe` with one category")
    return Said(said.word == "unsafe", (said.line,) if said.line else (), said.at, ("unsafe",), ("safe",))


def _result(text: str) -> Said:
    """The last ``[RESULT]`` line; earlier ones may be quoted in the reasoning."""
    lines = _heads(text, (_RESULT_HEAD, _CATEGORY_HEAD))
    results = [(start, line) for start, line in lines if line[: len(_RESULT_HEAD)].lower() == _RESULT_HEAD]
    if not results:
        return unread("no line `[RESULT]: safe|unsafe, score N`")
    start, line = results[-1]
    found = _RESULT.fullmatch(line) if len(line) <= _LONGEST_RESULT else None
    if found is None:
        return unread("the [RESULT] line holds no verdict")
    end = start + len(line)
    named: tuple[str, ...] = ()
    for at, below in lines:
        if at > start:  # the first category line after it
            category, end = below[len(_CATEGORY_HEAD) :].strip(), at + len(below)
            named = (category,) if category.lower() not in ("", "none", "n/a") else ()
            break
    steps = [Step("Reasoning", _REASONING.sub("", text[:start], 1).strip())]
    if found[2]:
        steps.append(Step("Score", f"{found[2]} of 5, as the model wrote it"))
    kept = tuple(step for step in steps if step.text)
    word, block = start + found.start(1), (start, end)
    return Said(found[1].lower() == "unsafe", named, word, ("unsafe",), ("safe",), block=block, steps=kept)


def _heads(text: str, heads: Sequence[str]) -> list[tuple[int, str]]:
    """Where the lines begin that start with one of ``heads`` (lower case), and those lines, white space round them left out."""
    out, start = [], 0
    for line in text.split("\n"):
        kept = line.strip()
        if kept[:1] == "[" and kept[: max(map(len, heads))].lower().startswith(tuple(heads)):
            out.append((start + len(line) - len(line.lstrip()), kept))
        start += len(line) + 1
    return out
