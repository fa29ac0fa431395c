"""Rows that trainers read: samples with reasoning (traces), and right and wrong answers (pairs), as files hold them.

A file is a JSON list, or a JSON object a line (also .gz). What the programme names stands in the row itself, what
guardeval needs to know where it came from under the key ``guardeval``:

    {"id": …, "prompt": …, "response": null, "reasoning": "Step 1: …\\nStep 2: …", "classification": "harmful",
     "policies": ["illegal"], "split": "train", "guardeval": {"task": …, "target": …, "index": …, "headings": [...], …}}
    {"id": …, "prompt": …, "chosen": …, "rejected": …, "alpha": 1.0, "gold": true, "split": "train", "guardeval": {…}}
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from guardeval.data import Sample, Step, Target
from guardeval.errors import DataError
from guardeval.exposure import Exposure, fingerprint
from guardeval.values import value

__all__ = [
    "Pair",
    "Split",
    "Trace",
    "TrainingFile",
    "TrainingSamples",
    "is_training_file",
    "read_training_file",
    "write_training_file",
]

OWN = "guardeval"
_STEP = re.compile(r"(?:^|\n)Step (\d+): ")


class Split(StrEnum):
    TRAIN = "train"
    VALIDATION = "validation"  # never trained on: early stopping and the reported score


@value
class Trace:
    """A labelled sample and the reasoning that leads to a label.

    ``sample.labels[target]`` is gold, where there is one; ``label`` and ``policies`` are what the reasoning ends in.
    ``steps`` carry the headings of the solver that asked for them, else ``Step 1``, ``Step 2``, …
    ``about`` is what else the file says of the row under ``guardeval``: task, index, source, licence, teacher, hints,
    kind, seeds (``[{"id", "prompt"}]``, the prompt as fingerprint), exposed (fingerprints), contaminated_with (tasks).
    """

    sample: Sample
    target: Target
    label: bool
    policies: frozenset[str] = frozenset()
    steps: tuple[Step, ...] = ()
    split: Split = Split.TRAIN
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reasoning(self) -> str:
        return "\n".join(f"Step {i}: {step.text}" for i, step in enumerate(self.steps, 1))

    def to_row(self) -> dict[str, Any]:
        gold = self.sample.labels.get(self.target)
        own = {
            **self.about,
            "target": str(self.target),
            "index": self.sample.index,
            "headings": [s.name for s in self.steps],
            "gold": gold,
            "gold_policies": sorted(self.sample.policies),
            "known_policies": sorted(self.sample.known_policies),
        }
        return {
            "id": self.sample.id,
            "prompt": self.sample.prompt,
            "response": self.sample.response,
            "reasoning": self.reasoning,
            "classification": self.target.word(self.label),
            "policies": sorted(self.policies),
            "split": str(self.split),
            OWN: own,
        }


@value
class Pair:
    """A right and a wrong answer to one sample, as the guard wrote them, and the weight α of the pair (1: as any other)."""

    sample: Sample
    target: Target
    chosen: str
    rejected: str
    alpha: float = 1.0
    split: Split = Split.TRAIN
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        return {
            "id": self.sample.id,
            "prompt": self.sample.prompt,
            "response": self.sample.response,
            "chosen": self.chosen,
            "rejected": self.rejected,
            "alpha": self.alpha,
            "gold": self.sample.labels.get(self.target),
            "split": str(self.split),
            OWN: {**self.about, "target": str(self.target), "index": self.sample.index},
        }


class TrainingFile(Sequence[Trace | Pair]):
    """Rows of one file, all traces or all pairs, in order. ``digest`` is the sha256 of the file."""

    def __init__(self, rows: Sequence[Trace | Pair], path: Path | None = None, digest: str = "") -> None:
        self._rows, self.path, self.digest = tuple(rows), path, digest

    @property
    def kind(self) -> str:
        """``traces`` or ``pairs``."""
        return "pairs" if self._rows and isinstance(self._rows[0], Pair) else "traces"

    def of(self, split: Split) -> tuple[Any, ...]:
        return tuple(row for row in self._rows if row.split is split)

    def samples(self) -> Iterator[Sample]:
        """The rows as labelled samples, for trainers that want no reasoning: gold, else what the reasoning ends in."""
        for row in self._rows:
            if isinstance(row, Trace) and row.target not in row.sample.labels:
                labels = {**row.sample.labels, row.target: row.label}
                known = row.policies | row.sample.known_policies
                yield replace(row.sample, labels=labels, policies=row.policies, known_policies=known)
            else:
                yield row.sample

    def as_samples(self) -> TrainingSamples:
        """:meth:`samples` that still say where they come from."""
        return TrainingSamples(self)

    @property
    def contaminated_with(self) -> tuple[str, ...]:
        """Test tasks that rows were made from."""
        return tuple(sorted({str(task) for row in self._rows for task in row.about.get("contaminated_with") or ()}))

    @property
    def exposure(self) -> Exposure:
        """Everything that a model trained on these rows has seen: their prompts, their seeds, what they nearly repeat."""
        return Exposure(frozenset(f for row in self._rows for f in _seen(row)))

    @property
    def identity(self) -> dict[str, Any]:
        """By content, for model cards."""
        if self.path is None:
            return {"files": []}
        return {"files": [{"name": self.path.name, "sha256": self.digest, "rows": len(self)}]}

    def sources(self) -> list[dict[str, Any]]:
        """Task, licence, kind and contamination of the rows, counted: what a model card says of its data."""
        counts: dict[tuple[str, ...], int] = {}
        for row in self._rows:
            about = row.about
            tasks = ", ".join(sorted(about.get("contaminated_with") or ()))
            task, kind, licence = about.get("task") or "", about.get("kind") or "trace", about.get("licence") or "unknown"
            key = (str(task), str(kind), str(licence), tasks)
            counts[key] = counts.get(key, 0) + 1
        return [
            {"task": t, "kind": k, "licence": licence, **({"contaminated_with": c.split(", ")} if c else {}), "rows": n}
            for (t, k, licence, c), n in sorted(counts.items())
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: Any) -> Any:
        return self._rows[i]


class TrainingSamples(Iterable[Sample]):
    """The rows of a training file as labelled samples, for a trainer that wants no reasoning; what the file says of them
    as a whole stands in its attributes."""

    def __init__(self, file: TrainingFile) -> None:
        self._file = file
        self.identity = file.identity
        self.exposure = file.exposure
        self.contaminated_with = file.contaminated_with

    def __iter__(self) -> Iterator[Sample]:
        return self._file.samples()


def _seen(row: Trace | Pair) -> Iterator[int]:
    yield fingerprint(row.sample.prompt)
    for seed in row.about.get("seeds") or ():
        yield int(seed["prompt"])
    yield from map(int, row.about.get("exposed") or ())


# ---- files ----


def is_training_file(path: Path) -> bool:
    """Whether a file holds traces or pairs, as its first row tells."""
    from guardeval.rows import file_format, read_rows

    if not path.is_file() or file_format(path) not in ("json", "jsonl"):
        return False
    try:
        first = next(iter(read_rows(path)), None)
    except DataError:
        return False
    return isinstance(first, Mapping) and _kind(first) is not None


def _kind(row: Mapping[str, Any]) -> type[Trace] | type[Pair] | None:
    if "chosen" in row and "rejected" in row:
        return Pair
    return Trace if "reasoning" in row and "classification" in row else None


def read_training_file(path: Path | str) -> TrainingFile:
    """All rows. Raises :class:`DataError` that names the row which is neither trace nor pair, or not like the first."""
    from guardeval.rows import read_rows

    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"{path}: no such file; `guardeval prepare` writes training files, `guardeval traces` traces")
    with path.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    rows: list[Trace | Pair] = []
    for number, row in enumerate(read_rows(path), 1):
        try:
            rows.append(_row(row, number - 1))
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"{path}: row {number}: {e}") from e
        if type(rows[-1]) is not type(rows[0]):
            raise DataError(f"{path}: row {number}: traces and pairs in one file; keep them in files of their own")
    if not rows:
        raise DataError(f"{path}: no row in it")
    return TrainingFile(rows, path, digest)


def _row(row: Mapping[str, Any], index: int) -> Trace | Pair:
    kind = _kind(row)
    if kind is None:
        raise ValueError("neither a trace (prompt, reasoning, classification) nor a pair (prompt, chosen, rejected)")
    own = dict(row.get(OWN) or {})
    target = Target(own.pop("target", Target.PROMPT))
    sample = _sample(row, own, target, index)
    split = Split(row.get("split") or Split.TRAIN)
    headings, about = own.pop("headings", ()), _about(own)
    if kind is Pair:
        return Pair(sample, target, _text(row, "chosen"), _text(row, "rejected"), _alpha(row.get("alpha", 1.0)), split, about)
    words = {target.positive: True, target.negative: False}
    said = _text(row, "classification")
    if said not in words:
        raise ValueError(f"classification {said!r}: {' or '.join(words)} is wanted")
    policies = frozenset(_texts(row.get("policies"), "policies"))
    return Trace(sample, target, words[said], policies, _steps(_text(row, "reasoning"), headings), split, about)


def _about(own: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in own.items() if k not in ("index", "gold", "gold_policies", "known_policies")}


def _sample(row: Mapping[str, Any], own: Mapping[str, Any], target: Target, index: int) -> Sample:
    gold = own.get("gold", row.get("gold"))
    if gold is not None and not isinstance(gold, bool):
        raise ValueError(f"gold {gold!r}: true, false or null is wanted")
    policies = frozenset(_texts(own.get("gold_policies"), "gold_policies"))
    known = frozenset(_texts(own.get("known_policies"), "known_policies"))
    response = row.get("response")
    if response is not None and not isinstance(response, str):
        raise ValueError("response: text or null is wanted")
    return Sample(
        id=str(row.get("id", index)),
        index=int(own.get("index", index)),
        prompt=_text(row, "prompt"),
        response=response,
        labels={} if gold is None else {target: gold},
        policies=policies,
        known_policies=policies | known,
    )


def _text(row: Mapping[str, Any], key: str) -> str:
    found = row.get(key)
    if not isinstance(found, str):
        raise ValueError(f"{key}: text is wanted, not {type(found).__name__}")  # noqa: TRY004 - wrong data, no wrong call
    return found


def _texts(given: Any, key: str) -> list[str]:
    if given is not None and not (isinstance(given, list) and all(isinstance(g, str) for g in given)):
        raise ValueError(f"{key}: a list of names is wanted")
    return list(given or ())


def _alpha(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < float("inf"):
        raise ValueError(f"alpha {given!r}: a number above 0 is wanted")
    return float(given)


def _steps(reasoning: str, headings: Sequence[str]) -> tuple[Step, ...]:
    """``Step 1: …\\nStep 2: …`` taken apart; steps are numbered upwards, so that a step may speak of another."""
    starts: list[re.Match[str]] = []
    for match in _STEP.finditer(reasoning):
        if int(match[1]) == len(starts) + 1:
            starts.append(match)
    if not starts:
        return (Step(headings[0] if headings else "Step 1", reasoning.strip()),) if reasoning.strip() else ()
    ends = [m.start() for m in starts[1:]] + [len(reasoning)]
    texts = [reasoning[m.end() : end].strip() for m, end in zip(starts, ends, strict=True)]
    names = headings if len(headings) == len(texts) else [f"Step {i}" for i in range(1, len(texts) + 1)]
    return tuple(Step(name, text) for name, text in zip(names, texts, strict=True))


def write_training_file(path: Path | str, rows: Iterable[Trace | Pair]) -> Path:
    """As JSON list or a line a row, by the file's name; whole or not at all."""
    import orjson

    from guardeval.rows import file_format
    from guardeval.streamed_file import writing

    path = Path(path).expanduser()
    as_list = file_format(path) == "json"
    with writing(path) as f:
        f.write(b"[\n" if as_list else b"")
        for i, row in enumerate(rows):
            f.write((b",\n" if i else b"") if as_list else b"")
            f.write(orjson.dumps(row.to_row()) + (b"" if as_list else b"\n"))
        f.write(b"\n]\n" if as_list else b"")
    return path
