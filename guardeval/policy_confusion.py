"""Which policy is taken for which: gold policies of each sample against those that the guard named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardeval.judged import Judgements

__all__ = ["PolicyConfusion", "policy_confusion"]

SEVERAL, OPEN, NEGATIVE = "several", "positive, none settled", "negative"
AMONG, OTHERS, UNNAMED = "several, all gold among them", "several, not all gold", "flagged, none named"
PASSED, SILENT = "passed", "no verdict"


@dataclass(frozen=True, slots=True)
class PolicyConfusion:
    """``counts[i, j]``: samples whose gold is ``rows[i]`` and of which the guard said ``columns[j]``.

    Every labelled sample stands in one cell, so that the cells add up to their number. A sample with several gold
    policies is in the row ``several``; an answer that names several in one of two columns, by whether all gold ones are
    among them. On a negative, with no gold policy, ``several, all gold among them`` is not used.
    """

    rows: tuple[str, ...]  # the policies, several, positive without a settled policy, negative
    columns: tuple[str, ...]  # the policies, two of several, flagged without a name, passed, no verdict
    counts: NDArray[np.int64]  # (rows, columns)

    @property
    def n(self) -> int:
        return int(self.counts.sum())


def policy_confusion(judged: Judgements) -> PolicyConfusion:
    """The matrix over all labelled samples; policies that occur nowhere keep their row and column."""
    names = judged.policy_names
    k = len(names)
    rows = (*names, SEVERAL, OPEN, NEGATIVE)
    columns = (*names, AMONG, OTHERS, UNNAMED, PASSED, SILENT)
    positive = judged.gold == 1
    gold = np.where(positive, judged.gold_policies, 0)
    row = np.where(positive, _place(gold, k, several=k, none=k + 1), k + 2)
    said = judged.policies
    among = (gold != 0) & ((said & gold) == gold)
    column = _place(said, k, several=k + 1, none=k + 2)
    column = np.where((column == k + 1) & among, k, column)
    column = np.where(judged.label == 1, column, np.where(judged.label == 0, k + 3, k + 4))
    cell = (row * len(columns) + column)[judged.gold >= 0]
    counts = np.bincount(cell, minlength=len(rows) * len(columns)).reshape(len(rows), len(columns))
    return PolicyConfusion(rows, columns, counts.astype(np.int64))


def _place(bits: NDArray[np.int64], k: int, *, several: int, none: int) -> NDArray[np.int64]:
    """Of each set of policies: the number of its only member, ``several`` or ``none``."""
    members = (bits[:, None] >> np.arange(k)) & 1  # (n, k)
    size = members.sum(axis=1)
    return np.where(size == 1, members.argmax(axis=1) if k else 0, np.where(size == 0, none, several)).astype(np.int64)
