"""What people said about the runs of a page: summaries for its section, marks by sample for its browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guardeval.report.html.material import Material
from guardeval.review.export import review_rows_of
from guardeval.review.summary import ReviewSummary, open_reviews, review_summaries

__all__ = ["PageReviews", "Said", "reviews_of"]


@dataclass(frozen=True, slots=True)
class Said:
    """Marks of one reviewer of one sample; None = nothing. ``members``: member and coherence of its reasoning."""

    reviewer: str
    mark: str | None
    label: str | None
    blind: bool
    category: str | None
    coherent: str | None
    comment: str | None
    members: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PageReviews:
    """``summaries`` of each run that has reviews; ``marks``: (run, task) → sample id → what each reviewer said."""

    summaries: tuple[tuple[int, ReviewSummary], ...] = ()
    marks: Mapping[tuple[int, str], Mapping[str, list[Said]]] = field(default_factory=dict)


def reviews_of(material: Material) -> PageReviews:
    """Raises :class:`DataError` for reviews that are not of the run they lie with."""
    summaries: list[tuple[int, ReviewSummary]] = []
    marks: dict[tuple[int, str], dict[str, list[Said]]] = {}
    for i, run in enumerate(material.runs):
        store = open_reviews(run)
        if store is None:
            continue
        try:
            for task in run.tasks:
                for row in review_rows_of(store, run, task):
                    marks.setdefault((i, task.name), {}).setdefault(row["sample"], []).append(_said(row))
        finally:
            store.close()
        summaries += [(i, s) for s in review_summaries(run.path)]
    return PageReviews(tuple(summaries), marks)


def _said(row: Mapping[str, Any]) -> Said:
    own = {k: row[k] for k in ("reviewer", "mark", "label", "blind", "category", "coherent", "comment")}
    return Said(**own, members=tuple(row["members"].items()))
