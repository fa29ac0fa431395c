"""Asking a guard in its family's own format: the prompt in the form that the backend takes, the verdict that comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from guardeval.contracts import Asker, Case, Frame, Prompt, Request, Sampling, Turn
from guardeval.data import Outcome, Sample, Target, Verdict
from guardeval.errors import ConfigError, ModelError, ModelUnusable
from guardeval.native.family import Family
from guardeval.native.reading import Read, verdict_of

__all__ = [
    "BROKEN_UP",
    "as_chat",
    "ask",
    "checked_target",
    "sampling_of",
    "shared",
    "spoken_turns",
    "transcript",
    "user_and_assistant",
]

BROKEN_UP = "control tokens spelt in the sample were broken up"
_ALTERNATIVES = 20  # token alternatives asked for at each place; what most servers give at most
_SPLIT = "\u200b"  # zero width
_HEADING = {"user": "Human user", "assistant": "AI assistant"}


@lru_cache(maxsize=512)
def _frame(before: str, after: str, role: str, raw: bool, forced: str, turns: tuple[Turn, ...], options: str) -> Frame:
    return Frame(before, after, turns=turns, role=role, raw=raw, forced=forced, options=json.loads(options) if options else {})


def shared(
    before: str = "",
    after: str = "",
    *,
    turns: Sequence[Turn] = (),
    role: str = "user",
    raw: bool = False,
    forced: str = "",
    options: Mapping[str, Any] | None = None,
) -> Frame:
    """The one frame of these parts: equal parts give the same object, whose hash and JSON are made once."""
    return _frame(before, after, role, raw, forced, tuple(turns), json.dumps(options, sort_keys=True) if options else "")


def sampling_of(model: Asker, max_tokens: int, temperature: float = 0.0) -> Sampling:
    """With token probabilities where the backend gives them."""
    return _sampling(max_tokens, temperature, _ALTERNATIVES if model.traits.logprobs else 0)


@lru_cache(maxsize=64)
def _sampling(max_tokens: int, temperature: float, alternatives: int) -> Sampling:
    return Sampling(max_tokens, temperature, top_logprobs=alternatives)


def checked_target(case: Case, family: Family, solver: str) -> None:
    """Raises :class:`ConfigError` for a question that the family does not answer."""
    if case.target not in family.targets:
        can = ", ".join(sorted(family.targets))
        raise ConfigError(f"solver {solver}: {family.name} cannot be asked for {case.target}; it judges {can}")


def spoken_turns(sample: Sample, target: Target, roles: Sequence[str] = ("user", "assistant")) -> list[Turn]:
    """The conversation up to what is judged. Turns of roles that the format has no place for are left out."""
    turns = [Turn(role, content) for role, content in sample.history if role in roles]
    turns.append(Turn("user", sample.prompt))
    if target is not Target.PROMPT:
        turns.append(Turn("assistant", sample.response or ""))
    return turns


def transcript(sample: Sample, target: Target, names: Mapping[str, str], between: str) -> str:
    """The conversation as one text, ``User: …``, ``Agent: …`` as ``names`` call the roles; white space round a turn is left
    out, as the families' own templates do.
    """
    turns = spoken_turns(sample, target, tuple(names))
    return between.join(f"{names[role]}: {content.strip()}" for role, content in turns)


def user_and_assistant(sample: Sample, target: Target, absent: str) -> str:
    """Prompt and response under WildGuard's headings, as the families after it keep them; earlier turns stand before.

    A prompt task has no response: ``absent`` stands for it.
    """
    turns = [*sample.history, ("user", sample.prompt)]
    turns.append(("assistant", (sample.response if target is not Target.PROMPT else None) or absent))
    return "\n\n".join(f"{_HEADING[role]}:\n{content}" for role, content in turns if role in _HEADING)


def as_chat(
    sample: Sample,
    target: Target,
    *,
    roles: Sequence[str] = ("user", "assistant"),
    turns: Sequence[Turn] = (),
    forced: str = "",
    options: Mapping[str, Any] | None = None,
) -> Prompt:
    """The conversation as turns, for the model's own chat template to dress; ``turns`` are ours, before it."""
    *earlier, last = spoken_turns(sample, target, roles)
    return Prompt(shared(role=last.role, turns=turns, forced=forced, options=options), last.content, tuple(earlier))


async def each(asked: Sequence[Coroutine[Any, Any, Verdict]], target: Target) -> list[Verdict]:
    """Several questions at once. One that was never heard is a FAILED verdict of its own, for others may still flag."""
    tasks = [asyncio.ensure_future(_heard(one, target)) for one in asked]
    try:
        return list(await asyncio.gather(*tasks))
    finally:  # when one question ends the run, the others must not go on unheard
        for task in tasks:
            task.cancel()


async def _heard(asked: Coroutine[Any, Any, Verdict], target: Target) -> Verdict:
    try:
        return await asked
    except ModelUnusable:
        raise
    except ModelError as e:
        return Verdict(target, Outcome.FAILED, raw=str(e))


async def ask(
    case: Case, model: Asker, family: Family, prompt: Prompt, sampling: Sampling, read: Read, *, joint: str = ""
) -> Verdict:
    """Ask once and read the answer. Control tokens that the sample spells are broken up, unless the backend takes a prompt's
    text literally. ``joint``: text of ours within the hole, which stays; where the sample spells it, it is told by its place,
    the last one.
    """
    sent = prompt if model.traits.literal or not family.controls else _disarmed(prompt, family.controls, joint)
    request = Request(sent, case, sampling)
    verdict = verdict_of(await model.generate(request), request, family, read)
    notes = verdict.notes
    if sent is not prompt:
        notes = (*notes, BROKEN_UP)
    if case.sample.history and not family.history:
        notes = (*notes, "earlier turns were left out: the format has no place for them")
    elif any(role not in family.roles for role, _ in case.sample.history):
        notes = (*notes, f"turns of other roles than {', '.join(family.roles)} were left out")
    return verdict if notes is verdict.notes else replace(verdict, notes=notes)


def _disarmed(prompt: Prompt, controls: Sequence[str], joint: str) -> Prompt:
    head, ours, rest = prompt.text.rpartition(joint) if joint else ("", "", prompt.text)
    text = _broken_up(head, controls) + ours + _broken_up(rest, controls)
    earlier = tuple(Turn(role, _broken_up(content, controls)) for role, content in prompt.earlier)
    return prompt if text == prompt.text and earlier == prompt.earlier else Prompt(prompt.frame, text, earlier)


def _broken_up(text: str, controls: Sequence[str]) -> str:
    for control in controls:
        if control in text:
            text = text.replace(control, control[0] + _SPLIT + control[1:])
    return text
