"""A review set: misjudged samples of a run, drawn by mode of failure and category, with the weights to extrapolate by."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from guardeval.data import Judged, Step, Usage, Vote
from guardeval.failures import MARGIN, MISJUDGED, Mode, kinds, modes
from guardeval.judged import Judgements
from guardeval.subset import draw

__all__ = ["DrawnMode", "ErrorSample", "draw_errors", "review_rows"]

_BREAKS = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}  # JSON allows them, and some readers end a line there


@dataclass(frozen=True, slots=True)
class DrawnMode:
    """How many samples of a mode there were and were drawn; ``weight`` = there / drawn, nan where none was."""

    mode: Mode
    there: int
    drawn: int

    @property
    def weight(self) -> float:
        return self.there / self.drawn if self.drawn else math.nan


@dataclass(frozen=True, slots=True)
class ErrorSample:
    """Places of the drawn samples, in source order, with the stratum of each; every sample of a stratum had one chance."""

    places: tuple[int, ...]
    strata: tuple[tuple[Mode, str], ...]  # mode and category ("" where there is none) of each place
    modes: tuple[DrawnMode, ...]
    by_stratum: dict[tuple[Mode, str], tuple[int, int]]  # there, drawn
    asked: int

    @property
    def there(self) -> int:
        return sum(m.there for m in self.modes)


def draw_errors(judged: Judgements, n: int, seed: int = 0, mode: Mode | None = None, margin: float = MARGIN) -> ErrorSample:
    """``n`` misjudged samples (all, where there are fewer): modes and, inside a mode, categories in their shares.

    ``mode`` keeps to one; ``EDGE`` takes all edge cases, those judged right too. Within a mode every sample has the same
    chance, so that a share found among the drawn ones of a mode, times its weight, extrapolates. The choice depends on
    the run, ``n``, ``seed``, ``mode`` and ``margin`` alone; see :func:`~guardeval.subset.draw`.
    """
    if mode is Mode.EDGE:
        edge = modes(judged, margin)[Mode.EDGE]
        of: list[Mode | None] = [Mode.EDGE if e else None for e in edge.tolist()]
    else:
        wanted = MISJUDGED if mode is None else (mode,)
        of = [k if k in wanted else None for k in kinds(judged, margin)]
    strata = [(i, (k.value, judged.categories[i] or "")) for i, k in enumerate(of) if k is not None]
    there = Counter(s for _, s in strata)
    choose = draw(there, n, seed)
    drawn = [(i, s) for i, s in strata if choose(s)]
    count = Counter(s for _, s in drawn)
    return ErrorSample(
        tuple(i for i, _ in drawn),
        tuple((Mode(kind), category) for _, (kind, category) in drawn),
        tuple(_drawn_mode(m, there, count) for m in Mode if any(kind == m for kind, _ in there)),
        {(Mode(s[0]), s[1]): (size, count[s]) for s, size in sorted(there.items())},
        n,
    )


def _drawn_mode(mode: Mode, there: Counter[tuple[str, str]], drawn: Counter[tuple[str, str]]) -> DrawnMode:
    sizes = [sum(c for (kind, _), c in counts.items() if kind == mode) for counts in (there, drawn)]
    return DrawnMode(mode, *sizes)


def review_rows(
    judged: Judgements, sample: ErrorSample, task: str, *, redacted: bool = False, margin: float = MARGIN
) -> Iterator[bytes]:
    """A JSON line for each drawn sample, read from the run folder one at a time.

    ``id``, ``index``, ``task``, ``modes`` (all that apply), ``stratum`` and ``weight``; of a run that is not redacted
    also gold, verdict, score, policies, texts, reasoning and votes.
    """
    weights = {m.mode: m.weight for m in sample.modes}
    found = modes(judged, margin)
    for place, (mode, category) in zip(sample.places, sample.strata, strict=True):
        there, drawn = sample.by_stratum[mode, category]
        row: dict[str, Any] = {
            "id": judged.ids[place],
            "index": int(judged.row[place]),
            "task": task,
            "modes": [m.value for m, mask in found.items() if mask[place]],
            "stratum": {"mode": mode.value, "category": category or None, "there": there, "drawn": drawn},
            "weight": weights[mode],
        }
        if not redacted:
            row |= _what_was_said(judged[place])
        yield json.dumps(row, ensure_ascii=False).translate(_BREAKS).encode("utf-8", "backslashreplace") + b"\n"


def _what_was_said(one: Judged) -> dict[str, Any]:
    sample, verdict = one.sample, one.verdict
    gold = sample.labels.get(verdict.target)
    return {
        "target": verdict.target.value,
        "gold": None if gold is None else verdict.target.word(gold),
        "gold_policies": sorted(sample.policies),
        "known_policies": sorted(sample.known_policies),
        "verdict": None if verdict.label is None else verdict.target.word(verdict.label),
        "outcome": verdict.outcome.value,
        "score": verdict.score,
        "policies": sorted(verdict.policies),
        "codes": list(verdict.codes),
        "prompt": sample.prompt,
        "response": sample.response,
        "steps": _steps(verdict.steps),
        "raw": verdict.raw,
        "votes": [_vote(v) for v in verdict.votes],
        "usage": _usage(one.usage),
    }


def _steps(steps: tuple[Step, ...]) -> list[dict[str, str]]:
    return [{"name": s.name, "text": s.text} for s in steps]


def _vote(vote: Vote) -> dict[str, Any]:
    """``label``: True = the positive class, None = none was heard."""
    return {
        "member": vote.member,
        "outcome": vote.outcome.value,
        "label": vote.label,
        "score": vote.score,
        "policies": sorted(vote.policies),
        "weight": vote.weight,
        "steps": _steps(vote.steps),
        "raw": vote.raw,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {"latency": usage.latency, "tokens_in": usage.tokens_in, "tokens_out": usage.tokens_out, "cost": usage.cost}
