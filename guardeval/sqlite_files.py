"""SQLite files that several processes share: what all of ours need beyond SQLite's own busy time-out."""

from __future__ import annotations

import sqlite3
import time

__all__ = ["header", "patiently"]

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
