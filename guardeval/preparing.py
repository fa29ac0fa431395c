"""Training files from traces and pairs: mixed, without duplicates, split by cluster, and without the rows of test sets.

Every row that was read is written, or left out for a reason and counted. The outcome does not depend on the order of rows or
files: draws and order come from a hash of the seed and of each row's content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from guardeval.benchmark_prompts import Benchmarks
from guardeval.candidate_rows import (
    REASONS,
    Row,
    check_overlap,
    leave_out,
    leave_out_duplicates,
    leave_out_wrong,
    marked,
    overlap_counts,
    read_source,
    reasons_text,
)
from guardeval.errors import ConfigError, DataError
from guardeval.mixture import amounts, drawn
from guardeval.near_duplicates import THRESHOLD
from guardeval.splitting import clusters_of_rows, split_clusters
from guardeval.training_rows import Split, Trace, write_training_file

__all__ = ["PAIRS_FILE", "REASONS", "SUMMARY_FILE", "TRACES_FILE", "OverlapError", "Prepared", "Row", "prepare"]

TRACES_FILE, PAIRS_FILE, SUMMARY_FILE = "rsft_training_data.json", "dpo_pairs.json", "prepare.json"


class OverlapError(DataError):
    """Rows repeat test sets and nothing said what to do about it. ``counts``: task → kind of overlap → rows."""

    def __init__(self, message: str, counts: Mapping[str, Mapping[str, int]] | None = None) -> None:
        super().__init__(message)
        self.counts = {} if counts is None else counts


@dataclass(frozen=True)
class Prepared:
    """What came of it. ``rows``: every row read, in the order in which they are written; ``notes``: what a reader must know."""

    out: Path
    files: tuple[Path, ...]
    rows: tuple[Row, ...]
    sources: Mapping[str, int]  # rows read
    settings: Mapping[str, Any]
    benchmarks: Benchmarks
    overlap: Mapping[str, Mapping[str, int]]  # task → kind → rows, before any was left out
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[Row, ...]:
        return tuple(r for r in self.rows if not r.left_out)


def prepare(
    sources: Sequence[Path | str],
    out: Path | str,
    benchmarks: Benchmarks,
    *,
    ratios: Mapping[str, float] | None = None,
    n: int | None = None,
    validation: float = 0.2,
    seed: int = 0,
    threshold: float = THRESHOLD,
    split_by: str = "cluster",
    on_overlap: str = "refuse",
) -> Prepared:
    """Write ``rsft_training_data.json`` (traces), ``dpo_pairs.json`` (pairs) and ``prepare.json`` into ``out``.

    ``ratios``: source (as named) → its share of the rows written of its kind: the largest mix with these shares that the rows
    allow; sources without one share the rest by their rows. ``n``: at most so many traces. ``on_overlap``: ``refuse``
    (:class:`OverlapError` before anything is written), ``drop``, or ``allow``, which marks rows and names the tests.
    α of pairs stays as it was mined: it is relative to all pairs of a data set and model, not to those in a file.
    Raises :class:`ConfigError` for wrong options, :class:`DataError` for files that are neither traces nor pairs, and where
    nothing is left to write.
    """
    out, ratios = Path(out).expanduser(), dict(ratios or {})
    _check(out, sources, ratios, n, validation, split_by, on_overlap)
    rows = [r for source in dict.fromkeys(map(str, sources)) for r in read_source(source, seed)]
    read = Counter(r.source for r in rows)
    leave_out_wrong(rows)
    check_overlap([r for r in rows if not r.left_out], benchmarks)
    overlap = overlap_counts(r for r in rows if not r.left_out)
    if overlap and on_overlap == "refuse":
        raise OverlapError(_refusal(rows), overlap)
    if on_overlap == "drop":
        leave_out(rows, "overlap", lambda r: bool(r.overlaps))
    leave_out_duplicates(rows)
    _mix(rows, ratios, n)
    kept = sorted((r for r in rows if not r.left_out), key=lambda r: r.rank)
    if not kept:
        raise DataError(f"nothing is left to write: {reasons_text(rows)}")
    _split(kept, validation, threshold if split_by == "cluster" else None)
    files = _write(out, kept, sources)
    settings = {
        "ratios": ratios, "n": n, "validation": validation, "seed": seed, "threshold": threshold, "split_by": split_by,
        "on_overlap": on_overlap, "ngram": benchmarks.ngram, "near": benchmarks.threshold,
    }  # fmt: skip
    ordered = (*kept, *sorted((r for r in rows if r.left_out), key=lambda r: r.rank))
    done = Prepared(out, files, ordered, dict(read), settings, benchmarks, overlap, tuple(_notes(kept, validation, n)))
    _write_summary(done)
    return done


def _check(
    out: Path, sources: Sequence[Path | str], ratios: Mapping[str, float], n: int | None, validation: float,
    split_by: str, on_overlap: str,
) -> None:  # fmt: skip
    if not sources:
        raise ConfigError("nothing to prepare: name files of traces or pairs")
    unknown = next((r for r in ratios if r not in set(map(str, sources))), None)
    if unknown is not None:
        raise ConfigError(f"{unknown}: has a ratio and is none of the sources")
    if not 0.0 <= validation < 1.0:
        raise ConfigError(f"--validation {validation:g}: a share from 0 to below 1 is wanted, e.g. 0.2")
    if n is not None and n < 1:
        raise ConfigError(f"--n {n}: a number of rows from 1 is wanted")
    if split_by not in ("cluster", "prompt"):
        raise ConfigError(f"--split_by {split_by}: cluster or prompt is wanted")
    if on_overlap not in ("refuse", "drop", "allow"):
        raise ConfigError(f"on_overlap {on_overlap!r}: refuse, drop or allow is wanted")
    ours = {(out / name).resolve() for name in (TRACES_FILE, PAIRS_FILE, SUMMARY_FILE)}
    same = next((s for s in sources if Path(s).expanduser().resolve() in ours), None)
    if same is not None:
        raise ConfigError(f"{same}: is read and would be written over: name another folder with -o")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is no folder; -o names the folder that the training files go to")


def _mix(rows: Sequence[Row], ratios: Mapping[str, float], n: int | None) -> None:
    for kind in ("traces", "pairs"):
        by_source: dict[str, list[Row]] = {}
        for row in rows:
            if row.kind == kind:
                by_source.setdefault(row.source, []).append(row)
        there = {s: [r for r in some if not r.left_out] for s, some in by_source.items()}
        asked = {s: ratio for s, ratio in ratios.items() if s in there}
        empty = next((s for s in asked if not there[s]), None)
        if empty is not None:
            raise DataError(
                f"{empty}: is to be {asked[empty]:g} of the mix and has no row left: {reasons_text(by_source[empty])}"
            )
        taken = amounts({s: len(r) for s, r in there.items()}, asked, n if kind == "traces" else None)
        for source, some in there.items():
            _draw(some, taken[source])


def _draw(rows: Sequence[Row], n: int) -> None:
    """``n`` of the rows, each label in proportion."""
    by_label: dict[Any, list[int]] = {}
    for i in sorted(range(len(rows)), key=lambda i: rows[i].rank):
        by_label.setdefault(str(rows[i].label), []).append(i)
    chosen = set(drawn(by_label, n))
    leave_out((r for i, r in enumerate(rows) if i not in chosen), "ratio", lambda _: True)


def _refusal(rows: Sequence[Row]) -> str:
    hit = [r for r in rows if r.overlaps and not r.left_out]
    tasks = sorted({t for r in hit for t in r.overlaps})
    first = hit[0].row.sample.id
    return (
        f"{len(hit)} of {len(rows)} rows repeat test sets ({', '.join(tasks)}), the first of them {first!r} of "
        f"{hit[0].source}: nothing was written. --drop_overlap leaves these rows out; --allow_overlap writes them, and marks "
        "every model trained on them as contaminated with these tests"
    )


# ---- split and files ----


def _split(rows: Sequence[Row], share: float, threshold: float | None) -> None:
    numbers = clusters_of_rows([r.row.sample.prompt for r in rows], [r.seeds for r in rows], threshold)
    for row, number in zip(rows, numbers, strict=True):
        row.cluster = number
    members: dict[int, Counter[tuple[str, ...]]] = {}
    order: dict[int, str] = {}
    for row in rows:
        members.setdefault(row.cluster, Counter()).update(_strata(row))
        order[row.cluster] = min(order.get(row.cluster, row.rank), row.rank)
    chosen = split_clusters(members, share, order)
    for row in rows:
        row.split = Split.VALIDATION if row.cluster in chosen else Split.TRAIN


def _strata(row: Row) -> list[tuple[str, ...]]:
    policies = row.row.policies if isinstance(row.row, Trace) else row.row.sample.policies
    label = str(row.label)
    return [(row.kind,), (row.kind, label), *((row.kind, label, p) for p in sorted(policies))]


def _write(out: Path, rows: Sequence[Row], sources: Sequence[Path | str]) -> tuple[Path, ...]:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"{out}: cannot be made: {e.strerror or e}; name another folder") from e
    files = []
    for kind, name in (("traces", TRACES_FILE), ("pairs", PAIRS_FILE)):
        of_kind = [r for r in rows if r.kind == kind]
        if of_kind:
            files.append(write_training_file(out / name, map(marked, of_kind)))
        elif (out / SUMMARY_FILE).is_file():
            (out / name).unlink(missing_ok=True)  # of an earlier mix: beside this one it would be taken for a part of it
    return tuple(files)


def _write_summary(done: Prepared) -> None:
    from guardeval.prepare_report import summary
    from guardeval.runs import write_atomically

    option = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    write_atomically(done.out / SUMMARY_FILE, orjson.dumps(summary(done), option=option) + b"\n")


def _notes(rows: Sequence[Row], validation: float, n: int | None) -> Iterator[str]:
    for kind in dict.fromkeys(r.kind for r in rows):
        some = [r for r in rows if r.kind == kind]
        if n is not None and kind == "traces" and len(some) < n:
            yield f"{len(some)} rows of the {n} asked for: the sources do not allow more with these shares"
        if not validation:
            continue
        held = sum(r.split is Split.VALIDATION for r in some)
        if not held:
            yield f"{kind}: no row is left for validation: {len(some)} rows in {len({r.cluster for r in some})} clusters"
        elif abs(held / len(some) - validation) > 0.05:
            yield f"{kind}: {held} of {len(some)} rows are for validation, not {validation:g}: clusters are never divided"
        labels = {r.label for r in some if r.split is Split.TRAIN}
        if len(labels) == 1:
            yield f"{kind}: all training rows have one label"
