"""A verified variant as a row that trains: its reasoning, where it came from, who said what of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from guardeval.contracts import Solver
from guardeval.data import Sample, Target
from guardeval.errors import DataError
from guardeval.exposure import fingerprint
from guardeval.policies import PolicySet
from guardeval.streamed_file import writing
from guardeval.synthesis.kinds import Slot
from guardeval.synthesis.verifying import Opinion, Opinions
from guardeval.training_rows import Trace, write_training_file
from guardeval.training_text import answer_of
from guardeval.values import value

__all__ = ["Apart", "Candidate", "sample_of", "trace_of", "write_apart", "write_rows"]


@value
class Candidate:
    """A text that was written for a slot, and may become a row."""

    slot: Slot
    text: str


@value
class Apart:
    """Something that was left out, and why. ``text`` is None where it must not be kept."""

    slot: Slot
    reason: str
    text: str | None = None
    about: Mapping[str, Any] | None = None

    def to_row(self) -> dict[str, Any]:
        where = {"seed": self.slot.seed.sample.id, "kind": self.slot.kind.name, "draw": self.slot.draw}
        return {"reason": self.reason, **where, "text": self.text, **(self.about or {})}


def sample_of(candidate: Candidate) -> Sample:
    """The variant as verifiers see it; its id is its text's fingerprint."""
    labels = {Target.PROMPT: candidate.slot.label}
    return Sample(f"synthetic-{fingerprint(candidate.text):016x}", 0, candidate.text, labels=labels)


def trace_of(candidate: Candidate, opinions: Opinions, solver: Solver, policies: PolicySet, generator: str) -> Trace | None:
    """The row, with the reasoning of the first verifier that agrees and whose answer the solver reads back as it stands.

    None where no reasoning does.
    """
    agreed = opinions.policies
    sample = replace(sample_of(candidate), policies=agreed, known_policies=agreed)
    about = _about(candidate, opinions, generator)
    for opinion in opinions.agreeing:
        verdict = opinion.verdict
        assert verdict.label is not None  # noqa: S101  # it was heard
        if not opinion.steps:
            continue
        row = Trace(
            sample, Target.PROMPT, verdict.label, verdict.policies, opinion.steps, about=about | {"teacher": opinion.verifier}
        )
        try:
            answer_of(row, solver, policies)
        except DataError:
            continue
        return row
    return None


def _about(candidate: Candidate, opinions: Opinions, generator: str) -> dict[str, Any]:
    seed = candidate.slot.seed
    about: dict[str, Any] = {
        "task": seed.task,
        "source": seed.source,
        "kind": "synthetic",
        "variant": candidate.slot.kind.name,
        "licence": f"synthetic: the terms of {generator} and the licence of its seeds ({seed.licence}) apply",
        "hints": "none",
        "generator": generator,
        "intended_policies": list(candidate.slot.policies),
        "agreement": round(opinions.agreement, 4),
        "heard": len(opinions.heard),
        "verifiers": said_of(opinions),
        "seeds": [{"id": seed.sample.id, "prompt": seed.fingerprint}, *map(dict, seed.seeds)],
    }
    if seed.contaminated_with:
        about["contaminated_with"] = list(seed.contaminated_with)
    if seed.exposed:
        about["exposed"] = list(seed.exposed)
    return about


def said_of(opinions: Opinions) -> list[dict[str, Any]]:
    """Each verifier's verdict, without its words."""
    return [_said(o) for o in opinions.opinions]


def _said(opinion: Opinion) -> dict[str, Any]:
    verdict = opinion.verdict
    return {
        "model": opinion.verifier,
        "outcome": str(verdict.outcome),
        "label": verdict.label,
        "score": verdict.score,
        "policies": sorted(verdict.policies),
    }


# ---- files ----


def write_rows(path: Path, rows: Sequence[Trace]) -> Path:
    numbered = (replace(row, sample=replace(row.sample, index=i)) for i, row in enumerate(rows))
    return write_training_file(path, numbered)


def write_apart(path: Path, rows: Iterable[Apart]) -> None:
    with writing(path) as f:
        for row in rows:
            f.write(orjson.dumps(row.to_row()) + b"\n")
