"""Files that several processes share: patience where SQLite has none."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from guardeval.sqlite_files import header, patiently

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


def test_a_file_that_is_just_being_made_is_new_or_ours_and_never_foreign(tmp_path):
    seen = set()
    for turn in range(40):
        path, ready = tmp_path / f"{turn}.sqlite", threading.Barrier(2)

        def make(path=path, ready=ready):
            db = sqlite3.connect(path, isolation_level=None)
            ready.wait()
            db.executescript("BEGIN; CREATE TABLE x (y); PRAGMA application_id=7; PRAGMA user_version=3; COMMIT")
            db.close()

        maker = threading.Thread(target=make)
        maker.start()
        db = sqlite3.connect(path, isolation_level=None)
        ready.wait()
        seen |= {header(db) for _ in range(20)}
        maker.join()
        seen.add(header(db))
    assert seen <= {(0, 0, 0), (7, 3, 1)}
    assert (7, 3, 1) in seen
