"""Pairs for DPO: out of a file as they are, or drawn from samples; and pairs as tokens."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from guardeval.contracts import BatchModel, Case, Model, Solver
from guardeval.data import Judged, Sample, Target
from guardeval.errors import ConfigError, DataError
from guardeval.exposure import fingerprint
from guardeval.finetuning.dpo_draws import Drawing, Question, hard_pairs
from guardeval.finetuning.token_rows import LeftOut, Tokens
from guardeval.models import MODEL_FILE
from guardeval.policies import PolicySet
from guardeval.runs import write_atomically
from guardeval.training_rows import Pair, Split, Trace, TrainingFile, read_training_file, write_training_file
from guardeval.training_text import read_answer, request_of

__all__ = ["PAIRS_FILE", "Questions", "drawn_pairs", "pair_rows", "questions_of"]

PAIRS_FILE = "dpo_pairs.json"  # in the model folder: what was drawn, as it was trained on
_DRAWN = "dpo_pairs.drawn.json"  # how it was drawn; written last


@dataclass(frozen=True, slots=True)
class Questions:
    """Samples to draw on, and rows that only validate. ``digest`` tells the data apart by content."""

    train: tuple[Question, ...]
    validation: tuple[Trace, ...]
    digest: str


def questions_of(rows: Iterable[Sample] | TrainingFile, target: Target, share: float, seed: int) -> Questions:
    """Traces keep their split and target; of plain samples, ``share`` validate, chosen by prompt: equal ones stay together.

    A sample is drawn on once, however many traces it has. Raises :class:`DataError` where no sample is labelled.
    """
    if isinstance(rows, TrainingFile):
        labelled = zip(rows.samples(), rows, strict=True)
        found = [(Question(sample, row.target, dict(row.about)), row.split) for sample, row in labelled]
    else:
        task = getattr(rows, "task", None)  # rows of a task know it
        about = {} if task is None else {"task": task.name, "licence": task.licence}
        found = [(Question(s, target, about), _split(s, share, seed)) for s in rows if target in s.labels]
    if not found:
        raise DataError(f"no sample is labelled for {target}: name what the rows are labelled for with --target")
    train = _once(q for q, split in found if split is Split.TRAIN)
    held = _once(q for q, split in found if split is Split.VALIDATION)
    if not train:
        raise DataError(f"none of {len(found)} samples is left to train on: all are for validation")
    return Questions(train, tuple(map(_held, held)), _digest(found))


def _once(questions: Iterable[Question]) -> tuple[Question, ...]:
    return tuple({(q.target, q.sample.prompt, q.sample.response): q for q in reversed(list(questions))}.values())[::-1]


def _split(sample: Sample, share: float, seed: int) -> Split:
    place = hashlib.sha256(f"{seed}:{fingerprint(sample.prompt)}".encode()).digest()
    return Split.VALIDATION if int.from_bytes(place[:8], "big") < share * 2**64 else Split.TRAIN


def _held(question: Question) -> Trace:
    sample = question.sample
    return Trace(sample, question.target, sample.labels[question.target], sample.policies, (), Split.VALIDATION, question.about)


def _digest(found: Iterable[tuple[Question, Split]]) -> str:
    whole = hashlib.sha256()
    for question, split in found:
        sample = question.sample
        row = [sample.id, sample.prompt, sample.response, question.target, sample.labels.get(question.target), split]
        whole.update(json.dumps(row).encode())
    return whole.hexdigest()


# ---- drawn pairs ----


def drawn_pairs(
    questions: Questions,
    policies: PolicySet,
    solver: Solver,
    model: Callable[[], Model | BatchModel],
    drawing: Drawing,
    identity: Mapping[str, Any],
    out: Path,
    cache: Path | None,
) -> TrainingFile:
    """Pairs of the hard samples, kept in the model folder: drawn once, and read again when a killed training goes on.

    ``identity``: what the draws depend on beside ``drawing``: model, solver, policies.
    """
    known = json.loads(json.dumps({**identity, "drawing": asdict(drawing), "data": questions.digest}))
    path, record = out / PAIRS_FILE, out / _DRAWN
    if not _is_drawn(path, record, known):
        if (out / MODEL_FILE).is_file():
            raise ConfigError(f"{out}: holds a model that was made otherwise; name another folder with --out")
        found = hard_pairs(questions.train, policies, solver, model(), drawing, cache, _progress(len(questions.train)))
        print(f"note: {found.tally}", file=sys.stderr, flush=True)
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_training_file(path, found.pairs)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            write_atomically(record, json.dumps({**known, "tally": asdict(found.tally), "sha256": digest}, indent=1).encode())
        except OSError as e:
            raise ConfigError(f"{out}: cannot be written: {e.strerror or e}; name another folder with --out") from e
    pairs = read_training_file(path)
    return TrainingFile([*pairs, *questions.validation], path, pairs.digest)


def _is_drawn(path: Path, record: Path, known: Mapping[str, Any]) -> bool:
    try:
        said = json.loads(record.read_bytes())
        whole = hashlib.sha256(path.read_bytes()).hexdigest() == said["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return whole and all(said.get(key) == value for key, value in known.items())


def _progress(total: int) -> Callable[[Judged], None]:
    import time

    done, told = count(1), [time.monotonic()]

    def each(_judged: Judged) -> None:
        n, now = next(done), time.monotonic()
        if now - told[0] >= 5.0 or n == total:
            told[0] = now
            print(f"drawing: {n} of {total} samples", file=sys.stderr, flush=True)

    return each


# ---- pairs as tokens ----


def pair_rows(
    pairs: Sequence[Pair], tokens: Tokens, solver: Solver, policies: PolicySet, max_length: int, left_out: LeftOut
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Id and columns of each pair that can be trained on. The prompt's ids are those that a run sends."""
    for pair in pairs:
        case = Case(pair.sample, pair.target, policies)
        why = _unusable(pair, case, solver)
        if why is None:
            row: dict[str, Any] = {
                "prompt_ids": tokens.prompt(request_of(solver, case)),
                "chosen_ids": tokens.answer(pair.chosen),
                "rejected_ids": tokens.answer(pair.rejected),
                "alpha": pair.alpha,
            }
            length = len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
            why = None if length <= max_length else f"longer than {max_length} tokens"
        if why is None:
            yield pair.sample.id, row
        else:
            left_out.add(why, pair.sample.id)


def _unusable(pair: Pair, case: Case, solver: Solver) -> str | None:
    """Why a pair would teach nothing, or the wrong thing."""
    if not pair.chosen.strip() or not pair.rejected.strip():
        return "an answer is empty"
    if pair.chosen.strip() == pair.rejected.strip():
        return "both answers are the same"
    if not 0 < pair.alpha < float("inf"):
        return f"its weight is {pair.alpha:g}, and a number above 0 is wanted"
    gold = pair.sample.labels.get(pair.target)
    if gold is None:
        return None
    if read_answer(solver, case, pair.chosen).label is not gold:
        return "the solver does not read the chosen answer as the right one"
    if read_answer(solver, case, pair.rejected).label is gold:
        return "the solver reads the rejected answer as right"
    return None
