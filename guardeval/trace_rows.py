"""From a judged sample to a row that can be trained on, or to the reason why it cannot.

What is kept apart keeps everything that was heard: it was paid for, and says how the teacher fails.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from guardeval.contracts import Case, Completion, Request, Solver, Traits
from guardeval.data import Judged, Outcome, Sample, Step, Target, Verdict
from guardeval.errors import ConfigError, DataError, GuardevalError
from guardeval.policies import PolicySet
from guardeval.refusals import is_refusal
from guardeval.training_rows import OWN, Trace
from guardeval.training_text import answer_of
from guardeval.values import value

__all__ = ["UNHINTED", "Apart", "Reason", "check_inner", "judged_of_apart", "steps_of", "trace_or_reason"]

UNHINTED = "asked without a hint: the model reads no prompt"
_WITHHELD = "withheld by the provider"
_THINKING = "Thinking"
_NUMBER = re.compile(r"(?:^|\n)[ \t*#_-]{0,8}step[ \t]{1,4}(\d{1,3})[ \t]*[*_]{0,2}[:.)][ \t*_]*", re.IGNORECASE)


class Reason(StrEnum):
    """Why an answer is no trace."""

    REFUSED = "refused"  # the provider withheld it, or the teacher said that it will not
    UNREADABLE = "unreadable"  # no verdict, no reasoning, or a text that no solver would read back
    TRUNCATED = "truncated"
    FAILED = "failed"  # never heard
    DISAGREES = "disagrees with gold"


@value
class Apart:
    """A judged sample that is no trace. ``detail`` says more than the reason."""

    judged: Judged
    target: Target
    reason: Reason
    detail: str
    about: Mapping[str, Any]

    def to_row(self) -> dict[str, Any]:
        sample, verdict = self.judged.sample, self.judged.verdict
        own = {
            **self.about,
            "target": str(self.target),
            "index": sample.index,
            "gold": sample.labels.get(self.target),
            "gold_policies": sorted(sample.policies),
            "known_policies": sorted(sample.known_policies),
        }
        return {
            "id": sample.id,
            "prompt": sample.prompt,
            "response": sample.response,
            "reason": str(self.reason),
            "detail": self.detail,
            "answer": verdict.raw,
            "classification": None if verdict.label is None else self.target.word(verdict.label),
            "policies": sorted(verdict.policies),
            OWN: own,
        }


_OUTCOME = {Reason.FAILED: Outcome.FAILED, Reason.TRUNCATED: Outcome.TRUNCATED}


def judged_of_apart(row: Mapping[str, Any], index: int) -> Judged:
    """What a row of an ``.apart.jsonl`` file was judged to be. Raises :class:`ValueError` for a row that is none."""
    own = row.get(OWN)
    if not isinstance(own, Mapping) or not isinstance(row.get("prompt"), str):
        raise ValueError("no row that `guardeval traces` kept apart")  # noqa: TRY004 - wrong data, no wrong call
    target, reason, gold = Target(str(own.get("target"))), Reason(str(row.get("reason"))), own.get("gold")
    labels = {target: gold} if isinstance(gold, bool) else {}
    found = own.get("index")
    sample = Sample(str(row.get("id")), found if isinstance(found, int) else index, row["prompt"], row.get("response"), labels)
    said = {target.positive: True, target.negative: False}.get(str(row.get("classification")))
    outcome = Outcome.PARSED if said is not None else _OUTCOME.get(reason, Outcome.UNPARSEABLE)
    policies = frozenset(map(str, row.get("policies") or ())) if said is not None else frozenset()
    return Judged(sample, Verdict(target, outcome, said, None, policies, raw=str(row.get("answer") or "")))


def check_inner(solver: Solver, target: Target, policies: PolicySet) -> None:
    """Raises :class:`ConfigError` for a solver that does not ask just once: its answers are no single text to train on."""
    import asyncio

    counting = _Counting()
    try:
        asyncio.run(solver.solve(Case(Sample("0", 0, "", ""), target, policies), counting))
    except GuardevalError:
        raise
    except Exception as e:  # e.g. one that wants several models
        raise ConfigError(f"solver {type(solver).__name__} cannot ask a single teacher ({e}); use multistep") from e
    if counting.asked != 1:
        raise ConfigError(
            f"solver {type(solver).__name__} asks {counting.asked} questions a sample, so no single answer can be trained on; "
            "use one that asks once: multistep, singlestep or fewshot_cot"
        )


class _Counting:
    """An asker that answers nothing and counts."""

    name = "traces"
    traits = Traits()

    def __init__(self) -> None:
        self.asked = 0

    async def generate(self, request: Request) -> Completion:
        self.asked += 1
        return Completion("")


def steps_of(verdict: Verdict) -> tuple[Step, ...]:
    """The reasoning that was asked for: thinking kept apart by the backend is no part of it; numbered steps are taken apart."""
    steps = tuple(s for s in verdict.steps if s.name != _THINKING)
    if len(steps) != 1:
        return steps
    parts = _NUMBER.split(steps[0].text)
    numbers, texts = parts[1::2], [t.strip() for t in parts[2::2]]
    if len(numbers) < 2 or [int(n) for n in numbers] != list(range(1, len(numbers) + 1)) or not all(texts):
        return steps
    return tuple(Step(f"Step {n}", text) for n, text in zip(numbers, texts, strict=True))


def trace_or_reason(
    judged: Judged, target: Target, inner: Solver, policies: PolicySet, about: Mapping[str, Any], keep_wrong: bool = False
) -> Trace | Apart:
    """The row to train on; of an answer that is none, or (unless ``keep_wrong``) contradicts gold, the reason.

    Every trace is one that the inner solver reads back as what it says.
    """
    verdict, sample = judged.verdict, judged.sample
    if UNHINTED in verdict.notes:
        about = {**about, "hints": "none"}
    about = {**about, **_usage(judged)}
    missing = _without_label(verdict)
    if missing is not None or verdict.label is None:
        reason, detail = missing or (Reason.UNREADABLE, "")
        return Apart(judged, target, reason, detail, about)
    steps = steps_of(verdict)
    gold = sample.labels.get(target)
    if gold is not None and gold is not verdict.label and not keep_wrong:
        detail = f"gold is {target.word(gold)}, the teacher says {target.word(verdict.label)}"
        return Apart(judged, target, Reason.DISAGREES, detail, about)
    if not steps:
        return Apart(judged, target, Reason.UNREADABLE, "a verdict without reasoning", about)
    known = verdict.policies & frozenset(policies.names)
    trace = Trace(sample, target, verdict.label, known, tuple(replace(s, text=_one_line(s.text)) for s in steps), about=about)
    try:
        answer_of(trace, inner, policies)
    except ConfigError:
        raise  # the solver, not this row
    except DataError as e:
        return Apart(judged, target, Reason.UNREADABLE, str(e), about)
    return trace


def _without_label(verdict: Verdict) -> tuple[Reason, str] | None:
    detail = verdict.notes[0] if verdict.notes else ""
    if verdict.outcome is Outcome.FAILED:
        return Reason.FAILED, verdict.raw
    if verdict.outcome is Outcome.TRUNCATED:
        return Reason.TRUNCATED, detail
    if verdict.outcome is Outcome.UNPARSEABLE:
        if _WITHHELD in verdict.notes:
            return Reason.REFUSED, _WITHHELD
        if is_refusal(verdict.raw):
            return Reason.REFUSED, "a refusal in place of an answer"
        return Reason.UNREADABLE, detail
    return None


def _one_line(text: str) -> str:
    """A step holds no empty lines, and no line that reads as the next step's number."""
    return re.sub(r"\s*\n\s*", " ", text.strip())


def _usage(judged: Judged) -> dict[str, Any]:
    """``tokens`` written by the teacher, closing block included, and ``cost`` in US dollars; left out where not known."""
    usage = judged.usage
    return {k: v for k, v in (("tokens", usage.tokens_out), ("cost", usage.cost)) if v is not None}
