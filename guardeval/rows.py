"""Files of rows, read one row at a time: json, jsonl, csv, parquet, each also gzipped.

Lines end at ``\\n`` only: texts hold other line separators. A whole JSON document is loaded at once, all else streams.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import orjson

from guardeval.errors import ConfigError, DataError, did_you_mean, needs_extra

__all__ = ["SUFFIXES", "file_format", "is_rows_file", "read_rows", "without_surrogates"]

_BOM = b"\xef\xbb\xbf"
_REPLACEMENT = "\ufffd"


def file_format(path: Path) -> str:
    """``json``, ``jsonl``, ``csv`` or ``parquet``, by the file's name. Raises :class:`ConfigError` for all others."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    if kind not in SUFFIXES:
        hint = did_you_mean(kind, SUFFIXES) if kind else f"; known: {', '.join(sorted(SUFFIXES))}"
        raise ConfigError(f"{path}: cannot tell the format from the name{hint} (each also with .gz)")
    return SUFFIXES[kind]


def is_rows_file(path: Path) -> bool:
    """True for a name that :func:`read_rows` knows what to do with."""
    names = path.name.lower().removesuffix(".gz")
    return any(names.endswith(s) for s in SUFFIXES)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, as maps from column to cell.

    Raises :class:`DataError` naming file and row for anything that is not rows: no UTF-8, a cut gzip, a broken record, an
    empty file; :class:`ConfigError` for a name whose format nobody knows.
    """
    kind = file_format(path)
    if not path.is_file():
        raise DataError(f"{path}: is no file")
    with _readable(path):
        empty = True
        for row in _READERS[kind](path):
            empty = False
            yield row
    if empty:
        raise DataError(f"{path}: is empty; it holds no row")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise DataError(f"{path}: the gzip file is damaged or cut off: {e}; fetch it again") from e
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror or e}") from e


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


# ---- json ----


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    loads = orjson.loads
    with _open(path) as f:
        for number, line in enumerate(f, 1):
            if number == 1 and line.startswith(_BOM):
                line = line[3:]
            if line.isspace() or not line:
                continue
            try:
                row = loads(line)
            except orjson.JSONDecodeError:
                row = _loads_leniently(line, f"{path}:{number}", one_line=True)
            if type(row) is not dict:
                raise DataError(f"{path}:{number}: holds {_kind(row)}; one JSON object a line is wanted")
            yield row


def _loads_leniently(raw: bytes, where: str, one_line: bool = False) -> Any:
    """What orjson refuses and Python reads: lone surrogates (then U+FFFD), NaN. Raises :class:`DataError` for all else."""
    try:
        return without_surrogates(json.loads(raw.decode("utf-8")))
    except UnicodeDecodeError as e:
        raise DataError(f"{where}: is not UTF-8 (byte {e.object[e.start]:#04x} at {e.start}); convert the file to UTF-8") from e
    except json.JSONDecodeError as e:
        place = f"character {e.colno}" if one_line else f"line {e.lineno}, character {e.colno}"
        raise DataError(f"{where}: is not valid JSON: {e.msg} at {place}") from e
    except ValueError as e:  # more digits than Python turns into a number
        raise DataError(f"{where}: holds a number that is too long ({e}); write it as a text") from e
    except RecursionError as e:
        raise DataError(f"{where}: is nested too deeply") from e


def without_surrogates(value: Any) -> Any:
    """JSON with U+FFFD for what UTF-8 cannot hold: half a pair, a byte of a file name that is no UTF-8."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {without_surrogates(k): without_surrogates(v) for k, v in value.items()}
    return [without_surrogates(v) for v in value] if isinstance(value, list) else value


def _read_json(path: Path) -> Iterator[dict[str, Any]]:
    with _open(path) as f:
        raw = f.read().removeprefix(_BOM)
    if not raw.strip():
        return
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        document = _loads_leniently(raw, str(path))
    del raw
    yield from _records(document, path)


def _records(document: Any, path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a list of objects or texts, of ``{"prompts": [...], "count": n}``, or of columns side by side."""
    if isinstance(document, dict):
        lists = {k: v for k, v in document.items() if isinstance(v, list)}
        if len(lists) == 1:
            name, items = next(iter(lists.items()))
            count = document.get("count")
            if isinstance(count, int) and not isinstance(count, bool) and count != len(items):
                raise DataError(f"{path}: says that it holds {count} rows and holds {len(items)}; is it cut off?")
            yield from _rows_of(items, name, path)
            return
        if not lists or len({len(v) for v in lists.values()}) > 1:
            raise DataError(f"{path}: holds one JSON object without a list of rows; a list of objects is wanted")
        for cells in zip(*lists.values(), strict=True):
            yield dict(zip(lists, cells, strict=True))
        return
    if not isinstance(document, list):
        raise DataError(f"{path}: holds {_kind(document)}; a list of objects is wanted")
    yield from _rows_of(document, "text", path)


def _rows_of(items: list[Any], column: str, path: Path) -> Iterator[dict[str, Any]]:
    for number, item in enumerate(items, 1):
        if isinstance(item, str):
            yield {column: item}
        elif isinstance(item, dict):
            yield item
        else:
            raise DataError(f"{path}: row {number} is {_kind(item)}; an object is wanted")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null", bool: "true or false"}
    return names.get(type(value), "a number")


# ---- csv ----


def _read_csv(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default of 128 KB is less than some prompts
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    number = 0
    with io.TextIOWrapper(_open(path), encoding="utf-8-sig", newline="") as f:
        reader = csv.reader(f, delimiter=delimiter, strict=True)
        try:
            header = next(reader, None)
            if header is None:
                return
            if len(set(header)) < len(header):
                raise DataError(f"{path}: a column name stands twice in the first line: {', '.join(header)}")
            width = len(header)
            for number, cells in enumerate(reader, 1):
                if len(cells) != width:
                    if not cells:
                        continue
                    raise DataError(
                        f"{path}: row {number} (line {reader.line_num}) has {len(cells)} cells; the header has {width}"
                    )
                yield dict(zip(header, cells, strict=True))
        except UnicodeDecodeError as e:
            raise DataError(
                f"{path}: is not UTF-8 (byte {e.object[e.start]:#04x} near row {number + 1}); convert the file"
            ) from e
        except csv.Error as e:
            raise DataError(f"{path}: row {number + 1} (line {reader.line_num}) is not valid csv: {e}") from e


# ---- parquet ----


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    with needs_extra("parquet"):
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    source: Any = path
    if path.suffix.lower() == ".gz":
        with _open(path) as f:
            source = io.BytesIO(f.read())
    try:
        with pq.ParquetFile(source) as table:
            for batch in table.iter_batches(batch_size=512):
                yield from batch.to_pylist()
    except pa.ArrowException as e:
        raise DataError(f"{path}: is no readable parquet file: {e}") from e


_READERS: Mapping[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    "json": _read_json,
    "jsonl": _read_jsonl,
    "csv": _read_csv,
    "parquet": _read_parquet,
}
SUFFIXES: Mapping[str, str] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
