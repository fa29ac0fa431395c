"""What the page shows of a sample, as JSON. What a blind reviewer must not know is left out here, not hidden in the page.

Texts are hostile. The page sets them as text; here, control and direction characters become visible marks, so that what a
reviewer reads is what a guard was given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from guardeval.data import Judged, Step, Target, Verdict, Vote
from guardeval.review.marks import Marks

__all__ = ["marks_view", "member_names", "sample_view", "visible"]

# control characters but tab and newline, direction overrides and isolates, zero-width and invisible ones
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")


def visible(text: str) -> str:
    """Text with its invisible characters spelt out, as in ``⟦U+202E⟧``; lone surrogates as U+FFFD."""
    spelt = _UNSEEN.sub(lambda found: f"⟦U+{ord(found[0]):04X}⟧", text.replace("\r\n", "\n"))
    return spelt.encode("utf-8", "replace").decode()


def sample_view(judged: Judged, position: int, hidden: bool) -> dict[str, Any]:
    """A sample as the page gets it. ``hidden``: the texts and nothing else; an id or a category may tell the answer, too."""
    sample = judged.sample
    view: dict[str, Any] = {
        "position": position,
        "hidden": hidden,
        "prompt": visible(sample.prompt),
        "response": None if sample.response is None else visible(sample.response),
    }
    if hidden:
        return view
    verdict = judged.verdict
    gold = sample.labels.get(verdict.target)
    return view | {
        "id": visible(sample.id),
        "category": None if sample.category is None else visible(sample.category),
        "gold": None if gold is None else verdict.target.word(gold),
        "gold_policies": _names(sample.policies),
        "right": None if gold is None else verdict.label is gold,
        "verdict": _verdict_view(verdict),
        "voters": verdict.voters,
        "votes": [
            _vote_view(v, name, verdict.target) for v, name in zip(verdict.votes, member_names(verdict.votes), strict=True)
        ],
    }


def member_names(votes: Sequence[Vote]) -> list[str]:
    """Names of the members, each once: a second vote of one name is ``name #2``."""
    seen: dict[str, int] = {}
    names = []
    for vote in votes:
        seen[vote.member] = seen.get(vote.member, 0) + 1
        names.append(vote.member if seen[vote.member] == 1 else f"{vote.member} #{seen[vote.member]}")
    return names


def _said(target: Target, outcome: str, label: bool | None, score: float | None) -> dict[str, Any]:
    return {"outcome": outcome, "word": None if label is None else target.word(label), "score": score}


def _verdict_view(verdict: Verdict) -> dict[str, Any]:
    return _said(verdict.target, verdict.outcome, verdict.label, verdict.score) | {
        "mean_score": verdict.mean_score,
        "policies": _names(verdict.policies),
        "steps": _steps(verdict.steps),
        "raw": visible(verdict.raw),
        "notes": [visible(n) for n in verdict.notes],
    }


def _vote_view(vote: Vote, name: str, target: Target) -> dict[str, Any]:
    return _said(target, vote.outcome, vote.label, vote.score) | {
        "key": name,
        "member": visible(name),
        "weight": vote.weight,
        "policies": _names(vote.policies),
        "steps": _steps(vote.steps),
        "raw": visible(vote.raw),
    }


def _steps(steps: Sequence[Step]) -> list[list[str]]:
    return [[visible(s.name), visible(s.text)] for s in steps]


def _names(names: frozenset[str]) -> list[str]:
    return sorted(map(visible, names))


def marks_view(marks: Marks) -> Mapping[str, Any]:
    return {
        "mark": marks.mark,
        "label": marks.label,
        "category": marks.category,
        "coherent": marks.coherent,
        "comment": marks.comment or "",
        "members": dict(marks.members or {}),
        "revealed": marks.revealed,
        "reviewed": marks.reviewed,
    }
