"""guardeval's scorers inside Inspect: a score a sample, and metrics that our own scorers compute from all of them.

A score's value has two readings. ``parsed`` is 1 or 0 where there is a verdict, right or wrong, and NaN where there is none:
Inspect counts these as unscored. ``strict`` is 0 where there is none. Inspect hands a metric no sample whose whole value is
NaN, so a single NaN would keep silence out of the strict metrics, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from guardeval.contracts import Case
from guardeval.data import Judged, Outcome, Usage, Verdict
from guardeval.data import Target as OurTarget
from guardeval.errors import GuardevalError
from guardeval.interop.inspect_generate import completion_of
from guardeval.interop.inspect_records import KEY, plain, sample_of, usage_of_record, verdict_of
from guardeval.interop.inspect_solvers import case_of, told
from guardeval.judged import Judgements
from guardeval.registry import Registry, configuration
from guardeval.scoring import checked_scorer, score_task
from guardeval.verdicts import verdict_from

__all__ = ["HEADLINE", "register_scorer"]

HEADLINE = ("classification", "f1_strict")  # scorer and metric: the one number of an evaluation

_SHOWN = ("strict", "parsed", "none")  # accountings; Inspect has no place for all five
_REASON = {Outcome.UNPARSEABLE: "invalid_response_format", Outcome.TRUNCATED: "truncated", Outcome.FAILED: "no_response"}


def register_scorer(name: str) -> Callable[..., Scorer]:
    """The Inspect scorer ``guardeval/<name>`` and its metrics. The plugin is imported when an evaluation names it."""
    own: Callable[..., Metric] = _metrics(name)

    def make(intervals: bool = False, **options: Any) -> Scorer:
        with told():
            ours = checked_scorer(Registry().build("scorers", name, options), name)
        about = {"name": name, "options": configuration(ours), "intervals": bool(intervals)}

        async def score(state: TaskState, target: Target) -> Score:
            case = case_of(state.metadata, texts=False)
            verdict, usage = _heard(state, case)
            return _score(case, verdict, usage, about)

        return score

    make.__name__ = make.__qualname__ = name
    registered: Callable[..., Scorer] = scorer(metrics=[own(), {"parsed": [_SHARE()]}], name=name)(make)
    return registered


def _heard(state: TaskState, case: Case) -> tuple[Verdict, Usage]:
    """What a solver of ours left in the store; of any other solver the closing block of the completion."""
    kept = state.store.get(KEY)
    if isinstance(kept, Mapping) and "verdict" in kept:
        return verdict_of(kept["verdict"]), usage_of_record(kept.get("usage"))
    if state.output is None or state.output.empty:
        return Verdict(
            case.target, Outcome.FAILED, raw="no answer: the sample ended before one, at a limit of Inspect's or with an error"
        ), Usage()
    try:
        completion = completion_of(state.output, state.output.model)
    except GuardevalError as e:
        return Verdict(case.target, Outcome.FAILED, raw=str(e)), Usage()
    usage = Usage(1, 0, state.output.time, completion.tokens_in, completion.tokens_out)
    return verdict_from(completion, case), usage


def _score(case: Case, verdict: Verdict, usage: Usage, about: Mapping[str, Any]) -> Score:
    gold, label = case.sample.labels.get(case.target), verdict.label
    right = float(label is not None and label is gold)
    return Score(
        value={"parsed": math.nan if label is None else right, "strict": right},
        answer=None if label is None else case.target.word(label),
        explanation=_explained(verdict),
        reason=_REASON.get(verdict.outcome),
        metadata={
            "outcome": verdict.outcome.value,
            "p_positive": verdict.score,
            "policies": sorted(verdict.policies),
            KEY: {"verdict": plain(verdict), "usage": plain(usage), "scorer": dict(about)},
        },
    )


def _explained(verdict: Verdict) -> str:
    """The guard's reasoning by step, or its words; where there is no verdict, why."""
    steps = "\n\n".join(f"**{s.name}**: {s.text}" for s in verdict.steps)
    words = plain(steps or verdict.raw)
    if verdict.label is not None:
        return str(words)
    return "\n\n".join(p for p in (f"No verdict: {verdict.outcome}", "; ".join(verdict.notes), words) if p)


# ── metrics ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _metrics(name: str) -> Callable[..., Metric]:
    """One Inspect metric that gives all numbers of a scorer: ``f1_strict``, ``f1_parsed``, …, and ``coverage``.

    Unreduced, as all of ours: with several epochs each draw counts, and intervals are over prompts.
    """

    nothing = {HEADLINE[1]: math.nan} if name == HEADLINE[0] else {}  # Inspect looks for it before there are scores

    def make() -> Metric:
        def values(scores: list[SampleScore]) -> Value:
            return _numbers(scores) or nothing

        return values

    make.__name__ = make.__qualname__ = name
    registered: Callable[..., Metric] = metric(name=name, scores="unreduced")(make)
    return registered


def _accuracy() -> Metric:
    """Share of right ones among those that it is given: under ``parsed`` the draws with a verdict."""

    def share(scores: list[SampleScore]) -> Value:
        return sum(s.score.as_float() for s in scores) / len(scores) if scores else math.nan

    return share


_SHARE: Callable[..., Metric] = metric(name="accuracy", scores="unreduced")(_accuracy)


def _numbers(scores: Sequence[SampleScore]) -> dict[str, float]:
    kept = [(s, s.score.metadata[KEY]) for s in scores if s.score.metadata and KEY in s.score.metadata]
    if not kept:
        return {}
    first, about = kept[0][0].sample_metadata[KEY], kept[0][1]["scorer"]
    judged = Judgements.of([_judged(s, own) for s, own in kept], OurTarget(first["target"]), first["policy_names"])
    ours = Registry().for_files().build("scorers", about["name"], about["options"])
    found, _ = score_task(judged, {about["name"]: ours})
    out: dict[str, float] = {}
    for key, value in found.items():
        stem, comma, accounting = key.partition(",")
        if not comma or accounting not in _SHOWN or stem.endswith("_n"):
            continue
        end = "" if accounting == "none" else f"_{accounting}"
        if not stem.endswith("_ci"):
            out[stem + end] = float(value)
        elif about["intervals"]:
            low, high = value
            out |= {f"{stem.removesuffix('_ci')}{end}_low": low, f"{stem.removesuffix('_ci')}{end}_high": high}
    counts = {str(o): float(n) for o, n in found["outcomes"].items() if o != Outcome.PARSED}
    return {**out, "coverage": found["coverage"], **counts}


def _judged(scored: SampleScore, own: Mapping[str, Any]) -> Judged:
    sample = sample_of(scored.sample_metadata[KEY]["sample"])
    return Judged(sample, verdict_of(own["verdict"]), usage_of_record(own["usage"]))
