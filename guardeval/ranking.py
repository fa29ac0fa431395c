"""The best k of any number of scored samples, exactly, in bounded memory: they lie in a temporary SQLite file.

SQLite sorts what is larger than its cache on disk. A histogram over the leading bits of the scores says where the k-th best
lies, so that only the best and one bin of others are sorted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ranking"]

_CACHE = 48 * 1024  # KiB, of the pages, and as much again while sorting
_SHIFT = 44  # of 64 bits, so many are not looked at: a bin is 0.4 % of a score wide
_SIGN = np.uint64(1 << 63)
_ONES = np.uint64((1 << 64) - 1)


class Ranking:
    """Scores, highest first; equal ones by id. Close it to remove the file."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in (f"cache_size = -{_CACHE}", "journal_mode = OFF", "synchronous = OFF", "temp_store = FILE"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE scored (score REAL NOT NULL, id TEXT NOT NULL, place)")
        self._bins = np.zeros(1 << (64 - _SHIFT), np.int64)
        self._begun = False

    def __len__(self) -> int:
        return int(self._bins.sum())

    def add(self, scores: NDArray[np.float64], ids: Sequence[str], places: Sequence[int | bytes]) -> None:
        if not self._begun:
            self._db.execute("BEGIN")
            self._begun = True
        np.add.at(self._bins, _bin(scores), 1)
        self._db.executemany("INSERT INTO scored VALUES (?, ?, ?)", zip(scores.tolist(), ids, places, strict=True))

    def best(self, k: int) -> Iterator[tuple[float, str, int | bytes]]:
        """The first ``k`` (fewer where there are fewer) as score, id, place."""
        if k <= 0 or not len(self):
            return iter(())
        above = np.cumsum(self._bins[::-1])
        found = len(above) - 1 - int(np.searchsorted(above, min(k, len(self))))
        # no LIMIT: with one, SQLite keeps a tree instead of sorting runs, which is slow for a large k
        rows = self._db.execute(
            "SELECT score, id, place FROM scored WHERE score >= ? ORDER BY score DESC, id", (_lowest(found),)
        )
        return islice(rows, k)

    def equal_to(self, score: float) -> int:
        """How many have just this score."""
        return int(self._db.execute("SELECT count(*) FROM scored WHERE score = ?", (score,)).fetchone()[0])

    def close(self) -> None:
        self._db.close()


def _bin(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """A number that grows with the score: the leading bits of a double, in the order of its value."""
    bits = (scores + 0.0).view(np.uint64)  # + 0.0: there is one zero
    ordered = np.where(bits & _SIGN, bits ^ _ONES, bits | _SIGN)
    return (ordered >> np.uint64(_SHIFT)).astype(np.int64)


def _lowest(found: int) -> float:
    """The least score that falls into a bin."""
    if found < 1 << (63 - _SHIFT):  # negative: the bits are turned round
        bits = (np.uint64(found) << np.uint64(_SHIFT)) ^ _ONES
    else:
        bits = (np.uint64(found) << np.uint64(_SHIFT)) ^ _SIGN
    value = float(np.array([bits], np.uint64).view(np.float64)[0])
    return value if value == value else float("-inf")
