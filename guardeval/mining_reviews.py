"""Marks that people made of the runs which are mined: read from the run folders when nobody names a file of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardeval.label_audit import read_reviews
from guardeval.review.export import review_rows_of
from guardeval.review.summary import open_reviews
from guardeval.runs import open_run

__all__ = ["Reviews", "reviews_given", "reviews_in"]


@dataclass(frozen=True, slots=True)
class Reviews:
    """``marks``: rows as ``guardeval review --export`` writes them; ``files``: where they stood."""

    marks: Sequence[dict[str, Any]]
    files: tuple[Path, ...]
    found: bool  # in the run folders, unasked


def reviews_given(path: Path, task: str | None) -> Reviews:
    """Marks of a file that was named; those of another task are left out."""
    return Reviews(read_reviews(path, task), (path,), found=False)


def reviews_in(folders: Sequence[Path | str], task: str | None) -> Reviews | None:
    """Marks in the run folders, earliest first, so that a reviewer's last one counts wherever it was made; None without any.

    Raises :class:`DataError` for a database of another run and for samples that are not what was reviewed.
    """
    marks: list[dict[str, Any]] = []
    files: list[Path] = []
    for run in (open_run(f) for f in folders):
        store = open_reviews(run)
        if store is None:
            continue
        try:
            rows = [row for record in run.tasks if record.name == task for row in review_rows_of(store, run, record)]
        finally:
            store.close()
        if rows:
            marks += rows
            files.append(store.path)
    return Reviews(sorted(marks, key=lambda m: str(m["time"])), tuple(files), found=True) if marks else None
