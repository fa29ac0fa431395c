"""What a gate measures, as confusion cells of samples: a task's metrics, F1 of a policy, accuracy of a category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guardeval.accounting import cells_of, counts_under
from guardeval.gates.pairs import Said, TaskPair
from guardeval.gates.settings import COVERAGE
from guardeval.metrics import CONFUSION, Confusion

__all__ = ["CATEGORY", "POLICY", "Measure", "cells", "formula", "loss_sign", "measures_of", "widest"]

Floats = NDArray[np.float64]
POLICY, CATEGORY = "policy:", "category:"


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric of one task; ``part`` is empty, ``policy:NAME`` or ``category:NAME``. ``n``: labelled samples of the task or
    category, ``positives`` of them; how many the metric counts is its formula's support."""

    task: str
    metric: str
    part: str = ""
    n: int = 0
    positives: int = 0


def formula(metric: str) -> Confusion:
    """Coverage is a recall: of a sample with a verdict as found, one without as missed."""
    return CONFUSION["recall" if metric == COVERAGE else metric]


def widest(metric: str) -> float:
    """Largest difference that there can be."""
    return 2.0 if metric == "mcc" else 1.0


def loss_sign(metric: str) -> int:
    """1 where less is worse, -1 where more is."""
    return 1 if formula(metric).higher_is_better else -1


def measures_of(pair: TaskPair, metrics: Sequence[str], policies: bool, slices: bool) -> list[Measure]:
    """All that can be measured of a task: metrics, policies with a known positive, categories; those defined nowhere too."""
    positives = int((pair.gold == 1).sum())
    out = [Measure(pair.name, m, "", len(pair), positives) for m in metrics]
    if policies:
        for i, name in enumerate(pair.policy_names):
            if found := int((pair.gold_policies >> i & 1).sum()):
                out.append(Measure(pair.name, "f1", POLICY + name, len(pair), found))
    if slices:
        for code, name in enumerate(pair.categories):
            of = pair.category == code
            out.append(Measure(pair.name, "accuracy", CATEGORY + name, int(of.sum()), int((of & (pair.gold == 1)).sum())))
    return out


def cells(measure: Measure, pair: TaskPair, said: Said, accounting: str) -> Floats:
    """Confusion counts of each sample, (n, 4): tp, fp, fn, tn. ``parsed`` leaves out what either model gave no verdict on."""
    if measure.metric == COVERAGE:
        heard = said.label >= 0
        return np.stack([heard, heard & False, ~heard, heard & False], axis=-1).astype(float)
    if measure.part.startswith(POLICY):
        six = _policy_cells(pair, said, pair.policy_names.index(measure.part.removeprefix(POLICY)))
    else:
        six = cells_of(pair.gold, said.label)
    keep: NDArray[Any] = np.ones(len(pair), bool)
    if accounting == "parsed":
        keep = (pair.before.label >= 0) & (pair.after.label >= 0)
    if measure.part.startswith(CATEGORY):
        keep = keep & (pair.category == pair.categories.index(measure.part.removeprefix(CATEGORY)))
    return np.asarray(counts_under(six, accounting, pair.target) * keep[:, None])


def _policy_cells(pair: TaskPair, said: Said, bit: int) -> Floats:
    """One policy against the rest. A missing verdict counts where the labels settle the policy, as in ``per_policy``."""
    gold, known, found = (
        (column >> bit & 1).astype(bool) for column in (pair.gold_policies, pair.known_policies, said.policies)
    )
    heard = said.label >= 0
    pairs = [p & heard for p in (gold & found, ~gold & found, gold & ~found, ~gold & ~found)]
    return np.stack([*pairs, gold & known & ~heard, ~gold & known & ~heard], axis=-1).astype(float)
