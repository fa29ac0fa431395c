"""How far guards are apart on each sample: members of an ensemble or draws where a run has them, else the runs themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from guardeval.disagreement import disagreement, runs_matrix, votes_matrix
from guardeval.errors import DataError
from guardeval.report.html.material import Material, Part

__all__ = ["disagreements"]

Floats = NDArray[np.float64]


def disagreements(material: Material) -> list[Floats]:
    """Σ|P(θi) − P(θj)| of every sample of every part; nan where fewer than two were heard, or there is but one guard."""
    across = {task: _across(material.of(task)) for task in material.tasks}
    return [_within(part) if part.judged.members.any() else across[part.task][part.run] for part in material.parts]


def _within(part: Part) -> Floats:
    _, scores, labels = votes_matrix(part.judged)
    return disagreement(scores, labels).values


def _across(parts: list[Part]) -> dict[int, Floats]:
    """By run: the disagreement of all runs of one task on the samples that they share."""
    out = {p.run: np.full(len(p.judged), np.nan) for p in parts}
    if len(parts) < 2:
        return out
    try:
        ids, scores, labels = runs_matrix([p.judged for p in parts])
    except DataError:  # other data under one name: the comparison says so
        return out
    value = dict(zip(ids, disagreement(scores, labels).values, strict=True))
    return {p.run: np.array([value.get(i, np.nan) for i in p.judged.ids]) for p in parts}
