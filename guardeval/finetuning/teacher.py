"""A teacher's own answers as traces to learn from, asked through the broker and kept beside the student."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from guardeval.contracts import BatchModel, Model, Solver
from guardeval.data import Judged, Outcome, Sample, Target
from guardeval.errors import ConfigError, DataError
from guardeval.exposure import fingerprint
from guardeval.policies import PolicySet
from guardeval.runs import write_atomically
from guardeval.training_rows import Split, Trace, TrainingFile, read_training_file, write_training_file

__all__ = ["TEACHER_FILE", "Question", "questions_of", "teacher_traces"]

TEACHER_FILE = "teacher_traces.json"  # in the model folder
_ASKED = "teacher_traces.asked.json"  # what was asked for them, so that nothing is asked twice
_HALF = 1 << 32


@dataclass(frozen=True, slots=True)
class Question:
    """A sample that the teacher is to judge, and what it will be used for."""

    sample: Sample
    target: Target
    split: Split
    about: Mapping[str, Any]


def questions_of(rows: TrainingFile | Iterable[Sample], target: Target, held_out: float, seed: int) -> list[Question]:
    """The rows of a file as they are split there; of samples a seeded ``held_out`` share is for validation."""
    if isinstance(rows, TrainingFile):
        traces: list[Trace] = list(rows)
        return [Question(t.sample, t.target, t.split, t.about) for t in traces]
    files = getattr(rows, "identity", {})
    about = {"source": files} if files else {}
    return [Question(s, target, _split(s.prompt, held_out, seed), about) for s in rows]


def _split(prompt: str, held_out: float, seed: int) -> Split:
    """Equal words land on the same side, whatever the order of the rows."""
    drawn = hashlib.sha256(f"{seed}:{fingerprint(prompt)}".encode()).digest()
    return Split.VALIDATION if int.from_bytes(drawn[:4], "big") < held_out * _HALF else Split.TRAIN


def teacher_traces(
    questions: list[Question], teacher: Model | BatchModel, name: str, solver: Solver, policies: PolicySet, keep: str,
    out: Path, cache: Path | None,
) -> tuple[TrainingFile, dict[str, int]]:  # fmt: skip
    """The traces, and how many answers are none, by reason; read back where the same was asked before.

    ``keep=right`` leaves out answers that contradict the gold label, ``parsed`` keeps them.
    Raises :class:`DataError` where no answer can be learned from.
    """
    asked = _identity(questions, teacher, solver, policies, keep)
    path, note = out / TEACHER_FILE, out / _ASKED
    if path.is_file() and note.is_file():
        said = json.loads(note.read_bytes())
        if said["asked"] == asked:
            return read_training_file(path), dict(said["apart"])
    apart: dict[str, int] = {}
    traces = list(_answered(questions, teacher, name, solver, policies, keep, cache, apart))
    if not any(t.split is Split.TRAIN for t in traces):
        counted = ", ".join(f"{n} {why}" for why, n in apart.items())
        raise DataError(f"teacher {name}: none of its {len(questions)} answers can be learned from ({counted})")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_training_file(path, traces)
        write_atomically(note, json.dumps({"asked": asked, "apart": apart}).encode())
    except OSError as e:
        raise ConfigError(f"{out}: cannot be written: {e.strerror or e}; name another with --out") from e
    return read_training_file(path), apart


def _answered(
    questions: list[Question], teacher: Model | BatchModel, name: str, solver: Solver, policies: PolicySet, keep: str,
    cache: Path | None, apart: dict[str, int],
) -> Iterator[Trace]:  # fmt: skip
    from guardeval.judging import judge

    for target in sorted({q.target for q in questions}):
        mine = [q for q in questions if q.target is target]
        found: list[Judged] = list(judge([q.sample for q in mine], target, policies, solver, teacher, name, cache=cache))
        for question, judged in zip(mine, found, strict=True):
            trace = _trace(question, judged, name, keep)
            if isinstance(trace, Trace):
                yield trace
            else:
                apart[trace] = apart.get(trace, 0) + 1


def _trace(question: Question, judged: Judged, name: str, keep: str) -> Trace | str:
    """The row to learn, or why there is none."""
    verdict, gold = judged.verdict, question.sample.labels.get(question.target)
    if verdict.outcome is not Outcome.PARSED or verdict.label is None:
        return str(verdict.outcome)
    if keep == "right" and gold is not None and gold is not verdict.label:
        return "disagrees with gold"
    steps = tuple(replace(step, text=" ".join(step.text.split())) for step in verdict.steps)
    kept = {k: v for k, v in question.about.items() if k not in ("teacher", "teacher_identity", "hints", "tokens", "cost")}
    about = {"kind": "trace", **kept, "teacher": name, "hints": "none"}
    return Trace(question.sample, question.target, verdict.label, verdict.policies, steps, question.split, about)


def _identity(questions: list[Question], teacher: Model | BatchModel, solver: Solver, policies: PolicySet, keep: str) -> str:
    from guardeval.registry import configuration

    whole = hashlib.sha256()
    facts = {
        "teacher": dict(teacher.identity),
        "solver": {"class": type(solver).__qualname__, **configuration(solver)},
        "policies": {p.name: p.text for p in policies.policies},
        "keep": keep,
    }
    whole.update(json.dumps(facts, sort_keys=True, default=str).encode())
    for q in questions:
        gold = q.sample.labels.get(q.target)
        whole.update(json.dumps([q.sample.id, q.sample.prompt, q.sample.response, q.target, q.split, gold]).encode())
    return whole.hexdigest()
