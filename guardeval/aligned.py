"""Several runs of one task read side by side, sample by sample, in as much memory as one sample takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from guardeval.data import Judged
from guardeval.errors import DataError
from guardeval.runs import TaskRecord

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
        heads: list[Line | None] = [next(s, None) for s in streams]
        while all(h is not None for h in heads):
            lines = [h for h in heads if h is not None]
            last = max(judged.sample.index for judged, _ in lines)
            behind = [i for i, (judged, _) in enumerate(lines) if judged.sample.index < last]
            if not behind:
                self._check(lines)
                yield tuple(judged for judged, _ in lines), lines[0][1]
            for i in behind or range(len(streams)):
                self.left_out[i] += bool(behind)
                heads[i] = next(streams[i], None)
        for i, (head, stream) in enumerate(zip(heads, streams, strict=True)):
            self.left_out[i] += (head is not None) + sum(1 for _ in stream)

    def _check(self, lines: Sequence[Line]) -> None:
        (first, cluster), *others = lines
        for (other, its), name in zip(others, self.names[1:], strict=True):
            what = _difference(first, other) or ("prompt" if its != cluster else None)
            if what is not None:
                raise DataError(
                    f"runs {self.names[0]!r} and {name!r} disagree on the {what} of row {first.sample.index} "
                    f"({first.sample.id!r}, {other.sample.id!r}): they did not run on the same data"
                )


def align(records: Sequence[TaskRecord], names: Sequence[str]) -> Aligned:
    """Runs of one task, matched by the row of the source that a sample is. Iterate to read them.

    Iterating raises :class:`DataError` where they disagree on a sample's id, label or prompt.
    """
    return Aligned(records, names)


def _difference(one: Judged, other: Judged) -> str | None:
    if one.sample.id != other.sample.id:
        return "id"
    target = one.verdict.target
    return "gold label" if one.sample.labels.get(target) != other.sample.labels.get(target) else None


def _in_order(record: TaskRecord, name: str) -> Iterator[Line]:
    before = None
    for judged, cluster in record.lines():
        if before is not None and judged.sample.index <= before:
            raise DataError(f"{record.samples}: row {judged.sample.index} of run {name!r} stands after row {before}")
        before = judged.sample.index
        yield judged, cluster
