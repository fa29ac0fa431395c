"""Reviews in one SQLite file: sets of samples, and every mark as an event that is never changed.

Several servers may share the file. Each mark is committed before the page hears that it is kept, so a killed server
loses nothing. A file belongs to one run, and each sample in it to one text: marks never attach to anything else.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guardeval.errors import ConfigError, DataError
from guardeval.review.marks import Field, Marks
from guardeval.sqlite_files import header, open_shared

__all__ = ["REVIEWS_FILE", "Member", "Store", "Undone"]

REVIEWS_FILE = "reviews.sqlite"
SCHEMA = 1
_APPLICATION = 0x67647672  # "gdvr"
_PATIENCE = 15.0  # seconds to wait for another process's transaction, which takes milliseconds
_TABLES = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sample (
    number INTEGER PRIMARY KEY, task TEXT NOT NULL, id TEXT NOT NULL, shown TEXT NOT NULL, cluster INTEGER NOT NULL,
    UNIQUE (task, id));
CREATE TABLE IF NOT EXISTS sample_set (
    number INTEGER PRIMARY KEY, task TEXT NOT NULL, how TEXT NOT NULL, made TEXT NOT NULL, UNIQUE (task, how));
CREATE TABLE IF NOT EXISTS in_set (
    sample_set INTEGER NOT NULL REFERENCES sample_set, position INTEGER NOT NULL, sample INTEGER NOT NULL REFERENCES sample,
    PRIMARY KEY (sample_set, position), UNIQUE (sample_set, sample)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (
    number INTEGER PRIMARY KEY AUTOINCREMENT, sample INTEGER NOT NULL REFERENCES sample, reviewer TEXT NOT NULL,
    field TEXT NOT NULL, member TEXT NOT NULL DEFAULT '', value TEXT, blind INTEGER NOT NULL, time TEXT NOT NULL,
    undoes INTEGER UNIQUE REFERENCES event);
CREATE INDEX IF NOT EXISTS event_of ON event (sample, reviewer);
"""
# events that stand: not undone, and no undoing themselves
_STANDING = "event.undoes IS NULL AND event.number NOT IN (SELECT undoes FROM event WHERE undoes IS NOT NULL)"


@dataclass(frozen=True, slots=True)
class Member:
    """A sample of a set. ``shown``: digest of all that a reviewer sees of it; ``cluster``: equal for equal prompts."""

    id: str
    shown: str
    cluster: int


@dataclass(frozen=True, slots=True)
class Undone:
    """What was taken back."""

    id: str
    field: str


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Store:
    """An open file of reviews of the run with this ``identity``. Usable from several threads.

    Raises :class:`ConfigError` for a file that cannot be used, :class:`DataError` for one that holds another run.
    """

    def __init__(self, path: Path, identity: str, run: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        with _explained(path):
            self._db = _open(path)
            try:
                _claim(self._db, path, identity, run)
            except BaseException:
                self._db.close()
                raise

    @classmethod
    def existing(cls, path: Path, identity: str, run: str) -> Store | None:
        """The file if there is one. A folder that cannot be written is read all the same."""
        if not path.is_file():
            return None
        if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
            return cls(path, identity, run)
        store = cls.__new__(cls)
        store.path, store._lock = path, threading.Lock()
        with _explained(path):
            store._db = sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True, check_same_thread=False)
            try:
                _check_ours(store._db, path)
                _check_run(store._db, path, identity, run)
            except BaseException:
                store._db.close()
                raise
        return store

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._lock, _explained(self.path):
            return self._db.execute(statement, values).fetchall()

    # ---- sets of samples ----

    def set_named(self, task: str, how: str | None) -> tuple[int, str] | None:
        """Number and description of the set that was made this way, or of the latest (``how`` None); None if there is none."""
        rows = self._rows(
            "SELECT number, how FROM sample_set WHERE task = ?1 AND (?2 IS NULL OR how = ?2) ORDER BY number DESC LIMIT 1",
            (task, how),
        )
        return (int(str(rows[0][0])), str(rows[0][1])) if rows else None

    def add_set(self, task: str, how: str, members: Sequence[Member]) -> int:
        """Record a set, once: a reviewer who asks for the same one meanwhile gets this one. Returns its number.

        Raises :class:`DataError` when a sample is kept with another text.
        """
        with self._writing() as db:
            found = db.execute("SELECT number FROM sample_set WHERE task = ? AND how = ?", (task, how)).fetchone()
            if found:
                return int(found[0])
            number = db.execute("INSERT INTO sample_set (task, how, made) VALUES (?, ?, ?)", (task, how, _now())).lastrowid
            for position, member in enumerate(members):
                sample = self._sample(db, task, member)
                db.execute("INSERT INTO in_set VALUES (?, ?, ?)", (number, position, sample))
        return int(number or 0)

    def _sample(self, db: sqlite3.Connection, task: str, member: Member) -> int:
        db.execute(
            "INSERT OR IGNORE INTO sample (task, id, shown, cluster) VALUES (?, ?, ?, ?)",
            (task, member.id, member.shown, member.cluster),
        )
        number, shown = db.execute("SELECT number, shown FROM sample WHERE task = ? AND id = ?", (task, member.id)).fetchone()
        if shown != member.shown:
            raise DataError(
                f"{self.path}: holds marks of sample {member.id!r} with another text than the run has now: the samples "
                "file was changed; name another database with --db"
            )
        return int(number)

    def members(self, number: int) -> list[Member]:
        """The samples of a set, in the order in which they are reviewed."""
        rows = self._rows(
            "SELECT id, shown, cluster FROM in_set JOIN sample ON sample.number = in_set.sample "
            "WHERE sample_set = ? ORDER BY position",
            (number,),
        )
        return [Member(str(i), str(s), int(str(c))) for i, s, c in rows]

    def sets(self, task: str) -> list[tuple[str, int]]:
        """Every set of a task: how it was made, and how many samples it has."""
        rows = self._rows(
            "SELECT how, count(*) FROM sample_set JOIN in_set ON sample_set = sample_set.number WHERE task = ? "
            "GROUP BY sample_set.number ORDER BY sample_set.number",
            (task,),
        )
        return [(str(how), int(str(n))) for how, n in rows]

    def reviewed_samples(self, task: str) -> dict[str, Member]:
        """Samples with at least one event, by id."""
        rows = self._rows(
            "SELECT id, shown, cluster FROM sample WHERE task = ? AND number IN (SELECT sample FROM event) ORDER BY number",
            (task,),
        )
        return {str(i): Member(str(i), str(s), int(str(c))) for i, s, c in rows}

    # ---- marks ----

    def say(
        self, task: str, sample: str, reviewer: str, field: Field, value: str | None, *, member: str = "", blind: bool = False
    ) -> bool:
        """Keep one mark; False where it says what stood already, which is no event."""
        with self._writing() as db:
            (number,) = db.execute("SELECT number FROM sample WHERE task = ? AND id = ?", (task, sample)).fetchone()
            standing = db.execute(
                f"SELECT value FROM event WHERE sample = ? AND reviewer = ? AND field = ? AND member = ? AND {_STANDING} "
                "ORDER BY number DESC LIMIT 1",
                (number, reviewer, field, member),
            ).fetchone()
            if (standing[0] if standing else None) == value:
                return False
            db.execute(
                "INSERT INTO event (sample, reviewer, field, member, value, blind, time) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (number, reviewer, field, member, value, blind, _now()),
            )
        return True

    def undo(self, sample_set: int, reviewer: str) -> Undone | None:
        """Take back the reviewer's last standing event in a set; None where there is none.

        A revealing stays, and so does a label that was given before it: what was seen cannot be unseen.
        """
        with self._writing() as db:
            last = db.execute(
                f"SELECT event.number, event.sample, id, field FROM event JOIN sample ON sample.number = event.sample "
                f"JOIN in_set ON in_set.sample = event.sample AND sample_set = ? WHERE reviewer = ? AND field != 'reveal' "
                f"AND {_STANDING} AND NOT (field = 'label' AND EXISTS (SELECT 1 FROM event AS seen WHERE seen.field = 'reveal' "
                "AND seen.sample = event.sample AND seen.reviewer = event.reviewer AND seen.number > event.number)) "
                "ORDER BY event.number DESC LIMIT 1",
                (sample_set, reviewer),
            ).fetchone()
            if last is None:
                return None
            db.execute(
                "INSERT INTO event (sample, reviewer, field, blind, time, undoes) VALUES (?, ?, 'undo', 0, ?, ?)",
                (last[1], reviewer, _now(), last[0]),
            )
        return Undone(str(last[2]), str(last[3]))

    def marks(self, task: str, reviewer: str | None = None, sample: str | None = None) -> dict[tuple[str, str], Marks]:
        """What stands, by (sample, reviewer)."""
        rows = self._rows(
            "SELECT id, reviewer, field, member, value, blind, time FROM event JOIN sample ON sample.number = event.sample "
            "WHERE task = ?1 AND (?2 IS NULL OR reviewer = ?2) AND (?3 IS NULL OR id = ?3) "
            f"AND {_STANDING} ORDER BY event.number",
            (task, reviewer, sample),
        )
        said: dict[tuple[str, str], dict[str, Any]] = {}
        for id_, who, field, member, value, blind, when in rows:
            fields = said.setdefault((str(id_), str(who)), {"members": {}})
            fields["time"] = when
            if member:
                fields["members"][member] = value
            elif field == Field.REVEAL:
                fields["revealed"] = True
            else:
                fields[str(field)] = value
                if field == Field.LABEL:
                    fields["blind"] = bool(blind) and value is not None
        for fields in said.values():
            fields["members"] = {name: value for name, value in fields["members"].items() if value is not None}
        return {key: Marks(**fields) for key, fields in said.items()}


# ---- the file ----


def _open(path: Path) -> sqlite3.Connection:
    if not path.parent.is_dir():
        raise ConfigError(f"--db {path}: there is no folder {path.parent}; make it, or name another file")
    pragmas = ("synchronous=FULL", "trusted_schema=OFF")  # a person's work: kept through a power cut, too
    return open_shared(path, _TABLES, _APPLICATION, SCHEMA, _check_ours, patience=_PATIENCE, pragmas=pragmas, any_thread=True)


def _check_ours(db: sqlite3.Connection, path: Path) -> None:
    application, schema, tables = header(db)
    if tables and application != _APPLICATION:
        raise ConfigError(f"{path}: is another program's database, not one of reviews; name another file with --db")
    if tables and schema != SCHEMA:
        raise ConfigError(
            f"{path}: holds reviews in format {schema}, this version reads format {SCHEMA}; name another with --db"
        )


def _claim(db: sqlite3.Connection, path: Path, identity: str, run: str) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        db.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", [("identity", identity), ("run", run)])
        _check_run(db, path, identity, run)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _check_run(db: sqlite3.Connection, path: Path, identity: str, run: str) -> None:
    about = dict(db.execute("SELECT key, value FROM about").fetchall())
    if about.get("identity") != identity:
        raise DataError(
            f"{path}: holds reviews of run {about.get('run', '?')!r}, not of {run!r}: marks belong to the texts that were "
            "read; name another database with --db"
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as what happened to this file and what to do."""
    try:
        yield
    except (sqlite3.Error, OSError) as e:
        words = str(e)
        if "locked" in words or "busy" in words:
            remedy = f"another process has held it for {_PATIENCE:.0f} seconds; wait for it, or name another file with --db"
        elif "full" in words or "No space" in words:
            remedy = "the disk is full; what was marked before is kept: free some space and go on"
        elif type(e) is sqlite3.DatabaseError or "malformed" in words:
            remedy = "is damaged or no database of reviews; move it away, or name another file with --db"
        else:
            remedy = "name another file with --db"
        raise ConfigError(f"{path}: cannot be used ({words}): {remedy}") from e
