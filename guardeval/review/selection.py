"""Which samples of a run are reviewed, and in what order: drawn once for all reviewers, or named.

A drawn set holds right and wrong verdicts by their shares, so that what is found in it holds for the run. It is shuffled:
source files are often sorted by label, and the order would tell a blind reviewer what the page hides.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from guardeval.data import Judged
from guardeval.errors import ConfigError, DataError, did_you_mean
from guardeval.judged import cluster_of
from guardeval.mined_rows import data_text, mined_from, own_of
from guardeval.review.store import Member, Store
from guardeval.rows import is_rows_file, read_rows
from guardeval.runs import StoredRun, TaskRecord
from guardeval.subset import Stratum, draw

__all__ = ["DRAWN", "ReviewSet", "ids_named", "member_of", "review_set", "run_identity", "task_of"]

DRAWN = "drawn"  # how descriptions of random sets begin
_DECIDED = ("agree", "wrong_label")  # what mining says of a row whose label was reviewed; a tie is still open
_DEFAULT_N = 50
_MOST = 10_000  # samples in one set: they are held in memory, and nobody reads more


@dataclass(frozen=True, slots=True)
class ReviewSet:
    """A recorded set with its samples, in review order."""

    number: int
    how: str
    task: TaskRecord
    samples: tuple[Judged, ...]


def run_identity(run: StoredRun) -> str:
    """A digest of what ran, when: equal for copies of a run folder under other names."""
    record = json.dumps(run.record["record"], sort_keys=True, default=str)
    return hashlib.sha256(record.encode("utf-8", "surrogatepass")).hexdigest()


def task_of(run: StoredRun, name: str | None) -> TaskRecord:
    """The task of that name, or the run's only one. Raises :class:`ConfigError`."""
    names = [t.name for t in run.tasks]
    if name is None and len(names) == 1:
        return run.tasks[0]
    if name not in names:
        asked = f"--task {name}: is not in it" if name is not None else "holds several tasks; choose one with --task"
        raise ConfigError(f"{run.name}: {asked}{did_you_mean(name or '', names)}")
    return run.tasks[names.index(name)]


def member_of(judged: Judged) -> Member:
    """A sample with the digest of all that a reviewer may see of it: texts, labels, verdict, votes and reasoning."""
    sample = asdict(judged.sample)
    del sample["doc"]
    shown = json.dumps([sample, asdict(judged.verdict)], sort_keys=True, default=_plain)
    digest = hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()
    return Member(judged.sample.id, digest, cluster_of(judged.sample.prompt))


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def ids_named(given: str, task: TaskRecord | None = None, skip_reviewed: bool = False) -> list[str]:
    """Ids from ``--samples``: a file of rows that :func:`_id_of` reads, or ids by comma; each once, in the order given.

    ``skip_reviewed`` leaves out rows of which mining says that their label was reviewed.
    Raises :class:`DataError` for rows of another task, or mined from other data than the ``task``'s.
    """
    path = Path(given)
    skipped = 0
    if "," not in given and (is_rows_file(path) or _is_file(path)):
        rows = [(row, number) for number, row in enumerate(read_rows(path), 1)]
        kept = [(row, n) for row, n in rows if not (skip_reviewed and (own_of(row) or {}).get("reviewed") in _DECIDED)]
        skipped = len(rows) - len(kept)
        ids = [_id_of(row, path, number, task) for row, number in kept]
    else:
        ids = [part.strip() for part in given.split(",") if part.strip()]
    if not ids:
        all_of_them = f"; all {skipped} rows are reviewed already" if skipped else ""
        raise ConfigError(f"--samples {given[:60]}: names no sample{all_of_them}")
    return list(dict.fromkeys(ids))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no name of a file
        return False


def _id_of(row: dict[str, Any], path: Path, number: int, task: TaskRecord | None) -> str:
    """Of a mined row, the id that mining keeps, for the row itself is the source's; of other rows their ``id``."""
    own = own_of(row)
    about = row if own is None else own
    if about.get("id") is None:
        raise DataError(
            f"{path}: row {number} has no `id`; rows as `guardeval mine` or `guardeval sample-errors` write them are wanted"
        )
    if task is not None and own is not None:
        _check_source(own, path, number, task)
    elif task is not None and row.get("modes") is not None and row.get("task") != task.name:
        raise DataError(f"{path}: row {number} is of task {row.get('task')!r}, not of {task.name!r}; say which by --task")
    return str(about["id"])


def _check_source(own: Mapping[str, Any], path: Path, number: int, task: TaskRecord) -> None:
    """Ids alone would find other samples: they are often row numbers."""
    if own.get("task") not in (None, task.name):
        raise DataError(
            f"{path}: row {number} was mined from task {own['task']!r}, not from {task.name!r}; say which by --task"
        )
    here = task.about.get("data")
    if own.get("source") is not None and here is not None and mined_from(own) != data_text(here):
        raise DataError(
            f"{path}: row {number} was mined from other data than this run judged; review a run that it was mined from"
        )


def review_set(
    store: Store, task: TaskRecord, n: int | None, seed: int | None, samples: str | None, skip_reviewed: bool = False
) -> ReviewSet:
    """The set that is asked for: recorded now, or earlier by whoever asked first; without wishes the latest one.

    Raises :class:`DataError` for ids that the run has not, and where a sample's text is not the one that was recorded.
    """
    if samples is not None and (n is not None or seed is not None):
        raise ConfigError("--samples names the samples, --n and --seed draw them; give one or the other")
    if skip_reviewed and samples is None:
        raise ConfigError("--skip_reviewed is about rows that `guardeval mine` lists; name their file with --samples")
    ids = None if samples is None else ids_named(samples, task, skip_reviewed)
    drawing = f"{DRAWN}: {n or _DEFAULT_N} right and wrong by share, seed {seed or 0}"
    how = drawing if ids is None else f"{len(ids)} named ({_digest(ids)})"
    found = store.set_named(task.name, None if ids is None and n is None and seed is None else how)
    if found is not None:
        number, how = found
        members = store.members(number)
        kept = _read(task, [m.id for m in members])
        check_texts(store.path, members, kept)
        return ReviewSet(number, how, task, kept)
    picked = _drawn(task, n or _DEFAULT_N, seed or 0) if ids is None else _read(task, ids)
    number = store.add_set(task.name, how, [member_of(j) for j in picked])
    return ReviewSet(number, how, task, picked)


def _digest(ids: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(ids).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _read(task: TaskRecord, ids: Sequence[str]) -> tuple[Judged, ...]:
    """The samples with these ids, in this order."""
    _bounded(len(ids))
    wanted = set(ids)
    found: dict[str, Judged] = {}
    for judged, _ in task.lines():
        if judged.sample.id in wanted and judged.sample.id not in found:
            found[judged.sample.id] = judged
    missing = [i for i in ids if i not in found]
    if missing:
        shown = ", ".join(repr(i[:40]) for i in missing[:3]) + (", …" if len(missing) > 3 else "")
        raise DataError(f"{task.samples}: has no sample {shown} ({len(missing)} of {len(ids)} named); name samples of this run")
    return tuple(found[i] for i in ids)


def check_texts(path: Path, recorded: Iterable[Member], judged: Iterable[Judged]) -> None:
    """Raises :class:`DataError` for a sample that is not what was recorded: marks belong to the text that was read."""
    now = {j.sample.id: member_of(j).shown for j in judged}
    changed = [m.id for m in recorded if now.get(m.id, m.shown) != m.shown]
    if changed:
        raise DataError(
            f"{path}: {len(changed)} samples had another text or verdict when they were recorded (first: {changed[0][:40]!r}): "
            "the samples file was changed since; name another database with --db"
        )


def _drawn(task: TaskRecord, n: int, seed: int) -> tuple[Judged, ...]:
    """``n`` samples, every one as likely, strata by their shares; reads the file twice and keeps no more than it returns."""
    _bounded(n)
    choose = draw(Counter(_stratum(judged) for judged, _ in task.lines()), n, seed)
    picked = [judged for judged, _ in task.lines() if choose(_stratum(judged))]
    if not picked:
        raise DataError(f"{task.samples}: holds no sample to review")
    random.Random(seed).shuffle(picked)
    return tuple(picked)


def _stratum(judged: Judged) -> Stratum:
    """Right or wrong (no verdict is wrong; without a gold label nothing is right), then gold label and source category."""
    gold = judged.sample.labels.get(judged.verdict.target)
    return gold is not None and judged.verdict.label is gold, f"{gold}/{judged.sample.category or ''}"


def _bounded(n: int) -> None:
    if n > _MOST:
        raise ConfigError(f"{n} samples: a review holds at most {_MOST}; draw fewer with --n, or name fewer")
