"""A judged sample as a sample of an Inspect log: what was judged, what was asked and said, the verdict as a score."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guardeval.contracts import Finish
from guardeval.data import Judged, Outcome, Sample, Target, Usage
from guardeval.interop.recorded import Asked, Recorded

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessage, ChatMessageAssistant, ModelOutput, ModelUsage
    from inspect_ai.scorer import Score

__all__ = ["KEY", "PROBABILITY", "VERDICT", "eval_sample", "log_ids", "model_usage", "store_of"]

VERDICT, PROBABILITY = "verdict", "p_positive"  # names of the two scores
KEY = "guardeval"  # under which a sample's store, and a log's metadata, hold what only guardeval reads
_LONGEST_ID = 200
_STOP = {Finish.STOP: "stop", Finish.LENGTH: "max_tokens", Finish.FILTERED: "content_filter"}
_REDACTED = "(redacted: the run keeps no text)"


def log_ids(ids: Iterable[str]) -> list[str]:
    """Ids that a log can hold: they become names of files in it, so control characters, lone surrogates and great lengths
    give way to a digest, and no two samples share one."""
    out: dict[str, None] = {}
    for id_ in ids:
        unique = name = _named(id_)
        n = 2
        while unique in out:
            unique, n = f"{name}#{n}", n + 1
        out[unique] = None
    return list(out)


def _named(id_: str) -> str:
    if id_ and id_.isprintable() and len(id_.encode("utf-8", "replace")) <= _LONGEST_ID:
        return id_
    readable = "".join(c for c in id_[:40] if c.isprintable())
    return f"{readable}#{hashlib.sha256(id_.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def eval_sample(found: Recorded, id_: str, model: str, redacted: bool) -> EvalSample:
    """``store`` holds the line of the samples file, so that an import gives it back as it was."""
    from inspect_ai.log import EvalSample

    judged, asked = found.judged, found.asked()
    sample, verdict = judged.sample, judged.verdict
    target = verdict.target
    gold = sample.labels.get(target)
    messages = _messages(asked, verdict.raw if verdict.outcome is not Outcome.FAILED else "", model)
    usage = model_usage([judged.usage])
    return EvalSample(
        id=id_,
        epoch=1,
        input=_REDACTED if redacted else _input(sample, target),
        target="" if gold is None else target.word(gold),
        messages=messages,
        output=_output(asked, messages, judged, model),
        scores=_scores(judged),
        metadata=_metadata(sample, id_),
        store={KEY: dict(found.record)},
        model_usage={} if usage is None else {model: usage},
        total_time=judged.usage.latency,
        error=_error(judged, redacted),
    )


def _input(sample: Sample, target: Target) -> str | list[ChatMessage]:
    """What is judged: the prompt, or the conversation where there is more than one turn of it."""
    turns = [*sample.history, ("user", sample.prompt)]
    if sample.response is not None and target is not Target.PROMPT:
        turns.append(("assistant", sample.response))
    return sample.prompt if len(turns) == 1 else [_turn(role, content) for role, content in turns]


def _messages(asked: Sequence[Asked], raw: str, model: str) -> list[ChatMessage]:
    """Every request with its answer; where no model was asked, what the verdict was read from."""
    if not asked:
        return [_assistant(raw, None, model)] if raw else []
    out: list[ChatMessage] = []
    for one in asked:
        out += [_turn(role, content) for role, content in one.turns]
        out.append(_assistant(one.answer, one.thinking, model))
    return out


def _turn(role: str, content: str) -> ChatMessage:
    """A turn of what is asked: put in, whoever said it, not generated."""
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser

    if role == "assistant":
        return _assistant(content, None, None)
    return ChatMessageSystem(content=content) if role == "system" else ChatMessageUser(content=content)


def _assistant(text: str, thinking: str | None, model: str | None) -> ChatMessageAssistant:
    """Parts, not one text: Inspect would take reasoning out of a text, and the answer stands as it was given."""
    from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText

    reasoning = [] if thinking is None else [ContentReasoning(reasoning=thinking)]
    return ChatMessageAssistant(
        content=[*reasoning, ContentText(text=text)], model=model, source="generate" if model else "input"
    )


def _output(asked: Sequence[Asked], messages: Sequence[ChatMessage], judged: Judged, model: str) -> ModelOutput:
    from inspect_ai.model import ChatCompletionChoice, ModelOutput

    if not messages:
        return ModelOutput(model=model)
    ending: Any = _STOP[asked[-1].finish] if asked else "stop"
    choice = ChatCompletionChoice(message=messages[-1], stop_reason=ending)
    usage = model_usage([judged.usage])
    return ModelOutput(model=model, choices=[choice], usage=usage, time=judged.usage.latency)


def _scores(judged: Judged) -> dict[str, Score]:
    """``verdict``: C or I against the gold label, NaN, Inspect's word for unscored, without a verdict or a label. And the
    probability of the positive class, where there is one."""
    from inspect_ai.scorer import Score

    sample, verdict = judged.sample, judged.verdict
    gold, label = sample.labels.get(verdict.target), verdict.label
    value: str | float = math.nan if gold is None or label is None else "C" if label is gold else "I"
    explanation = "\n\n".join(f"{s.name}: {s.text}" if s.name else s.text for s in verdict.steps)
    answer = None if label is None else verdict.target.word(label)
    scores = {VERDICT: Score(value=value, answer=answer, explanation=explanation or None, metadata=_told(judged))}
    if verdict.score is not None:
        scores[PROBABILITY] = Score(value=verdict.score, answer=answer)
    return scores


def _told(judged: Judged) -> dict[str, Any]:
    sample, verdict, usage = judged.sample, judged.verdict, judged.usage
    votes = [
        {"member": v.member, "outcome": str(v.outcome), "label": v.label, "score": v.score, "weight": v.weight}
        for v in verdict.votes
    ]
    return {
        "target": str(verdict.target),
        "outcome": str(verdict.outcome),
        PROBABILITY: verdict.score,
        "score_source": verdict.score_source,
        "policies": sorted(verdict.policies),
        "gold_policies": sorted(sample.policies),
        "votes": votes,
        "notes": list(verdict.notes),
        "usage": {
            "requests": usage.requests,
            "cached": usage.cached,
            "latency": usage.latency,
            "tokens_in": usage.tokens_in,
            "tokens_out": usage.tokens_out,
        },
        "cost": usage.cost,
        **({"seen_in_training": True} if judged.seen else {}),
    }


def _metadata(sample: Sample, id_: str) -> dict[str, Any]:
    out: dict[str, Any] = {"row": sample.index}
    if sample.category is not None:
        out["category"] = sample.category
    return out if id_ == sample.id else {**out, "sample_id": sample.id}


def _error(judged: Judged, redacted: bool) -> Any:
    """Of a sample whose guard was never heard; an error may quote the row, so a redacted run's says nothing."""
    from inspect_ai.log import EvalError

    if judged.verdict.outcome is not Outcome.FAILED:
        return None
    said = judged.verdict.raw or ("(redacted)" if redacted else "the guard was never heard")
    return EvalError(message=said, traceback="", traceback_ansi="")


def model_usage(usages: Sequence[Usage]) -> ModelUsage | None:
    """Tokens and cost as Inspect counts them; None where no tokens were counted."""
    from inspect_ai.model import ModelUsage

    known = [u for u in usages if u.tokens_in is not None or u.tokens_out is not None]
    if not known:
        return None
    tokens_in, tokens_out = sum(u.tokens_in or 0 for u in known), sum(u.tokens_out or 0 for u in known)
    costs = [u.cost for u in known]
    cost = None if any(c is None for c in costs) else math.fsum(c for c in costs if c is not None)
    return ModelUsage(input_tokens=tokens_in, output_tokens=tokens_out, total_tokens=tokens_in + tokens_out, total_cost=cost)


def store_of(sample: EvalSample) -> Mapping[str, Any] | None:
    """The line that guardeval left in a sample; None in any other log."""
    found = sample.store.get(KEY)
    return found if isinstance(found, dict) and isinstance(found.get("guardeval"), dict) else None
