"""Rows on their way into a training file: what they repeat, why one is left out, what is written of one that stays."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from guardeval.benchmark_prompts import Benchmarks, normal
from guardeval.errors import DataError
from guardeval.training_rows import Pair, Split, Trace, read_training_file

__all__ = [
    "CHECKS", "REASONS", "Row", "check_overlap", "leave_out", "leave_out_duplicates", "leave_out_wrong", "marked",
    "overlap_counts", "read_source", "reasons_text",
]  # fmt: skip

REASONS = {
    "empty": "no prompt in it",
    "duplicate": "the same words as a row that was kept",
    "conflict": "rows of the same words with another label",
    "against_gold": "the label differs from the sample's own gold label",
    "overlap": "repeats a test set",
    "ratio": "more rows than the mix takes of this source",
}
CHECKS = ("exact", "normalised", "ngram", "near", "inherited")


@dataclass(slots=True, eq=False)
class Row:
    """One input row on its way: where it is from, what it repeats, where it goes."""

    row: Trace | Pair
    source: str
    digest: str
    rank: str  # its place in every draw
    seeds: tuple[int, ...] = ()  # fingerprints of the prompts it was made from
    seen: tuple[int, ...] = ()  # fingerprints of test prompts that it is known to repeat
    stained: tuple[str, ...] = ()  # tests that the file says it repeats
    overlaps: dict[str, set[str]] = field(default_factory=dict)  # task → kinds
    exposed: set[int] = field(default_factory=set)
    left_out: str = ""  # a reason, or nothing
    cluster: int = -1
    split: Split = Split.TRAIN

    @property
    def kind(self) -> str:
        return "pairs" if isinstance(self.row, Pair) else "traces"

    @property
    def label(self) -> bool | None:
        return self.row.sample.labels.get(self.row.target) if isinstance(self.row, Pair) else self.row.label

    @property
    def question(self) -> tuple[str, str, str]:
        """What is asked, by its words."""
        sample = self.row.sample
        response = "" if sample.response is None else normal(sample.response)
        return str(self.row.target), normal(sample.prompt), response if self.row.target.value != "prompt_harmfulness" else ""


def read_source(source: str, seed: int) -> Iterator[Row]:
    for row in read_training_file(source):
        said = row.to_row()
        own = {k: v for k, v in said["guardeval"].items() if k != "index"}  # a place in a file, where nothing better is known
        content = orjson.dumps({**said, "split": None, "guardeval": own}, option=orjson.OPT_SORT_KEYS)
        digest = hashlib.sha256(content).hexdigest()
        rank = f"{_drawn(said, seed)}:{digest}"
        try:
            handed_down = _handed_down(row.about)
        except (TypeError, ValueError, KeyError) as e:
            raise DataError(
                f"{source}: sample {row.sample.id!r}: seeds, exposed or contaminated_with of `guardeval` cannot be read "
                f"({type(e).__name__}: {e}), so whether the row repeats a test is not known: make the file again"
            ) from e
        yield Row(row, source, digest, rank, *handed_down)


def _drawn(said: Mapping[str, Any], seed: int) -> str:
    """A draw by what the row teaches, so that what it cost or where its teacher was reached changes no split."""
    taught = {k: v for k, v in said.items() if k not in ("split", "guardeval")}
    return hashlib.sha256(f"{seed}:".encode() + orjson.dumps(taught, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _handed_down(about: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]:
    """Seeds, exposed, contaminated_with. Raises what wrong types raise, and :class:`ValueError` for what is no fingerprint."""
    seeds, exposed, tasks = (about.get(k) or [] for k in ("seeds", "exposed", "contaminated_with"))
    if not all(isinstance(some, list) for some in (seeds, exposed, tasks)) or not all(isinstance(t, str) for t in tasks):
        raise TypeError("lists are wanted, of names in contaminated_with")
    return tuple(_fingerprint(s["prompt"]) for s in seeds), tuple(map(_fingerprint, exposed)), tuple(tasks)


def _fingerprint(given: Any) -> int:
    if type(given) is not int or not 0 <= given < 1 << 64:
        raise ValueError("a fingerprint, a number of 64 bits, is wanted")
    return given


# ---- what is left out ----


def leave_out(rows: Iterable[Row], reason: str, wrong: Callable[[Row], bool]) -> None:
    for row in rows:
        if not row.left_out and wrong(row):
            row.left_out = reason


def leave_out_wrong(rows: Sequence[Row]) -> None:
    """What teaches nothing, or the wrong: no prompt; an end against the own gold label; two labels of one question."""
    leave_out(rows, "empty", lambda r: not r.row.sample.prompt.strip())
    leave_out(rows, "against_gold", lambda r: r.row.sample.labels.get(r.row.target) not in (None, r.label))
    labels: dict[tuple[str, str, str], set[bool]] = {}
    for row in rows:
        if not row.left_out and row.label is not None:
            labels.setdefault(row.question, set()).add(row.label)
    leave_out(rows, "conflict", lambda r: len(labels.get(r.question, ())) > 1)


def leave_out_duplicates(rows: Sequence[Row]) -> None:
    """One trace a question: one of a real sample before a generated one. Pairs of one question differ in their answers."""
    taken: set[tuple[str, ...]] = set()
    for row in sorted(rows, key=lambda r: (r.row.about.get("kind") == "synthetic", r.digest)):
        if row.left_out:
            continue
        answers = (row.row.chosen, row.row.rejected) if isinstance(row.row, Pair) else ()
        key = (row.kind, *row.question, *answers)
        row.left_out = "duplicate" if key in taken else ""
        taken.add(key)


def reasons_text(rows: Iterable[Row]) -> str:
    counts = Counter(r.left_out for r in rows if r.left_out)
    return "; ".join(f"{n} × {REASONS[reason]}" for reason, n in sorted(counts.items())) or "no row in it"


# ---- test sets ----


def check_overlap(rows: Sequence[Row], benchmarks: Benchmarks) -> None:
    """Which test sets each row repeats, by its own prompt, by the prompts it was made from, or by what is said of it."""
    asked: dict[str, dict[str, list[tuple[str, int]]]] = {}
    for row in rows:
        prompt = row.row.sample.prompt
        hits = asked.get(prompt)
        if hits is None:
            hits = asked[prompt] = benchmarks.hits(prompt)
        inherited = [hit for f in (*row.seeds, *row.seen) for hit in benchmarks.seen(f)]
        for kind, found in (*hits.items(), ("inherited", inherited)):
            for task, mark in found:
                row.overlaps.setdefault(task, set()).add(kind)
                row.exposed.add(mark)
        for task in row.stained:
            row.overlaps.setdefault(task, set()).add("inherited")


def overlap_counts(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in rows:
        for task, kinds in row.overlaps.items():
            found.setdefault(task, Counter()).update([*kinds, "any"])
    return {task: dict(counts) for task, counts in sorted(found.items())}


def marked(row: Row) -> Trace | Pair:
    """The row as it is written: its split, and the test sets it repeats."""
    about = dict(row.row.about)
    if row.overlaps:
        about["contaminated_with"] = sorted(row.overlaps)
        about["exposed"] = sorted({*row.seen, *row.exposed})
    return replace(row.row, split=row.split, about=about)
