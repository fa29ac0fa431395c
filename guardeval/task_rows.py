"""The samples of a task, streamed from the hub, a file, or the rows that ship with guardeval."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.data import Sample
from guardeval.errors import DataError
from guardeval.mined_rows import KEY, own_of, source_of
from guardeval.shapes import Reader, choose_shape, compile_mined, compile_shape
from guardeval.subset import Stratum, draw

if TYPE_CHECKING:
    from guardeval.task_file import Task

__all__ = ["Part", "Rows"]

_LOOK_AHEAD = 64  # rows whose columns decide the shape: a flag may be missing from the first


@dataclass(frozen=True)
class Part:
    """One file or split. ``implied`` is the label that the whole of it stands for, where rows hold none."""

    name: str
    rows: Callable[[], Iterable[Mapping[str, Any]]]
    implied: bool | None = None
    path: Path | None = None
    count: int | None = None  # rows, where known without reading


class Rows:
    """Samples of one task: re-iterable, streaming, in the order of the source.

    ``kind`` is ``hub``, ``sample`` or ``file``; ``source`` what to show; ``notice`` what every table must say about
    the rows, or None. After an iteration to the end ``skipped`` is the number of samples left out for want of a label,
    ``excluded`` the number of rows that the task's ``where`` leaves out, ``shapes`` the shapes that were recognised.
    """

    def __init__(
        self,
        task: Task,
        kind: str,
        parts: Sequence[Part],
        source: str,
        identity: Callable[[], dict[str, Any]],
        notice: str | None = None,
        limit: int | None = None,
        seed: int = 0,
        only: Sequence[str | int] | None = None,
    ) -> None:
        self.task, self.kind, self.source, self.notice = task, kind, source, notice
        self.skipped = self.excluded = 0
        self.shapes: tuple[str, ...] = ()
        self._parts = tuple(parts)
        self._identity = identity
        self._limit, self._seed = limit, seed
        self._only = None if only is None else tuple(only)
        self._strata: Counter[Stratum] | None = None
        self._mined: dict[Part, str | None] = {}  # what each part was mined from, once it was read

    def __repr__(self) -> str:
        return f"<Rows of {self.task.name} from {self.source}>"

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the rows are, by content: ``{"files": [{"name", "sha256"}]}``, or the hub's name, split and revision.

        ``mined_from`` of mined rows is the data they were mined from.
        """
        of_parts = (self._mined[p] if p in self._mined else source_of(p.rows()) for p in self._parts if p.path is not None)
        sources = {s for s in of_parts if s is not None}
        return self._identity() | ({"mined_from": " and ".join(sorted(sources))} if sources else {})

    @property
    def subset(self) -> dict[str, Any] | None:
        """``{"n", "of", "seed", "stratified"}`` of a drawn subset, ``{"n", "of", "only"}`` of a chosen one, None for all."""
        if self._only is not None:
            return {"n": len(self._only), "of": self._counts().total(), "only": [str(o) for o in self._only]}
        if self._limit is None or self._limit >= self._counts().total():
            return None
        by = "label and category" if any(category for _, category in self._counts()) else "label"
        return {"n": self._limit, "of": self._counts().total(), "seed": self._seed, "stratified": by}

    def count(self) -> int:
        """How many samples an iteration yields. Reads all rows once, so that a bad one is found before anything is asked."""
        if self._only is not None:
            return len(set(self._only))
        total = self._counts().total()
        return total if self._limit is None else min(self._limit, total)

    def raw(self) -> Iterator[Mapping[str, Any]]:
        """The rows as they stand upstream, before any mapping."""
        return chain.from_iterable(part.rows() for part in self._parts)

    def __iter__(self) -> Iterator[Sample]:
        if self._only is not None:
            return self._chosen(self._only)
        if self._limit is not None and self._limit < self._counts().total():
            return self._drawn(self._limit)
        return self._all()

    def audit(self) -> Iterator[tuple[str, Sample | DataError | str]]:
        """Every row of the source with what becomes of it: a sample, ``unlabelled``, ``excluded``, or the error in it.

        The first of each pair says which row. A file that cannot be read any further ends with its error.
        """
        start = 0
        self.shapes = ()
        for part in self._parts:
            try:
                rows = iter(part.rows())
                head = list(islice(rows, _LOOK_AHEAD))
                reader = self._reader(part, head)
                for number, row in enumerate(chain(head, rows)):
                    for place, read in enumerate(reader.reads):
                        yield (
                            f"{part.name}: row {number + 1}",
                            _outcome(reader, read, row, start + number * len(reader.reads) + place),
                        )
                start += (number + 1) * len(reader.reads)
            except DataError as e:
                yield part.name, e

    # ---- which of them ----

    def _counts(self) -> Counter[Stratum]:
        """Samples by label and category, from one pass over all rows."""
        if self._strata is None:
            target = self.task.target
            self._strata = Counter((s.labels[target], s.category or "") for s in self._all())
            if not self._strata:
                why = f"{self.skipped} rows carry no label for {target}, {self.excluded} are left out by the task's `where`"
                raise DataError(f"{self.source}: `{self.task.name}` finds no sample in it: {why}")
        return self._strata

    def _drawn(self, limit: int) -> Iterator[Sample]:
        target = self.task.target
        choose = draw(self._counts(), limit, self._seed)
        return (s for s in self._all() if choose((s.labels[target], s.category or "")))

    def _chosen(self, only: Sequence[str | int]) -> Iterator[Sample]:
        """Texts are ids, ints row numbers. Raises :class:`DataError` at the end for those that nothing has."""
        wanted = frozenset(only)
        missing = dict.fromkeys(only)
        for sample in self._all():
            if sample.id in wanted or sample.index in wanted:
                missing.pop(sample.id, None)
                missing.pop(sample.index, None)
                yield sample
        if missing:
            first = next(iter(missing))
            what = "id" if isinstance(first, str) else "row number"
            raise DataError(
                f"{self.source}: no sample has the {what} {first!r} ({len(missing)} of {len(wanted)} were not found)"
            )

    # ---- rows to samples ----

    def _all(self) -> Iterator[Sample]:
        self.skipped = self.excluded = 0
        self.shapes = ()
        start = 0
        for part in self._parts:
            rows = iter(part.rows())
            head = list(islice(rows, _LOOK_AHEAD))
            reader = self._reader(part, head)
            start = yield from self._part(part.name, reader, chain(head, rows), start)

    def _reader(self, part: Part, head: Sequence[Mapping[str, Any]]) -> Reader:
        task, implied = self.task, part.implied
        if not head:
            raise DataError(f"{part.name}: is empty; it holds no row")
        columns = frozenset(k for row in head for k in row)
        mined, self._mined[part] = own_of(head[0]) is not None, source_of(head)
        if mined:
            columns -= {KEY}
            by_file = any(s.label is not None for s in task.sources)
            implied = True if implied is None and by_file else implied
        shape = choose_shape(task.shapes, columns, task.target, task.name, part.name, implied)
        self.shapes = tuple(dict.fromkeys((*self.shapes, shape.name)))
        try:
            if mined:
                return compile_mined(shape, task.target, task.taxonomy, implied, self._mined[part])
            return compile_shape(shape, task.target, task.taxonomy, part.implied)
        except DataError as e:
            raise DataError(f"{part.name}: {e}{task.files_hint()}") from e

    def _part(self, name: str, reader: Reader, rows: Iterable[Mapping[str, Any]], start: int) -> Generator[Sample, None, int]:
        """Samples of one part; returns where the next one's numbers start."""
        wanted, reads = reader.wanted, reader.reads
        number, skipped, row_number, excluded = start, 0, 0, 0
        try:
            for row_number, row in enumerate(rows, 1):  # noqa: B007  # named in the error below
                if wanted is not None and not wanted(row):
                    excluded += 1
                    number += len(reads)
                    continue
                for read in reads:
                    sample = read(row, number)
                    number += 1
                    if sample is None:
                        skipped += 1
                    else:
                        yield sample
        except DataError as e:
            if str(e).startswith(name):
                raise
            raise DataError(f"{name}: row {row_number} (counting from 1; shape `{reader.shape.name}`): {e}") from e
        finally:
            self.skipped += skipped
            self.excluded += excluded
        return number


def _outcome(
    reader: Reader, read: Callable[[Mapping[str, Any], int], Sample | None], row: Mapping[str, Any], number: int
) -> Sample | DataError | str:
    try:
        if reader.wanted is not None and not reader.wanted(row):
            return "excluded"
        return read(row, number) or "unlabelled"
    except DataError as e:
        return e


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes as stored."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
