"""A plain file of scores as something to mine: a row a sample, with ``id`` and P(positive) of each member in a column.

``.jsonl`` or ``.csv``, also gzipped. Other columns are passed through. A cell without a number means that the member was not
heard; a label is P(positive) ≥ 0.5. ``gold`` (1, 0, true, false or empty) is the gold label, ``index`` the row number in the
source, where there are such columns.
"""

from __future__ import annotations

import csv
import gzip
import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from guardeval.data import Target
from guardeval.errors import ConfigError, DataError, did_you_mean
from guardeval.mining_sources import BATCH, Batch, Found, Place
from guardeval.rows import file_format

__all__ = ["ScoreRows"]

_PLACE = struct.Struct("<qq")  # byte at which the row begins, row number
_LOOK = 64  # rows that decide which columns are numbers
_NO_MEMBERS = frozenset({"id", "index", "gold", "doc_id", "label"})
_GOLD: Mapping[Any, int] = {None: -1, "": -1, True: 1, False: 0, "1": 1, "0": 0, "true": 1, "false": 0, "True": 1, "False": 0}
Row = dict[str, Any]


class ScoreRows:
    """Raises :class:`ConfigError` where no two columns hold probabilities, :class:`DataError` naming the row for a bad cell."""

    has_words = False
    task: str | None = None
    target: Target | None = None
    data: str | None = None
    left_out = 0
    about: Mapping[str, Any] = {}  # no answers in it

    def __init__(self, path: Path, members: Sequence[str] | None = None) -> None:
        kind = file_format(path)
        if kind not in ("jsonl", "csv"):
            raise ConfigError(f"{path}: scores are read from .jsonl or .csv (also .gz), which stream; convert the file")
        self.path = path
        self._file = _seekable(path)
        self._again = Path(self._file.name).open("rb", 4096)  # noqa: SIM115  # single rows: a large buffer would be filled for each
        self._csv = kind == "csv"
        self._header: list[str] = []
        head = [row for row, _ in islice(self._rows(), _LOOK)]
        if not head:
            raise DataError(f"{path}: is empty; it holds no row")
        if "id" not in head[0]:
            raise DataError(f"{path}: row 1 has no column `id`; columns: {', '.join(map(str, head[0]))}")
        self.members = tuple(members) if members else _numeric(head)
        unknown = [m for m in self.members if not any(m in row for row in head)]
        if unknown:
            raise ConfigError(f"{path}: no column {unknown[0]!r}{did_you_mean(unknown[0], map(str, head[0]))}")
        if len(self.members) < 2 or len(set(self.members)) < len(self.members):
            found = ", ".join(self.members) or "none"
            raise ConfigError(
                f"{path}: two columns of scores or more are wanted, each once (found: {found}); name them with --members"
            )

    def batches(self) -> Iterator[Batch]:
        rows = self._rows()
        start = 0
        while chunk := list(islice(rows, BATCH)):
            yield self._batch(chunk, start)
            start += len(chunk)

    def _batch(self, chunk: Sequence[tuple[Row, int]], start: int) -> Batch:
        rows = [row for row, _ in chunk]
        scores = self._scores(rows, start)
        labels = np.where(np.isnan(scores), -1, scores >= 0.5).astype(np.int8)
        try:
            ids = [i if type(i := row["id"]) is str else _id(i) for row in rows]
            gold = [_GOLD[row.get("gold")] for row in rows] if any("gold" in r for r in rows) else [-1] * len(rows)
        except (KeyError, TypeError, ValueError) as e:
            raise self._bad(rows, start) from e
        places = [_PLACE.pack(at, start + i) for i, (_, at) in enumerate(chunk)]
        return Batch(ids, places, np.array(gold, np.int8), scores, labels)

    def _scores(self, rows: Sequence[Row], start: int) -> NDArray[np.float64]:
        try:
            scores = np.array(list(map(itemgetter(*self.members), rows)), float)
        except (ValueError, TypeError, KeyError):  # an empty or missing cell: one by one
            scores = np.array([[self._cell(row, m, start + i) for m in self.members] for i, row in enumerate(rows)], float)
        wrong = np.argwhere((scores < 0) | (scores > 1))
        if len(wrong):
            i, j = (int(x) for x in wrong[0])
            raise DataError(
                f"{self.path}: row {start + i + 1}: column {self.members[j]!r} holds {scores[i, j]:g}: a probability from 0 to "
                "1 is wanted; name the columns of scores with --members"
            )
        return scores

    def _cell(self, row: Row, member: str, number: int) -> float:
        value = row.get(member)
        if value is None or value == "":
            return np.nan
        try:
            return float(value)
        except (TypeError, ValueError):
            raise DataError(
                f"{self.path}: row {number + 1}: column {member!r} holds {str(value)[:40]!r}: a probability, or nothing, "
                "is wanted"
            ) from None

    def _bad(self, rows: Sequence[Row], start: int) -> DataError:
        """The first row without a usable id or gold label, as an error."""
        for number, row in enumerate(rows, start + 1):
            if not isinstance(row.get("id"), (str, int)):
                return DataError(f"{self.path}: row {number} has no `id` (a text or a whole number)")
            gold = row.get("gold")
            if isinstance(gold, (list, dict)) or gold not in _GOLD:
                return DataError(
                    f"{self.path}: row {number}: `gold` is {str(gold)[:40]!r}; 1, 0, true, false or nothing is wanted"
                )
        return DataError(f"{self.path}: a row from {start + 1} on cannot be read")

    def found(self, place: Place) -> Found:
        assert isinstance(place, bytes)  # noqa: S101  # as batches() gave it
        at, number = _PLACE.unpack(place)
        self._again.seek(at)
        row = next(self._csv_rows(self._again, self._header, at) if self._csv else self._json_rows(self._again, at))[0]
        values = [self._cell(row, m, 0) for m in self.members]
        said = [(m, None if v != v else v >= 0.5, None if v != v else v, "") for m, v in zip(self.members, values, strict=True)]
        gold = _GOLD[row.get("gold")]
        index = row.get("index")
        stated = isinstance(index, int) or (isinstance(index, str) and index.isdecimal())
        return Found(
            str(row["id"]),
            int(index) if stated and index is not None else number,
            row,
            None if gold < 0 else bool(gold),
            "",
            None,
            said,
        )

    # ---- rows and the bytes at which they begin ----

    def _rows(self) -> Iterator[tuple[Row, int]]:
        self._file.seek(0)
        if not self._csv:
            return self._json_rows(self._file, 0)
        first = _Tracked(self._file, 0)
        header = next(csv.reader(first, strict=True), None)
        if header is None:
            raise DataError(f"{self.path}: is empty; it holds no row")
        self._header = [header[0].removeprefix("\ufeff"), *header[1:]]
        return self._csv_rows(self._file, self._header, first.at)

    def _json_rows(self, lines: IO[bytes], at: int) -> Iterator[tuple[Row, int]]:
        loads = orjson.loads
        for line in lines:
            try:
                row = loads(line)
            except orjson.JSONDecodeError as e:
                if not line.strip():
                    at += len(line)
                    continue
                raise DataError(f"{self.path}: byte {at}: is not valid JSON: {e}") from e
            if type(row) is not dict:
                raise DataError(f"{self.path}: byte {at}: one JSON object a line is wanted")
            yield row, at
            at += len(line)

    def _csv_rows(self, file: IO[bytes], header: Sequence[str], at: int) -> Iterator[tuple[Row, int]]:
        lines = _Tracked(file, at)
        width = len(header)
        try:
            for cells in csv.reader(lines, strict=True):
                if len(cells) == width:
                    yield dict(zip(header, cells, strict=True)), at
                elif cells:
                    raise DataError(f"{self.path}: byte {at}: {len(cells)} cells; the header has {width}")
                at = lines.at
        except (csv.Error, UnicodeDecodeError) as e:
            raise DataError(f"{self.path}: byte {at}: is not valid csv in UTF-8: {e}") from e


def _id(value: Any) -> str:
    if type(value) is int:
        return str(value)
    raise TypeError(value)


class _Tracked:
    """Lines as text, and at which byte the next begins: the csv reader takes no more of them than the record needs."""

    def __init__(self, lines: Iterable[bytes], at: int) -> None:
        self._lines = iter(lines)
        self.at = at

    def __iter__(self) -> _Tracked:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.at += len(line)
        return line.decode("utf-8")


def _seekable(path: Path) -> IO[bytes]:
    """The file; of a gzipped one, its content in a temporary file, for rows are read again by their place."""
    try:
        if path.suffix.lower() != ".gz":
            return path.open("rb", 1 << 18)
        plain: IO[bytes] = tempfile.NamedTemporaryFile()  # noqa: SIM115  # lives as long as its reader
        with gzip.open(path, "rb") as packed:
            shutil.copyfileobj(packed, plain, 1 << 20)
        plain.flush()
        return plain
    except (OSError, EOFError) as e:
        raise DataError(f"{path}: cannot be read: {getattr(e, 'strerror', None) or e}") from e


def _numeric(head: Sequence[Row]) -> tuple[str, ...]:
    """Columns that hold numbers, or nothing, in all of the first rows, and a number in one of them."""
    columns = dict.fromkeys(k for row in head for k in row if k not in _NO_MEMBERS)
    return tuple(c for c in columns if _all_numbers([row.get(c) for row in head]))


def _all_numbers(cells: Sequence[Any]) -> bool:
    there = [c for c in cells if c is not None and c != ""]
    return bool(there) and all(map(_is_number, there))


def _is_number(cell: Any) -> bool:
    if isinstance(cell, str):
        try:
            float(cell)
        except ValueError:
            return False
        return True
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)
