"""Which samples a page shows where there are more than it holds: every error first, the rest in proportion, seeded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = ["chosen", "is_error"]

Rows = NDArray[np.int64]


def is_error(judged: Judgements) -> NDArray[np.bool_]:
    """Labelled samples that were judged wrong, or not at all."""
    return np.asarray((judged.gold >= 0) & (judged.label != judged.gold))


def chosen(
    parts: Sequence[Judgements], most: int, seed: int = 0, also: Sequence[NDArray[np.bool_]] | None = None
) -> list[Rows]:
    """Rows of every part in ascending order, ``most`` in all (or as many as there are).

    Errors, and what ``also`` marks in each part, are all there as long as they fit. What does not fit is drawn in proportion
    to the strata (part, gold label, verdict, outcome) by largest remainder, evenly at random within each.
    """
    sizes = [len(p) for p in parts]
    if sum(sizes) <= most:
        return [np.arange(n) for n in sizes]
    part = np.repeat(np.arange(len(parts)), sizes)
    row = np.concatenate([np.arange(n) for n in sizes])
    error = np.concatenate([is_error(p) for p in parts])
    if also is not None:
        error |= np.concatenate(also)
    cell = np.concatenate([(p.gold + 1) * 16 + (p.label + 1) * 4 + p.outcome for p in parts])
    stratum = part * 64 + cell
    rng = np.random.default_rng(seed)
    errors, others = np.flatnonzero(error), np.flatnonzero(~error)
    taken = _drawn(errors, stratum[errors], most, rng)
    taken = np.concatenate([taken, _drawn(others, stratum[others], most - len(taken), rng)])
    return [np.sort(row[taken[part[taken] == i]]) for i in range(len(parts))]


def _drawn(of: Rows, stratum: Rows, n: int, rng: np.random.Generator) -> Rows:
    """``n`` of these, each stratum with its share; all where there are no more."""
    if len(of) <= n:
        return of
    names, sizes = np.unique(stratum, return_counts=True)
    exact = sizes * n / len(of)
    shares = np.floor(exact).astype(int)
    rest = np.lexsort((names, shares - exact))  # largest remainder first
    shares[rest[: n - shares.sum()]] += 1
    return np.concatenate(
        [rng.choice(of[stratum == name], share, replace=False) for name, share in zip(names, shares, strict=True)]
    )
