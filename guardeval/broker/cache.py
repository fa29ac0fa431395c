"""The response cache: one SQLite file of answers under the digests of their requests. No prompt stands in it.

Several processes may share a file. Every write is committed before anyone hears the answer, so a killed run repeats
only what was under way.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from guardeval.errors import ConfigError
from guardeval.sqlite_files import header, open_shared

__all__ = ["Answers", "Cache", "clear", "default_cache_path", "info"]

SCHEMA = 1
_APPLICATION = 0x67647631  # "gdv1": tells our file from another program's
_PATIENCE = 30.0  # seconds to wait for another process's transaction, which takes milliseconds
_TABLES = """
CREATE TABLE IF NOT EXISTS model (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answer (id INTEGER PRIMARY KEY, key BLOB NOT NULL, model INTEGER NOT NULL, value BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS answer_key ON answer (key);
"""
_MARKS = f"PRAGMA application_id={_APPLICATION}; PRAGMA user_version={SCHEMA};"
_INSERT = "INSERT OR IGNORE INTO answer (key, model, value) VALUES (?, ?, ?)"
_LOOKUP_SIZES = (1, 4, 16, 64, 256)  # few distinct statements, so that SQLite prepares each once
_LOOKUPS = {n: f"SELECT key, value FROM answer WHERE key IN ({','.join('?' * n)})" for n in _LOOKUP_SIZES}


def default_cache_path() -> Path:
    """``$GUARDEVAL_CACHE`` (a folder, or a file named ``*.sqlite``), else the user's cache folder. Makes nothing."""
    named = os.environ.get("GUARDEVAL_CACHE")
    if named:
        path = Path(named).expanduser()
        return path if path.suffix == ".sqlite" else path / "answers.sqlite"
    if sys.platform == "darwin":
        base = Path("~/Library/Caches")
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        return base.expanduser() / "guardeval" / "answers.sqlite"
    except RuntimeError as e:
        raise ConfigError(
            f"no home directory to keep answers in ({e}); set GUARDEVAL_CACHE to a folder, or use --no_cache"
        ) from e


class Answers(Protocol):
    """What a broker keeps answers in: a :class:`Cache`, or the way to one that several processes share."""

    @property
    def path(self) -> Path: ...

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]: ...

    def put(self, rows: list[tuple[bytes, int, bytes]]) -> None: ...

    def model_number(self, digest: bytes, name: str) -> int: ...

    def close(self) -> None: ...


class Cache:
    """An open cache file. Raises :class:`ConfigError` for a file or folder that cannot be used."""

    def __init__(self, path: Path | str) -> None:
        self.path: Path = Path(path)
        self._models: dict[bytes, int] = {}
        with _explained(self.path):
            self._db = _open(self.path)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are known."""
        found: dict[bytes, bytes] = {}
        largest = _LOOKUP_SIZES[-1]
        try:
            for start in range(0, len(keys), largest):
                chunk = list(keys[start : start + largest])
                size = next(n for n in _LOOKUP_SIZES if n >= len(chunk))
                found.update(self._db.execute(_LOOKUPS[size], chunk + chunk[:1] * (size - len(chunk))))
        except sqlite3.Error as e:
            raise _explanation(e, self.path) from e
        return found

    def put(self, rows: list[tuple[bytes, int, bytes]]) -> None:
        """Keep ``(key, model number, value)`` rows, all or none. The first answer to a request stays."""
        try:
            if len(rows) == 1:
                self._db.execute(_INSERT, rows[0])
                return
            rows.sort()  # neighbours in the index are written together
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(_INSERT, rows)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk rolls back by itself
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as e:
            raise _explanation(e, self.path) from e

    def model_number(self, digest: bytes, name: str) -> int:
        """The number that stands for a model in :meth:`put`; a model keeps the first name it was seen under."""
        number = self._models.get(digest)
        if number is None:
            told = name.encode("utf-8", "replace").decode()  # a folder's name may be no UTF-8
            with _explained(self.path):
                self._db.execute("INSERT OR IGNORE INTO model (digest, name) VALUES (?, ?)", (digest, told))
                (number,) = self._db.execute("SELECT id FROM model WHERE digest = ?", (digest,)).fetchone()
            self._models[digest] = number
        return number

    def info(self) -> dict[str, Any]:
        """``answers`` and, by name, ``models``: how many answers of each."""
        with _explained(self.path):
            rows = self._db.execute(
                "SELECT name, count(*) FROM answer JOIN model ON model.id = answer.model GROUP BY name ORDER BY 2 DESC, 1"
            ).fetchall()
        return {"answers": sum(n for _, n in rows), "models": dict(rows)}

    def clear(self) -> int:
        """Forget everything and give the space back; the number of answers forgotten."""
        with _explained(self.path):
            forgotten = self._db.execute("DELETE FROM answer").rowcount
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return forgotten

    def close(self) -> None:
        self._db.close()


def info(path: Path) -> dict[str, Any]:
    """``file``, ``answers``, ``size`` in bytes, and ``models`` with their number of answers; zeros where there is no file."""
    if not path.exists():
        return {"file": str(path), "answers": 0, "size": 0, "models": {}}
    cache = Cache(path)
    try:
        return {"file": str(path), **cache.info(), "size": sum(f.stat().st_size for f in _files(path) if f.exists())}
    finally:
        cache.close()


def clear(path: Path) -> int:
    """Empty a cache file and return the number of answers forgotten; one that is damaged or of another format is
    deleted and counts 0.

    Raises :class:`ConfigError` for a file that some other program wrote.
    """
    if not path.exists():
        return 0
    try:
        cache = Cache(path)
        try:
            return cache.clear()
        finally:
            cache.close()
    except ConfigError as e:
        if not _looks_ours(path) or (e.__cause__ is not None and not _is_damage(e.__cause__)):
            raise
    for each in _files(path):
        each.unlink(missing_ok=True)
    return 0


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # a power cut may lose the last answers, never the file
    pragmas = ("synchronous=NORMAL", "cache_size=-16000", "wal_autocheckpoint=4000")
    return open_shared(path, _TABLES, _APPLICATION, SCHEMA, _refuse_foreign, patience=_PATIENCE, pragmas=pragmas)


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    application, schema, tables = header(db)
    if tables and application != _APPLICATION:
        raise ConfigError(f"{path}: is another program's database; name a file of its own in GUARDEVAL_CACHE")
    if tables and schema != SCHEMA:
        raise ConfigError(
            f"{path}: was written in format {schema}, this version of guardeval reads format {SCHEMA}; "
            f"run `guardeval cache clear --cache {path}`, or name another file in GUARDEVAL_CACHE"
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as what happened to this file and what to do."""
    try:
        yield
    except (sqlite3.Error, OSError) as e:
        raise _explanation(e, path) from e


def _explanation(error: sqlite3.Error | OSError, path: Path) -> ConfigError:
    return ConfigError(f"cache {path}: {_remedy(error, path)}")


def _remedy(error: sqlite3.Error | OSError, path: Path) -> str:
    words = str(error)
    if "full" in words or "No space" in words:
        return f"the disk is full ({words}); what was answered before is kept: free some space and run the same command again"
    if "locked" in words or "busy" in words:
        elsewhere = "wait for it, or name another file in GUARDEVAL_CACHE"
        return f"another process has held it for {_PATIENCE:.0f} seconds ({words}); {elsewhere}"
    if type(error) is sqlite3.DatabaseError or "malformed" in words:
        if not _looks_ours(path):
            return f"is no cache ({words}); name another file in GUARDEVAL_CACHE or --cache, or delete this one yourself"
        return f"is damaged ({words}); `guardeval cache clear --cache {path}` deletes it; then run the command again"
    return f"cannot be read and written ({words}); name another place in GUARDEVAL_CACHE, or use --no_cache"


def _is_damage(error: BaseException | None) -> bool:
    return type(error) is sqlite3.DatabaseError or "malformed" in str(error)


def _looks_ours(path: Path) -> bool:
    """Whether a file that does not open as a cache may be deleted as a damaged one."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(100)
    if head.startswith(b"SQLite format 3\0"):
        return head[68:72] == _APPLICATION.to_bytes(4, "big")
    return path.suffix == ".sqlite"


def _files(path: Path) -> tuple[Path, ...]:
    return path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")
