"""Several runs of one task read side by side, sample by sample, in as much memory as one sample takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from guardeval.data import Judged
from guardeval.errors import DataError
from guardeval.runs import TaskRecord
from guardeval.side_by_side import check_same_sample, joined

__all__ = ["Aligned", "align"]

Line = tuple[Judged, int]


@dataclass
class Aligned:
    """Iterates over the samples that all runs hold, one judged sample a run and the prompt's cluster.

    ``left_out``: by run, samples that not all hold; complete once the iteration has ended.
    """

    records: Sequence[TaskRecord]
    names: Sequence[str]
    left_out: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[tuple[Judged, ...], int]]:
        self.left_out = [0] * len(self.records)
        streams = [_in_order(record, name) for record, name in zip(self.records, self.names, strict=True)]
        for lines in joined(streams, lambda line: line[0].sample.index):
            held = [line for line in lines if line is not None]
            if len(held) < len(lines):
                for i, line in enumerate(lines):
                    self.left_out[i] += line is not None
                continue
            check_same_sample(self.names, held[0][0].sample.index, [_facts(line) for line in held])
            yield tuple(judged for judged, _ in held), held[0][1]


def align(records: Sequence[TaskRecord], names: Sequence[str]) -> Aligned:
    """Runs of one task, matched by the row of the source that a sample is. Iterate to read them.

    Iterating raises :class:`DataError` where they disagree on a sample's id, label or prompt.
    """
    return Aligned(records, names)


def _facts(line: Line) -> tuple[str, bool | None, int]:
    judged, cluster = line
    return judged.sample.id, judged.sample.labels.get(judged.verdict.target), cluster


def _in_order(record: TaskRecord, name: str) -> Iterator[Line]:
    before = None
    for judged, cluster in record.lines():
        if before is not None and judged.sample.index <= before:
            raise DataError(f"{record.samples}: row {judged.sample.index} of run {name!r} stands after row {before}")
        before = judged.sample.index
        yield judged, cluster
