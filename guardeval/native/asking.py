"""Asking a guard in its family's own format: the prompt in the form that the backend takes, the verdict that comes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from guardeval.contracts import Asker, Case, Frame, Prompt, Request, Sampling, Turn
from guardeval.data import Sample, Target, Verdict
from guardeval.native.family import Family
from guardeval.native.reading import Read, verdict_of

__all__ = [
    "BROKEN_UP",
    "as_chat",
    "as_shown",
    "ask",
    "forces_turn",
    "noted",
    "sampling_of",
    "shared",
    "spoken_turns",
    "transcript",
    "under_headings",
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
    response = sample.response if target is not Target.PROMPT else None
    return under_headings([*sample.history, ("user", sample.prompt), ("assistant", response or absent)])


def under_headings(turns: Sequence[tuple[str, str]]) -> str:
    """``Human user:`` and ``AI assistant:``, each above what was said; other roles have no heading and are left out."""
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


def forces_turn(model: Asker) -> bool:
    """Whether the beginning of an assistant's turn can be forced. A server's chat would take it as one more turn, which a
    guard's template judges, or which the server answers all over again.
    """
    return model.traits.forced and not model.traits.remote


async def ask(
    case: Case, model: Asker, family: Family, render: Callable[[Case], Prompt], sampling: Sampling, read: Read
) -> Verdict:
    """Ask once and read the answer. ``render`` makes the prompt of a case: its sample's control tokens are broken up before,
    unless the backend takes a prompt's text literally, so that those of the format alone are left.
    """
    shown = as_shown(case, model, family)
    request = Request(render(shown), case, sampling)
    return noted(verdict_of(await model.generate(request), request, family, read), case, shown, family)


def as_shown(case: Case, model: Asker, family: Family) -> Case:
    """The case as the model may see it: without the family's control tokens where the backend would take them for its own."""
    return case if model.traits.literal else _disarmed(case, family.controls)


def noted(verdict: Verdict, case: Case, shown: Case, family: Family) -> Verdict:
    """The verdict, with what was not shown as the case has it among its notes."""
    notes = verdict.notes
    if shown is not case:
        notes = (*notes, BROKEN_UP)
    if case.sample.history and not family.history:
        notes = (*notes, "earlier turns were left out: the format has no place for them")
    elif any(role not in family.roles for role, _ in case.sample.history):
        notes = (*notes, f"turns of other roles than {', '.join(family.roles)} were left out")
    return verdict if notes is verdict.notes else replace(verdict, notes=notes)


def _disarmed(case: Case, controls: Sequence[str]) -> Case:
    """The case with the control tokens that its sample spells broken up; the same object where it spells none."""
    sample = case.sample
    texts = [sample.prompt, sample.response or "", *(content for _, content in sample.history)]
    if not any(control in text for text in texts for control in controls):
        return case
    response = None if sample.response is None else _broken_up(sample.response, controls)
    history = tuple((role, _broken_up(content, controls)) for role, content in sample.history)
    shown = replace(sample, prompt=_broken_up(sample.prompt, controls), response=response, history=history)
    return Case(shown, case.target, case.policies)


def _broken_up(text: str, controls: Sequence[str]) -> str:
    for control in controls:
        text = text.replace(control, control[0] + _SPLIT + control[1:])
    return text
