"""What a task's rows hold, counted, and everything that is wrong with them: ``guardeval data check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardeval.data import Sample
from guardeval.errors import DataError
from guardeval.judged import cluster_of

if TYPE_CHECKING:
    from guardeval.task_rows import Rows

__all__ = ["TaskReport", "check_rows"]

_SHOWN = 20  # problems kept in words; the rest is counted


@dataclass(frozen=True)
class TaskReport:
    """Counts over all rows of a source; a sample of two categories counts for both.

    ``rows`` are samples-to-be: a row that makes two samples counts twice.
    ``policies`` and ``known`` count samples by policy violated and settled; ``repeated`` the samples whose prompt (and
    response, where judged) occurred before; ``contradicting`` those among them with another label. ``problems`` are errors:
    rows that cannot be read, ids that occur twice, counts other than the task expects; ``notes`` are worth knowing.
    """

    task: str
    source: str
    kind: str
    shapes: tuple[str, ...]
    rows: int
    positive: int
    negative: int
    unlabelled: int
    excluded: int
    policies: Mapping[str, int]
    known: Mapping[str, int]
    categories: Mapping[str, int]
    prompts: int  # different prompts
    repeated: int
    contradicting: int
    bad: int  # rows with an error
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_text(self) -> str:
        """The report in lines of text: ``guardeval data check``."""
        from guardeval.task_text import report_text

        return report_text(self)


@dataclass
class _Tally:
    counts: Counter[str] = field(default_factory=Counter)
    policies: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    prompts: set[int] = field(default_factory=set)
    texts: dict[int, bool] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    unmet: set[str] = field(default_factory=set)  # columns of ids that no row had so far

    def problem(self, message: str) -> None:
        self.counts["bad"] += 1
        if len(self.problems) < _SHOWN:
            self.problems.append(message)

    def sample(self, sample: Sample, label: bool) -> None:
        self.counts["positive" if label else "negative"] += 1
        self.policies.update(sample.policies)
        self.known.update(sample.known_policies)
        if sample.category is not None:
            self.categories.update(sample.category.split("; "))
        self.prompts.add(cluster_of(sample.prompt))
        text = cluster_of(sample.prompt if sample.response is None else f"{sample.prompt}\0{sample.response}")
        if text in self.texts:
            self.counts["repeated"] += 1
            self.counts["contradicting"] += self.texts[text] is not label
        else:
            self.texts[text] = label
        if self.unmet:
            self.unmet.difference_update(sample.doc)
        if sample.id in self.ids:
            self.counts["same_id"] += 1
        self.ids.add(sample.id)


def check_rows(rows: Rows) -> TaskReport:
    """Read all rows to the end, whatever is wrong with some of them."""
    named = {shape.name: shape.id for shape in rows.task.shapes if shape.id and not shape.id.endswith("?")}
    tally = _Tally(unmet=set(named.values()))
    target = rows.task.target
    for place, what in rows.audit():
        tally.counts["rows"] += ": row " in place  # a file that cannot be read at all is no row
        if isinstance(what, Sample):
            tally.sample(what, what.labels[target])
        elif isinstance(what, DataError):
            message = str(what)
            tally.problem(message if message.startswith(place.partition(": row ")[0]) else f"{place}: {message}")
        else:
            tally.counts[what] += 1
    counts = tally.counts
    tally.unmet &= {named[shape] for shape in rows.shapes if shape in named}
    problems, notes = _remarks(rows, tally)
    return TaskReport(
        rows.task.name,
        rows.source,
        rows.kind,
        rows.shapes,
        counts["rows"],
        counts["positive"],
        counts["negative"],
        counts["unlabelled"],
        counts["excluded"],
        dict(tally.policies),
        dict(tally.known),
        dict(tally.categories),
        len(tally.prompts),
        counts["repeated"],
        counts["contradicting"],
        counts["bad"],
        problems,
        notes,
    )


def _remarks(rows: Rows, tally: _Tally) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(problems, notes)."""
    counts, expected = tally.counts, rows.task.expected
    problems = list(tally.problems)
    notes: list[str] = []
    if counts["bad"] > len(problems):
        problems.append(f"… and {counts['bad'] - len(problems)} more rows with errors")
    if counts["same_id"]:
        problems.append(
            f"{counts['same_id']} samples have an id that occurred before: `id` of the task does not tell rows apart"
        )
    if not counts["positive"] + counts["negative"] and not counts["bad"]:
        problems.append("no row has a label")
    kept = counts["rows"] - counts["excluded"]
    if rows.kind != "sample" and kept and kept != expected.get("rows", kept):
        message = f"{kept} rows; the whole benchmark has {expected['rows']}"
        (problems if rows.kind == "hub" else notes).append(message)
    elif rows.kind != "sample" and kept:
        differing = [f"{counts[k]} {k}, expected {n}" for k, n in expected.items() if k != "rows" and counts[k] != n]
        problems += [f"counts differ from the benchmark's: {'; '.join(differing)}"] if differing else []
    if counts["positive"] + counts["negative"]:
        said = "that `id` names: samples are known by their row numbers"
        notes += [f"no row has the column {column!r} {said}" for column in sorted(tally.unmet)]
    if counts["repeated"]:
        notes.append(
            f"{counts['repeated']} samples repeat an earlier text, {counts['contradicting']} of them with another label"
        )
    if not (counts["positive"] and counts["negative"]) and not counts["bad"]:
        notes.append("only one class occurs: precision or recall says nothing")
    return tuple(problems), tuple(notes)
