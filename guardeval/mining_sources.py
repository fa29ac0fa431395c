"""What mining reads, in batches and bounded memory: several runs side by side, one run whose samples hold votes, or a file of
scores. Each can read a row again by its place, so that nothing but numbers and ids is kept in between.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from guardeval.data import Judged, Target
from guardeval.disagreement import numbered, votes_of
from guardeval.errors import ConfigError, DataError
from guardeval.mined_rows import data_text
from guardeval.pairing import check_comparable
from guardeval.run_facts import head_of, shared_tasks, task_facts
from guardeval.run_names import run_names
from guardeval.runs import StoredRun, TaskRecord, open_run
from guardeval.sample_lines import judged_from_line
from guardeval.side_by_side import check_same_sample, joined

__all__ = ["BATCH", "Batch", "Found", "Place", "Source", "batches_of", "open_runs"]

BATCH = 8192
_BUFFER = 1 << 18
_VOTERS = frozenset({"models", "draws"})
Place = int | bytes
Said = tuple[Sequence[bool | None], Sequence[float | None]]  # labels and scores, one a member


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples in source order: ``gold`` (n,) and ``labels`` (n, m) are 1, 0, -1; ``scores`` (n, m), nan = none."""

    ids: Sequence[str]
    places: Sequence[Place]
    gold: NDArray[np.int8]
    scores: NDArray[np.float64]
    labels: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Found:
    """One sample read again: the row as it stands upstream, and what each member said, in its words where there are any."""

    id: str
    index: int
    row: dict[str, Any]
    gold: bool | None
    prompt: str
    response: str | None
    said: Sequence[tuple[str, bool | None, float | None, str]]  # member, label, score, words


class Source(Protocol):
    """Where samples come from. ``left_out``: samples that not all runs hold, known after the batches.

    ``about``: what answers are kept with: task, target, source, licence, and the solver and model where all runs have one.
    """

    members: tuple[str, ...]
    task: str | None
    target: Target | None
    data: str | None  # by content
    has_words: bool
    left_out: int
    about: Mapping[str, Any]

    def batches(self) -> Iterator[Batch]: ...

    def found(self, place: Place) -> Found: ...


def open_runs(folders: Sequence[Path | str], task: str | None) -> Source:
    """Several runs are the members; of one, those who voted in it.

    Raises :class:`DataError` for redacted runs, for runs that differ in data, task version or target, and for one run
    without votes.
    """
    runs = [open_run(f) for f in folders]
    for run in runs:
        if run.record.get("redact"):
            raise DataError(f"{run.path}: is a redacted run: it holds no rows to mine; run it again without --redact")
    twice = [r.path for r in runs if sum(r.path.resolve() == other.path.resolve() for other in runs) > 1]
    if twice:
        raise ConfigError(f"{twice[0]}: is named twice: a run agrees with itself on everything")
    names = _names(runs)
    shared = shared_tasks(runs, names, task)
    if len(shared) > 1:
        raise ConfigError(f"the runs hold {len(shared)} tasks: choose one with --task ({', '.join(shared)})")
    records = [next(t for t in run.tasks if t.name == shared[0]) for run in runs]
    check_comparable(names, task_facts(records))
    found: Source = _Votes(records[0], names[0]) if len(records) == 1 else _Runs(records, names)
    found.about = _about(found, [head_of(r) for r in runs])
    return found


def _about(source: Source, heads: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    own = [(h.get("configs") or {}).get(source.task) or {} for h in heads]
    solvers, models = [_solver(h.get("config") or {}) for h in heads], [(h.get("config") or {}).get("model") for h in heads]
    return {
        "task": source.task,
        "target": source.target,
        "source": source.data,
        "licence": own[0].get("licence"),
        "solver": solvers[0] if all(s == solvers[0] for s in solvers) else None,
        "model": models[0] if all(m == models[0] for m in models) else None,
    }


def _solver(config: Mapping[str, Any]) -> Any:
    """The solver that asks: of one that draws or votes, the one inside."""
    options = config.get("solver_args") or {}
    return options.get("inner") or {"solver": config.get("solver"), **options}


def _names(runs: Sequence[StoredRun]) -> list[str]:
    return numbered(run_names([head_of(r).get("config") or {} for r in runs], [r.name for r in runs]))


def batches_of(samples: Iterable[tuple[str, Place, int, Said]], members: int) -> Iterator[Batch]:
    """Samples (id, place, gold, what was said) as batches."""
    ids: list[str] = []
    places: list[Place] = []
    gold: list[int] = []
    said: list[Said] = []
    for id_, place, label, heard in samples:
        ids.append(id_)
        places.append(place)
        gold.append(label)
        said.append(heard)
        if len(ids) == BATCH:
            yield _batch(ids, places, gold, said, members)
            ids, places, gold, said = [], [], [], []
    if ids:
        yield _batch(ids, places, gold, said, members)


def _batch(ids: list[str], places: list[Place], gold: list[int], said: list[Said], members: int) -> Batch:
    labels = np.array([[-1 if x is None else x for x in one] for one, _ in said], np.int8).reshape(len(ids), members)
    scores = np.array([one for _, one in said], float).reshape(len(ids), members)  # None becomes nan
    return Batch(ids, places, np.array(gold, np.int8), scores, labels)


# ---- lines of samples files ----


@dataclass(frozen=True, slots=True)
class _Head:
    """What mining needs of a line before it knows whether it will want the rest."""

    index: int
    id: str
    gold: int
    cluster: int
    label: bool | None
    score: float | None
    offset: int
    own: dict[str, Any]


def _heads(record: TaskRecord) -> Iterator[_Head]:
    words = {record.target.positive: 1, record.target.negative: 0}
    offset, before = 0, -1
    with record.samples.open("rb", _BUFFER) as f:
        for number, line in enumerate(f, 1):
            try:
                one = orjson.loads(line)
                own = one["guardeval"]
                gold = words.get(one["target"], -1)
                head = _Head(one["doc_id"], own["id"], gold, own["cluster"], own["label"], own["score"], offset, own)
            except (ValueError, KeyError, TypeError) as e:
                raise DataError(
                    f"{record.samples}:{number}: not a line of a guardeval samples file ({type(e).__name__}: {e})"
                ) from e
            if head.index <= before:
                raise DataError(
                    f"{record.samples}:{number}: row {head.index} follows row {before}: the lines are not in the order of the "
                    "source, and runs cannot be read side by side"
                )
            before = head.index
            offset += len(line)
            yield head


class _Lines:
    """Lines of one samples file by their offsets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def judged(self, offset: int) -> Judged:
        if self._file is None:
            self._file = self.path.open("rb")
        self._file.seek(offset)
        judged, _ = judged_from_line(self._file.readline(), lambda: f"{self.path}: byte {offset}")
        if not judged.sample.doc:
            raise DataError(f"{self.path}: sample {judged.sample.id!r} has no row: was the run redacted?")
        return judged


def _found(judged: Judged, said: Sequence[tuple[str, bool | None, float | None, str]]) -> Found:
    sample = judged.sample
    gold = sample.labels.get(judged.verdict.target)
    return Found(sample.id, sample.index, dict(sample.doc), gold, sample.prompt, sample.response, said)


class _OfRuns:
    has_words = True

    def __init__(self, records: Sequence[TaskRecord], members: Sequence[str]) -> None:
        self.members = tuple(members)
        self.task: str | None = records[0].name
        self.target: Target | None = records[0].target
        self.data: str | None = data_text(records[0].about["data"])
        self.left_out = 0
        self.about: Mapping[str, Any] = {}
        self._records = records
        self._lines = [_Lines(r.samples) for r in records]


class _Runs(_OfRuns):
    """Several runs, merged by row number: memory does not grow with them."""

    def batches(self) -> Iterator[Batch]:
        pack = struct.Struct(f"<{len(self.members)}q").pack
        samples = (
            (hs[0].id, pack(*(h.offset for h in hs)), hs[0].gold, ([h.label for h in hs], [h.score for h in hs]))
            for hs in self._side_by_side()
        )
        return batches_of(samples, len(self.members))

    def _side_by_side(self) -> Iterator[list[_Head]]:
        self.left_out = 0
        for heads in joined([_heads(r) for r in self._records], lambda head: head.index):
            there = [h for h in heads if h is not None]
            if len(there) < len(heads):
                self.left_out += 1
                continue
            check_same_sample(self.members, there[0].index, [(h.id, h.gold, h.cluster) for h in there])
            yield there

    def found(self, place: Place) -> Found:
        assert isinstance(place, bytes)  # noqa: S101  # as batches() gave it
        offsets = struct.unpack(f"<{len(self.members)}q", place)
        judged = [lines.judged(o) for lines, o in zip(self._lines, offsets, strict=True)]
        verdicts = [j.verdict for j in judged]
        return _found(judged[0], [(m, v.label, v.score, v.raw) for m, v in zip(self.members, verdicts, strict=True)])


class _Votes(_OfRuns):
    """One run: whoever voted in it, models or draws."""

    def __init__(self, record: TaskRecord, name: str) -> None:
        voted = next((v for h in _heads(record) if (v := _votes(h))), None)
        if voted is None:
            raise ConfigError(
                f"run {name!r} holds no votes of models or draws, so nobody in it can disagree: name two runs or more, or a "
                "run of an ensemble or of self_consistency"
            )
        super().__init__([record], list(voted))
        self._name = name

    def batches(self) -> Iterator[Batch]:
        return batches_of(self._samples(), len(self.members))

    def _samples(self) -> Iterator[tuple[str, Place, int, Said]]:
        known = set(self.members)
        for head in _heads(self._records[0]):
            votes = _votes(head)
            if not votes.keys() <= known:
                new = next(v for v in votes if v not in known)
                raise DataError(
                    f"run {self._name!r}: sample {head.id!r} holds a vote of {new!r}, and the first votes were of "
                    f"{', '.join(self.members)}: pairs need the same members throughout"
                )
            said = [votes.get(m, (None, None)) for m in self.members]
            yield head.id, head.offset, head.gold, ([s[0] for s in said], [s[1] for s in said])

    def found(self, place: Place) -> Found:
        assert isinstance(place, int)  # noqa: S101  # as batches() gave it
        judged = self._lines[0].judged(place)
        votes = votes_of(judged.verdict)
        words = [v.raw for v in judged.verdict.votes]
        return _found(judged, [(*vote, raw) for vote, raw in zip(votes, words, strict=bool(votes))])


def _votes(head: _Head) -> dict[str, tuple[bool | None, float | None]]:
    """Label and score by member; nothing where nobody voted side by side."""
    if head.own.get("voters") not in _VOTERS:
        return {}
    votes = head.own.get("votes") or ()
    names = numbered([v["member"] for v in votes])
    return {n: (v["label"], v["score"]) for n, v in zip(names, votes, strict=True)}
