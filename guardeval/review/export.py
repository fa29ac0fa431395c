"""Reviews as JSONL: one line a sample and reviewer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from guardeval.errors import DataError
from guardeval.review.selection import check_texts
from guardeval.review.store import Store
from guardeval.runs import StoredRun, TaskRecord, write_atomically

__all__ = ["export_reviews", "review_rows_of"]


def export_reviews(store: Store, run: StoredRun, tasks: list[TaskRecord], out: Path) -> int:
    """Write the file and return its number of lines.

    Raises :class:`DataError` where nothing is reviewed, or where a sample is no longer what was reviewed.
    """
    lines = [orjson.dumps(row) + b"\n" for task in tasks for row in review_rows_of(store, run, task)]
    if not lines:
        raise DataError(f"{store.path}: holds no mark; `guardeval review` makes some")
    write_atomically(out, b"".join(lines))
    return len(lines)


def review_rows_of(store: Store, run: StoredRun, task: TaskRecord) -> Iterator[dict[str, Any]]:
    """One a sample and reviewer. Raises :class:`DataError` where a sample is no longer what was reviewed."""
    samples = store.reviewed_samples(task.name)
    if samples:
        check_texts(store.path, samples.values(), (j for j, _ in task.lines() if j.sample.id in samples))
    for (sample, reviewer), marks in store.marks(task.name).items():
        if not (marks.reviewed or marks.comment or marks.members):
            continue
        yield {
            "run": run.name,
            "task": task.name,
            "sample": sample,
            "reviewer": reviewer,
            "mark": marks.mark,
            "label": marks.label,
            "category": marks.category,
            "coherent": marks.coherent,
            "comment": marks.comment,
            "time": marks.time,
            "blind": marks.blind,
            "members": dict(marks.members or {}),
            "shown": samples[sample].shown,
        }
