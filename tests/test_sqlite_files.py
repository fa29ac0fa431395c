"""Files that several processes share: patience where SQLite has none."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from guardeval.sqlite_files import patiently

TO_WAL = "PRAGMA journal_mode=WAL"


def holding(path):
    """A connection in the middle of writing."""
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    db.execute("CREATE TABLE IF NOT EXISTS x (y)")
    db.execute("BEGIN EXCLUSIVE")
    return db


def test_a_change_of_the_journal_waits_for_another_writer(tmp_path):
    writer, db = holding(tmp_path / "x.sqlite"), sqlite3.connect(tmp_path / "x.sqlite", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        db.execute(TO_WAL)  # what patience is for
    done = threading.Timer(0.1, writer.execute, ("COMMIT",))
    done.start()
    patiently(db, TO_WAL, 30)
    done.join()
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_patience_ends_and_other_errors_need_none(tmp_path):
    writer, db = holding(tmp_path / "x.sqlite"), sqlite3.connect(tmp_path / "x.sqlite", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        patiently(db, TO_WAL, 0)
    writer.execute("ROLLBACK")
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        patiently(db, "no statement", 30)
