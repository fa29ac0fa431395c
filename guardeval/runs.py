"""The run folder, read and written in one place.

``<output_path>/<date>_<task>_<solver>_<model>/`` holds ``run.yaml`` (everything resolved; ``--config run.yaml`` runs it
again), ``results_<date>.json`` and one ``samples_<task>_<date>.jsonl`` a task (lm-eval's schema and names). Every file is
written beside its name and moved into place, so that a crash leaves the old file or the new one, never a half.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import sys
import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from guardeval.contracts import Exchange
from guardeval.data import Judged, Target
from guardeval.errors import ConfigError, DataError
from guardeval.judged import Collector, Judgements, Packed, cluster_of
from guardeval.rows import without_surrogates
from guardeval.run_names import path_parts
from guardeval.run_shape import check_record, check_results, checked_name
from guardeval.sample_lines import LineWriter, judged_from_line
from guardeval.spill import MOST, NumberSpill, mapped
from guardeval.values import value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "LoggedPart",
    "RunFolder",
    "SampleLog",
    "StoredRun",
    "TaskRecord",
    "find_runs",
    "is_killed_run",
    "open_run",
    "read_run_yaml",
    "write_atomically",
]

RUN_FILE = "run.yaml"
_BUFFER = 1 << 18
_UNFINISHED = re.compile(r"samples_.+\.jsonl(\.part(\.sorted)?)?|run\.yaml\.part")
_BEGUN = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d_.")  # how the name of a run folder begins


def write_atomically(path: Path, data: bytes) -> None:
    """The whole file or the old one: written beside, flushed to disk, moved into place.

    Raises :class:`ConfigError` when the place cannot be written.
    """
    if not path.name:  # `.` has none to write beside
        raise ConfigError(f"{path}: cannot be written: it is a folder; name another file")
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        part.replace(path)
    except OSError as e:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ConfigError(f"{path}: cannot be written: {e.strerror}; name another file") from e


def _slug(text: str, most: int = 60) -> str:
    """A name that any file system takes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:most] or "x"


def _last_parts(name: str) -> str:
    """Of a model named by a path, the last parts: where a file lies says little about a run."""
    backend, parts = path_parts(name)
    return backend + "/".join(parts[-3:]) if parts else name


def _samples_path(folder: Path, task: str, date: str) -> Path:
    return folder / f"samples_{task}_{date}.jsonl"


def _results_path(folder: Path, date: str) -> Path:
    return folder / f"results_{date}.json"


class RunFolder:
    """A new run folder. Raises :class:`ConfigError` when it cannot be made or written."""

    def __init__(self, output_path: Path, task: str, solver: str, model: str, now: datetime) -> None:
        self.date = now.isoformat(timespec="microseconds").replace(":", "-")
        stamp = now.strftime("%Y-%m-%dT%H-%M-%S")
        base = f"{stamp}_{_slug(task)}_{_slug(solver, 30)}_{_slug(_last_parts(model))}"
        self.path = self._make(output_path.expanduser(), base)

    @staticmethod
    def _make(parent: Path, base: str) -> Path:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for suffix in ("", *(f"-{i}" for i in range(2, 1000))):  # several runs may start in one second
                with contextlib.suppress(FileExistsError):
                    (parent / (base + suffix)).mkdir()
                    return parent / (base + suffix)
        except OSError as e:
            raise ConfigError(f"--output_path {parent}: cannot be written: {e.strerror}; name another folder") from e
        raise ConfigError(f"--output_path {parent}: holds a thousand runs of this second; name another folder")

    def samples(self, task: str, target: Target, policy_names: Sequence[str], redact: bool) -> SampleLog:
        try:
            checked_name(task)
        except ValueError as e:
            raise DataError(f"task {task!r}: samples of it cannot be kept: {e}; give it another name") from e
        return SampleLog(_samples_path(self.path, task, self.date), target, policy_names, redact)

    def write_run(self, record: Mapping[str, Any]) -> None:
        """A file name that is not UTF-8 stands in the settings as it is, for ``--config`` to find it; not in the ``record``."""
        import yaml

        whole = {k: without_surrogates(v) if k == "record" else v for k, v in record.items()}
        text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=100)
        write_atomically(self.path / RUN_FILE, text.encode("utf-8", "replace"))

    def write_results(self, results: Mapping[str, Any]) -> None:
        write_atomically(_results_path(self.path, self.date), results_json(results))

    def discard(self) -> None:
        """Remove a folder in which nothing was heard."""
        for file in self.path.iterdir():
            file.unlink()
        self.path.rmdir()


def results_json(results: Mapping[str, Any]) -> bytes:
    """JSON with two-space indent; undefined numbers (nan) as null."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    try:
        return orjson.dumps(results, option=option, default=str)
    except TypeError:  # integers beyond 64 bits, in options that somebody gave: as text; file names that are not UTF-8
        plain = json.loads(
            json.dumps(results, default=str), parse_int=lambda digits: digits if len(digits) > 18 else int(digits)
        )
        return orjson.dumps(without_surrogates(plain), option=option)


@value
class LoggedPart:
    """Judged samples of one task in source order, as another process logged them: see :meth:`SampleLog.add_part`."""

    lines: bytes
    lengths: bytes  # of each line, 64-bit numbers
    indices: bytes  # row numbers, 64-bit numbers
    columns: Packed


class SampleLog:
    """Writes the judged samples of one task as they come and keeps their columns; the file ends up in source order."""

    def __init__(self, path: Path, target: Target, policy_names: Sequence[str], redact: bool) -> None:
        self.path = path
        self.collector = Collector(target, policy_names, path.parent)
        self._lines = LineWriter(target, redact)
        self._part = path.with_name(path.name + ".part")
        self._file: IO[bytes] = self._part.open("wb", _BUFFER)
        self._index = NumberSpill(path.parent)
        self._length = NumberSpill(path.parent)
        self._last = -1
        self._ordered = True

    def add(self, judged: Judged, exchanges: Sequence[Exchange], cluster: int | None = None) -> None:
        """``cluster``: of a sample whose text is not at hand; else that of its prompt."""
        cluster = cluster_of(judged.sample.prompt) if cluster is None else cluster
        self.add_line(judged, self._lines.line(judged, exchanges, cluster), cluster)

    def add_line(self, judged: Judged, line: bytes, cluster: int) -> None:
        """A sample whose line is written already: of another run, word for word."""
        self._write(line)
        index = judged.sample.index
        self._ordered = self._ordered and self._last < index
        self._last = index
        self._index.append(index)
        self._length.append(len(line))
        self.collector.add(judged, cluster)

    def add_part(self, part: LoggedPart) -> None:
        """Many samples at once; the part's own are in order."""
        indices = array("q", part.indices)
        if not indices:
            return
        self._write(part.lines)
        self._ordered = self._ordered and self._last < indices[0]
        self._last = indices[-1]
        self._index.extend(part.indices)
        self._length.extend(part.lengths)
        self.collector.extend(part.columns)

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as e:
            raise self._full(e) from e

    def _full(self, error: OSError) -> ConfigError:
        why = error.strerror or error
        return ConfigError(f"{self.path}: cannot be written: {why}; free some space, or name another folder by --output_path")

    def close(self) -> Judgements:
        """Put the file in place, in source order, and return its samples."""
        lengths = self._length.values()
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if not self._ordered:
                lengths = self._sort(lengths)
            self._part.replace(self.path)
        except OSError as e:
            raise self._full(e) from e
        return _judgements(self.collector, self.path, _offsets(lengths, self.path.parent))

    def _sort(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Copy the lines in source order; answers come back in any order. Neighbours that stay neighbours go together."""
        import numpy as np

        order = self._index.values().argsort(kind="stable")
        ends = np.cumsum(lengths)
        first = np.flatnonzero(np.diff(order, prepend=-2) != 1)
        last = np.append(first[1:], len(order)) - 1
        ordered = self._part.with_name(self._part.name + ".sorted")
        with self._part.open("rb") as source, ordered.open("wb", _BUFFER) as out:
            for i, j in zip(order[first].tolist(), order[last].tolist(), strict=True):
                start = int(ends[i] - lengths[i])
                source.seek(start)
                _copy(source, out, int(ends[j]) - start)
            out.flush()
            os.fsync(out.fileno())
        ordered.replace(self._part)
        return np.asarray(lengths[order])

    def abandon(self) -> None:
        with contextlib.suppress(OSError):  # what cannot be written is not wanted any more
            self._file.close()
        self._part.unlink(missing_ok=True)


def _copy(source: IO[bytes], out: IO[bytes], size: int) -> None:
    while size > 0:
        data = source.read(min(size, _BUFFER))
        out.write(data)
        size -= len(data)


def _offsets(lengths: NDArray[np.int64], folder: Path) -> NDArray[np.int64]:
    """Where each line begins."""
    import numpy as np

    starts = mapped(len(lengths), np.int64, folder) if len(lengths) * 8 > MOST else np.empty(len(lengths), np.int64)
    np.cumsum(lengths, out=starts)
    starts -= lengths
    return starts


def _lines(path: Path) -> Iterator[tuple[Judged, int]]:
    with path.open("rb", _BUFFER) as f:
        for number, line in enumerate(f, 1):
            yield judged_from_line(line, lambda number=number: f"{path}:{number}")  # type: ignore[misc]


def _judgements(collector: Collector, path: Path, offsets: NDArray[np.int64] | None = None) -> Judgements:
    return collector.judgements(_Reader(path, offsets).read, lambda: (judged for judged, _ in _lines(path)))


class _Reader:
    """Random access to the lines of a samples file; offsets are found on first use where they are not known."""

    def __init__(self, path: Path, offsets: NDArray[np.int64] | None = None) -> None:
        self.path = path
        self._offsets = offsets

    def read(self, i: int) -> Judged:
        if i and self._offsets is None:
            lengths = NumberSpill()
            with self.path.open("rb", _BUFFER) as f:
                for line in f:
                    lengths.append(len(line))
            self._offsets = _offsets(lengths.values(), Path(tempfile.gettempdir()))
        with self.path.open("rb") as f:
            f.seek(int(self._offsets[i]) if self._offsets is not None else 0)
            return judged_from_line(f.readline(), lambda: f"{self.path}:{i + 1}")[0]


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One task of a stored run: its samples file and what ``run.yaml`` says about it."""

    name: str
    target: Target
    samples: Path
    policy_names: tuple[str, ...]
    about: Mapping[str, Any]

    def lines(self) -> Iterator[tuple[Judged, int]]:
        """Judged samples and their clusters, streaming. A half-written last line is an error that names it."""
        return _lines(self.samples)

    def judgements(self) -> Judgements:
        collector = Collector(self.target, self.policy_names)
        for judged, cluster in self.lines():
            collector.add(judged, cluster)
        return _judgements(collector, self.samples)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run folder as it lies on disk."""

    path: Path
    record: Mapping[str, Any]  # run.yaml
    tasks: tuple[TaskRecord, ...]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def date(self) -> str:
        return str(self.record["record"]["date"])

    @property
    def results_path(self) -> Path:
        return _results_path(self.path, self.date)

    def results(self) -> dict[str, Any]:
        path = self.results_path
        remedy = f"`guardeval score {shlex.quote(str(self.path))}` writes it anew"
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise DataError(f"{path}: is not there; {remedy}") from None
        except (ValueError, RecursionError) as e:
            raise DataError(f"{path}: is no JSON ({e}); {remedy}") from e
        try:
            check_results(found)
        except ValueError as e:
            raise DataError(f"{path}: is not one that a run wrote ({e}); {remedy}") from e
        return dict(found)


def read_run_yaml(path: Path) -> dict[str, Any]:
    """A mapping of flags to values. Raises :class:`ConfigError` where there is none, or a key stands twice."""
    from guardeval.yaml_files import plain_values

    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    record = plain_values(raw, str(path))
    if not isinstance(record, dict):
        raise ConfigError(f"{path}: holds {type(record).__name__}; a mapping of flags to values is wanted")
    return record


def open_run(folder: Path | str, *, samples: bool = True) -> StoredRun:
    """A finished run. Raises :class:`DataError` that says what is missing in the folder.

    ``samples=False``: only its record and results are wanted, the samples files may be gone. Else their lines are counted,
    at a gigabyte a second: a file that was cut between two lines reads as well as a whole one.
    """
    path = Path(folder).expanduser()
    if is_killed_run(path):
        raise DataError(
            f"{folder}: a run that was killed: {RUN_FILE} is not in it; delete it; the same command asks what is left"
        )
    if not (path / RUN_FILE).is_file():
        near = find_runs(path.parent) if path.parent.is_dir() else []
        hint = f"; runs there: {', '.join(p.name for p in near[-3:])}" if near else ""
        raise DataError(f"{folder}: is no run folder ({RUN_FILE} is not in it){hint}")
    record = read_run_yaml(path / RUN_FILE)
    about = record.get("record")
    if not isinstance(about, dict) or "tasks" not in about:
        raise DataError(f"{path / RUN_FILE}: has no `record` of what ran: the run was cut off before its first answer")
    try:
        tasks = _task_records(path, about)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise DataError(f"{path / RUN_FILE}: its `record` is not one that a run wrote ({type(e).__name__}: {e})") from e
    for task in tasks if samples else ():
        if not task.samples.is_file():
            raise DataError(f"{task.samples}: is not there: the run was cut off; run it again (answers given are in the cache)")
        _check_whole(task)
    return StoredRun(path, record, tasks)


def _check_whole(task: TaskRecord) -> None:
    """Raises :class:`DataError` for a samples file that holds fewer lines, or more, than the run wrote."""
    said = task.about.get("samples")
    if said is None:
        return
    held = _count_lines(task.samples)
    if held < said:
        raise DataError(
            f"{task.samples}: holds {held} of {said} samples: the file was cut; run it again (answers given are in the cache)"
        )
    if held > said:
        raise DataError(f"{task.samples}: holds {held} samples, {RUN_FILE} says {said}: one of them was changed; run it again")


def _count_lines(path: Path) -> int:
    """A half-written last line is one, too: whoever reads it says what is wrong with it."""
    lines, last = 0, b"\n"
    with path.open("rb", 0) as f:
        while data := f.read(_BUFFER):
            lines += data.count(b"\n")
            last = data[-1:]
    return lines + (last != b"\n")


def _task_records(path: Path, about: Mapping[str, Any]) -> tuple[TaskRecord, ...]:
    """Raises :class:`ValueError` for what no run wrote, and for names that would lead out of the folder."""
    check_record(about)
    for name in (about["date"], *about["tasks"]):
        checked_name(name)
    return tuple(
        TaskRecord(name, Target(task["target"]), _samples_path(path, name, about["date"]), tuple(about["policies"]), task)
        for name, task in about["tasks"].items()
    )


def find_runs(parent: Path) -> list[Path]:
    """Run folders in a folder, oldest first."""
    if not parent.is_dir():
        return []
    return sorted(p for p in parent.iterdir() if (p / RUN_FILE).is_file())


def is_killed_run(path: Path) -> bool:
    """Whether a folder holds only what a run has in it before its samples are in place; one still under way looks the same."""
    if not path.is_dir():
        return False
    names = [p.name for p in path.iterdir()]
    if not names:
        return _BEGUN.match(path.resolve().name) is not None
    return any(".part" in n for n in names) and all(map(_UNFINISHED.fullmatch, names))


def environment() -> dict[str, Any]:
    """What a result may depend on beside its configuration."""
    import platform

    import guardeval

    return {"guardeval": guardeval.__version__, "python": sys.version.split()[0], "platform": platform.platform()}
