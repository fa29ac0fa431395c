"""Labels that members agree against, and what people made of them.

An error rate of labels comes from reviewed rows only: members that agree may be wrong together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guardeval.disagreement import counted
from guardeval.errors import DataError
from guardeval.rows import read_rows
from guardeval.stats import Estimate, rate

__all__ = ["CONFIDENCE", "LabelErrors", "confident_against", "label_error_rate", "majorities", "read_reviews"]

CONFIDENCE = 0.8
_DIGITS = 12  # so that 0.95 and 0.85 are 0.8 sure
WRONG, RIGHT, TIE = "wrong_label", "agree", "tie"


def confident_against(
    gold: ArrayLike, scores: ArrayLike, labels: ArrayLike, least: float = CONFIDENCE
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Samples on which all members (two or more) were heard and agree against the gold label, and the confidence (n,).

    Confidence is the mean of |2p − 1|, at least ``least`` where all gave a probability; where one did not, members count as
    0 or 1, and unanimity is enough.
    """
    gold, labels = np.asarray(gold), np.asarray(labels)
    values, _ = counted(scores, labels)
    everyone = (labels >= 0).all(axis=1) & (labels.shape[1] >= 2)
    unanimous = everyone & (labels == labels[:, :1]).all(axis=1)
    against = unanimous & (gold >= 0) & (labels[:, 0] != gold)
    confidence = np.abs(2 * values - 1).mean(axis=1).round(_DIGITS)
    return against & (confidence >= least), confidence


@dataclass(frozen=True, slots=True)
class LabelErrors:
    """``errors``: share of reviewed samples whose label is wrong, with Wilson's interval and their number.

    ``undecided``: samples on which as many reviewers say one as the other, left out; ``reviewers`` counts people.
    """

    errors: Estimate
    wrong: int
    undecided: int
    reviewers: int


def label_error_rate(
    reviews: Iterable[Mapping[str, Any]], among: Container[str] | None = None, confidence: float = 0.95
) -> LabelErrors:
    """From marks ``{"sample": id, "mark": "wrong_label" | "agree", "reviewer": name}``; other marks say nothing of the label.

    A reviewer's last mark of a sample counts; of several reviewers, the majority. ``among``: only samples with these ids.
    The rate is that of the samples reviewed: of those that a label audit lists, it is no rate of the whole data set.
    """
    last = _last(reviews, among)
    said = _majorities(last)
    wrong, undecided = (sum(v == what for v in said.values()) for what in (WRONG, TIE))
    people = {who for (_, who), mark in last.items() if mark in (WRONG, RIGHT)}
    return LabelErrors(rate(wrong, len(said) - undecided, confidence), wrong, undecided, len(people))


def majorities(reviews: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What most reviewers say of the label of each sample whose label anybody marked: ``agree``, ``wrong_label`` or ``tie``."""
    return _majorities(_last(reviews))


def _last(reviews: Iterable[Mapping[str, Any]], among: Container[str] | None = None) -> dict[tuple[str, str], str | None]:
    """The last mark of each reviewer of each sample."""
    last: dict[tuple[str, str], str | None] = {}
    for review in reviews:
        sample, mark = review.get("sample"), review.get("mark")
        if not isinstance(sample, str):
            raise DataError(f"a review names no sample: {str(dict(review))[:80]}; wanted: sample, mark, reviewer")
        if among is None or sample in among:
            last[sample, str(review.get("reviewer") or "")] = mark
    return last


def _majorities(last: Mapping[tuple[str, str], str | None]) -> dict[str, str]:
    marks: dict[str, Counter[str]] = {}
    for (sample, _), mark in last.items():
        if mark in (WRONG, RIGHT):
            marks.setdefault(sample, Counter())[str(mark)] += 1
    return {s: TIE if c[WRONG] == c[RIGHT] else WRONG if c[WRONG] > c[RIGHT] else RIGHT for s, c in marks.items()}


def read_reviews(path: Path, task: str | None = None) -> list[dict[str, Any]]:
    """Marks from a JSONL export of a review; those that name another task are left out."""
    return [r for r in read_rows(path) if task is None or r.get("task") in (None, task)]
