"""SQLite files that several processes share: what all of ours need beyond SQLite's own busy time-out."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["header", "open_shared", "patiently"]

_PAUSE = 0.02  # seconds between two tries


def patiently(db: sqlite3.Connection, statement: str, patience: float) -> None:
    """Execute a statement that ignores the busy time-out, as a change of the journal mode does, for ``patience`` seconds.

    Two processes that open a new file at once need this. Raises :class:`sqlite3.OperationalError` when the time is over.
    """
    end = time.monotonic() + patience
    while True:
        try:
            db.execute(statement)
            return
        except sqlite3.OperationalError as e:
            if "locked" not in str(e) or time.monotonic() > end:
                raise
            time.sleep(_PAUSE)


def header(db: sqlite3.Connection) -> tuple[int, int, int]:
    """Application id, user version and number of tables and indices: all of one moment.

    One by one they may tell of a file that another process is just making as if it were another program's.
    """
    db.execute("BEGIN")
    try:
        statements = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        application, schema, tables = (int(db.execute(s).fetchone()[0]) for s in statements)
    finally:
        db.execute("ROLLBACK")
    return application, schema, tables


def open_shared(
    path: Path,
    tables: str,
    application: int,
    schema: int,
    check: Callable[[sqlite3.Connection, Path], None],
    *,
    patience: float,
    pragmas: Sequence[str],
    any_thread: bool = False,
) -> sqlite3.Connection:
    """A file of ours, made where it is not there, for this user's eyes only: what lies in it may quote what was judged.

    ``check`` raises for a file of somebody else, before anything is changed in it; ``patience``: seconds to wait for others.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=not any_thread)
    try:
        check(db, path)
        patiently(db, "PRAGMA journal_mode=WAL", patience)
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}")
        db.executescript(f"BEGIN IMMEDIATE; {tables} PRAGMA application_id={application}; PRAGMA user_version={schema}; COMMIT")
    except BaseException:
        db.close()
        raise
    return db
