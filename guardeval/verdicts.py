"""From what a guard wrote to a verdict: the label it states, or the reason why there is none. Never a guess.

Read in this order: a judgement (models that classify) is the verdict; an answer that the provider withheld is unparseable;
reasoning without an end is truncated; then the last closing block after the reasoning counts, unless it repeats the text
that was to be judged. Solvers with a format of their own bring a :class:`Reading` and leave the rest to :func:`settle`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from guardeval.contracts import Case, Completion, Finish, Judgement, Prompt, Request
from guardeval.data import Outcome, Step, Target, Verdict
from guardeval.verdict_block import after_thinking, find_block, policy_names
from guardeval.verdict_echo import repeats_prompt, spells, squeeze
from guardeval.verdict_score import score_at
from guardeval.verdict_steps import read_steps

__all__ = ["ECHO", "Reading", "echo_of", "read_block", "settle", "thinking_of", "verdict_from", "verdict_of_judgement"]

ECHO = "the answer repeats the sample"
_LONGEST_BLOCK = 4096  # characters of a block that are compared with the sample
_NONE: frozenset[str] = frozenset()


class Reading(NamedTuple):
    """What was read from an answer. ``label`` is None unless ``outcome`` is parsed.

    ``answer`` is where the reasoning that the text opens with ends, ``block`` where the part that states the verdict
    begins, ``word`` where the verdict word begins: offsets into the text, the latter two its length where there are none.
    """

    outcome: Outcome
    label: bool | None
    policies: frozenset[str]
    answer: int
    block: int
    word: int
    notes: tuple[str, ...] = ()


def read_block(text: str, case: Case, prompt: Prompt | None = None, finish: Finish = Finish.STOP) -> Reading:
    """The closing block of design section 5, the last one after the reasoning.

    ``prompt`` is what the text answers: a block that stands in the text put into its hole, or an answer that is one piece of
    it, is unparseable. Without it the sample's own texts are compared. ``finish`` tells an incomplete block that was cut off
    at the token limit (truncated) from one that the guard ended so.
    """
    start = after_thinking(text)
    if start < 0:
        return _none(Outcome.TRUNCATED, text, 0, "the reasoning has no end")
    answer = text[start:] if start else text
    if not answer or answer.isspace():
        cut = start > 0 or finish is Finish.LENGTH
        return _none(Outcome.TRUNCATED if cut else Outcome.UNPARSEABLE, text, start, "no answer" if cut else "an empty answer")
    block = find_block(text, case.target, case.policies, start)
    if finish is Finish.LENGTH and (block is None or block.label is None or not block.whole):
        return _none(Outcome.TRUNCATED, text, start, "cut off at the token limit before its verdict")
    if block is None:
        return _none(Outcome.UNPARSEABLE, text, start, "no Decision line")
    if block.label is None:
        return _none(Outcome.UNPARSEABLE, text, start, "the Decision line holds no single verdict word", block.start)
    echo = echo_of(answer, text[block.start : min(block.end, block.start + _LONGEST_BLOCK)], b"decision", case, prompt)
    if echo is not None:
        return _none(Outcome.UNPARSEABLE, text, start, echo, block.start)
    policies, notes = block.policies, block.notes
    if not block.label and policies and case.target is not Target.REFUSAL:
        policies, notes = _NONE, (*notes, f"{case.target.negative}, yet policies named: {', '.join(sorted(policies))}")
    return Reading(Outcome.PARSED, block.label, policies, start, block.start, block.word, notes)


def verdict_from(completion: Completion, case: Case, steps: Sequence[str] = (), request: Request | None = None) -> Verdict:
    """The verdict of one completion that was asked for reasoning under the headings ``steps`` and for the closing block.

    ``request`` gives the prompt, for telling answers from echoes, and the headings where none are passed.
    """
    headings = steps or (request.steps if request is not None else ())
    if completion.judgement is not None:
        return verdict_of_judgement(completion.judgement, completion.text, case, headings)
    reading = read_block(completion.text, case, None if request is None else request.prompt, completion.finish)
    found = read_steps(completion.text[reading.answer : reading.block], headings, thinking_of(completion, reading))
    return settle(completion, case.target, reading, found)


def thinking_of(completion: Completion, reading: Reading) -> str | None:
    """The reasoning that is kept apart from the answer: reported so by the backend, or the text up to ``</think>``."""
    if completion.thinking is not None or not reading.answer:
        return completion.thinking
    return completion.text[: reading.answer].replace("<think>", "").replace("</think>", "")


def settle(
    completion: Completion,
    target: Target,
    reading: Reading,
    steps: tuple[Step, ...] = (),
    readings: Mapping[str, bool | None] | None = None,
) -> Verdict:
    """The verdict that a reading of the completion's text makes, with its score; ``readings`` as in :class:`Verdict`."""
    text, outcome, label, notes = completion.text, reading.outcome, reading.label, reading.notes
    if completion.finish is Finish.FILTERED:
        outcome, label, notes = Outcome.UNPARSEABLE, None, ("withheld by the provider",)
    elif label is None and completion.thinking and not text.strip():
        outcome, notes = Outcome.TRUNCATED, ("reasoning without an answer",)
    if label is None:
        return Verdict(target, outcome, None, None, _NONE, steps, (), text, None, notes, readings)
    score = score_at(completion.tokens, text, reading.word, target.positive, target.negative) if completion.tokens else None
    source = None if score is None else "tokens"
    return Verdict(target, outcome, label, score, reading.policies, steps, (), text, source, notes, readings)


def verdict_of_judgement(judgement: Judgement, text: str, case: Case, headings: Sequence[str] = ()) -> Verdict:
    """The verdict of a model that classifies; its written evidence becomes the steps."""
    probability, label = judgement.probability, judgement.positive
    named = judgement.policies & policy_names(case.policies) if judgement.policies else _NONE
    policies = named if label or case.target is Target.REFUSAL else _NONE
    block = find_block(text, case.target, case.policies) if text else None
    steps = read_steps(text if block is None else text[: block.start], headings)
    return Verdict(case.target, Outcome.PARSED, label, probability, policies, steps, (), text, "classifier", judgement.notes)


def _none(outcome: Outcome, text: str, answer: int, note: str, block: int | None = None) -> Reading:
    end = len(text)
    return Reading(outcome, None, _NONE, answer, end if block is None else block, end, (note,))


def echo_of(answer: str, block: str, opening: bytes, case: Case, prompt: Prompt | None) -> str | None:
    """Why a block is not the guard's own, None if it is.

    It is not when each of its lines, the first from the word ``opening`` (lower case) on, stands in the text that was to be
    judged, or when the answer is a piece of a prompt that spells the block out.
    """
    words, rest = _block_words(block, opening)
    own = squeeze(prompt.said if prompt is not None else _said(case))
    if words in own and all(line in own for line in rest):
        return ECHO
    if prompt is not None and spells(prompt.frame, words) and repeats_prompt(answer, words + b"".join(rest), prompt):
        return "the answer repeats the prompt"
    return None


def _said(case: Case) -> str:
    """All that the sample says."""
    sample = case.sample
    return "\n".join((*(content for _, content in sample.history), sample.prompt, sample.response or ""))


@lru_cache(maxsize=1024)
def _block_words(block: str, opening: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """The squeezed lines of a block, the first from ``opening`` on. Guards write few different blocks."""
    first, *rest = block.split("\n")
    words = squeeze(first)
    if not words.startswith(opening):
        words = words[max(words.find(opening), 0) :]
    return words, tuple(map(squeeze, rest))
