"""Seeds: the samples that variants are made from, read from mined rows or from a file of traces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.data import Sample, Target
from guardeval.errors import ConfigError, DataError
from guardeval.exposure import fingerprint
from guardeval.synthesis.never import is_flagged, names_forbidden

if TYPE_CHECKING:
    from guardeval.task import Task, TaskIndex

__all__ = ["Seed", "Seeds", "read_seeds"]


@dataclass(frozen=True, slots=True, eq=False)
class Seed:
    """A sample that variants are made from. ``label`` and ``policies``: gold, else what its trace ends in.

    ``seeds`` and ``exposed``: what it was itself made from or nearly repeats, ``contaminated_with``: test sets behind it.
    """

    sample: Sample
    label: bool | None
    policies: frozenset[str]
    fingerprint: int
    task: str | None
    licence: str
    source: str | None = None
    contaminated_with: tuple[str, ...] = ()
    seeds: tuple[Mapping[str, Any], ...] = ()
    exposed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Seeds:
    """``seeds`` in the order of the file, each text once; ``left_out``: why → how many; ``tasks``: test sets behind."""

    seeds: tuple[Seed, ...]
    left_out: Mapping[str, int]
    path: Path

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(sorted({t for s in self.seeds for t in s.contaminated_with}))


def read_seeds(path: Path | str, index: TaskIndex, task: str | None = None) -> Seeds:
    """The prompts of a file that can be seeds. Those under ``sexual_minors``, by label or by their words, are left out.

    ``task``: whose rows the file holds, where it does not say so. Raises :class:`DataError` for a file that is neither mined
    rows nor traces, asks about responses, or holds no seed.
    """
    from guardeval.training_rows import is_training_file

    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"--seeds {path}: no such file; `guardeval mine RUN … -o {path.name}` writes one")
    found = _of_traces(path, index) if is_training_file(path) else _of_rows(path, index, task)
    left_out: Counter[str] = Counter()
    kept: dict[int, Seed] = {}
    for seed in found:
        why = _unfit(seed, kept)
        if why:
            left_out[why] += 1
        else:
            kept[seed.fingerprint] = seed
    if not kept:
        raise DataError(f"--seeds {path}: none of its rows can be a seed: {_counted(left_out)}")
    return Seeds(tuple(kept.values()), dict(left_out), path)


def _unfit(seed: Seed, kept: Mapping[int, Seed]) -> str:
    if names_forbidden(seed.policies) or is_flagged(seed.sample.prompt):
        return "sexual_minors"
    if not seed.sample.prompt.strip():
        return "no text"
    return "same text again" if seed.fingerprint in kept else ""


def _counted(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {why}" for why, n in left_out.items()) or "no row in it"


# ---- mined rows, or rows of a task ----


def _of_rows(path: Path, index: TaskIndex, name: str | None) -> Iterator[Seed]:
    from guardeval.mined_rows import own_of
    from guardeval.rows import read_rows

    rows = read_rows(path)
    first = next(iter(rows))
    own = own_of(first) or {}
    name = str(own["task"]) if own.get("task") else name
    if name is None:
        raise DataError(f"--seeds {path}: its rows do not say which task they are of, as mined rows do: name it with --task")
    task = index.load(name)
    if task.target is not Target.PROMPT:
        raise DataError(f"--seeds {path}: {name} asks {task.target}; variants are written of prompts, not of responses")
    samples = iter(task.open(path))
    head = list(islice(samples, 1))
    source = own.get("source") or _source(task, path)
    return (_seed_of(sample, task, source) for sample in chain(head, samples))


def _source(task: Task, path: Path) -> str:
    from guardeval.mined_rows import data_text

    return data_text({"kind": "file", **task.open(path).identity})


def _seed_of(sample: Sample, task: Task, source: str | None) -> Seed:
    behind = () if task.training else (task.name,)
    label = sample.labels.get(Target.PROMPT)
    return Seed(sample, label, sample.policies, fingerprint(sample.prompt), task.name, task.licence, source, behind)


# ---- traces ----


def _of_traces(path: Path, index: TaskIndex) -> Iterator[Seed]:
    from guardeval.training_rows import Trace, read_training_file

    for row in read_training_file(path):
        if not isinstance(row, Trace):
            raise DataError(f"--seeds {path}: holds pairs of answers; mined rows or traces are wanted")
        if row.target is not Target.PROMPT:
            raise DataError(f"--seeds {path}: asks {row.target}; variants are written of prompts, not of responses")
        about = row.about
        gold = row.sample.labels.get(row.target)
        yield Seed(
            row.sample,
            row.label if gold is None else gold,
            row.sample.policies | row.policies,
            fingerprint(row.sample.prompt),
            _text(about.get("task")),
            str(about.get("licence") or "unknown"),
            _text(about.get("source")),
            _behind(about, index),
            tuple(about.get("seeds") or ()),
            tuple(map(int, about.get("exposed") or ())),
        )


def _text(given: Any) -> str | None:
    return None if given is None else str(given)


def _behind(about: Mapping[str, Any], index: TaskIndex) -> tuple[str, ...]:
    """Test sets that a trace is from, or made from."""
    named: Sequence[str] = [str(t) for t in about.get("contaminated_with") or ()]
    task = about.get("task")
    if task:
        try:
            named = [*named, *(() if index.load(str(task)).training else (str(task),))]
        except ConfigError:  # a task that is not installed here: nobody can say that it is for training
            named = [*named, str(task)]
    return tuple(sorted(set(named)))
