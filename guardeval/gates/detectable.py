"""What a check could have found: the smallest true loss that it calls significant with a probability of 0.8.

A loss comes about by positives that are missed, or by negatives that are flagged; the way that needs fewer samples is noisier
and is the one that counts. Those samples add to the spread that swaps showed without them, and to that of the loss itself.
Normal approximation, the null's variance for the test and the loss's own for the power, as in Connor (1987).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from guardeval.gates.measures import formula, loss_sign

__all__ = ["POWER", "Part", "detectable_loss"]

Floats = NDArray[np.float64]
POWER = 0.8
_GRID = 201
_MISS, _FLAG = np.array([-1.0, 0.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0, -1.0])  # tp → fn, tn → fp

Part = tuple[str, Floats, float, float]  # metric, the baseline's counts (4,), samples a prompt, weight in the check


def detectable_loss(parts: Sequence[Part], spread: float, tolerance: float, critical: float) -> float | None:
    """Of a check that is the weighted sum of metrics, which all lose alike; None where no loss is large enough to be found.

    ``spread``: standard deviation of the loss under swaps; ``critical``: how many of them a significant loss takes.
    """
    routes = [_routes(metric, counts, repeats) for metric, counts, repeats, _ in parts]
    if not all(routes):
        return None
    most = min(max(float(r.lost[-1]) for r in of) for of in routes)
    loss = np.linspace(0.0, most, _GRID)[1:]
    under_null, own = np.full_like(loss, spread**2), np.full_like(loss, spread**2)
    for (*_, weight), of in zip(parts, routes, strict=True):
        noisiest = max((r.at(loss) for r in of), key=lambda added: float(added[0].sum()))
        under_null, own = under_null + weight**2 * noisiest[0], own + weight**2 * noisiest[1]
    total = sum(weight for *_, weight in parts)
    needed = critical * np.sqrt(under_null) + NormalDist().inv_cdf(POWER) * np.sqrt(own)
    found = np.flatnonzero(total * loss - tolerance >= needed)
    return float(total * loss[found[0]]) if len(found) else None


@dataclass(frozen=True, slots=True)
class _Route:
    """A way to lose: losses, ascending, with the variance that each adds under swaps and to the loss itself."""

    lost: Floats
    under_null: Floats
    own: Floats

    def at(self, loss: Floats) -> tuple[Floats, Floats]:
        """Both variances at these losses; beyond what the way can lose, its last."""
        return np.interp(loss, self.lost, self.under_null), np.interp(loss, self.lost, self.own)


def _routes(metric: str, counts: Floats, repeats: float) -> list[_Route]:
    value, sign = formula(metric).value, loss_sign(metric)
    out = []
    for move, available in ((_MISS, float(counts[0])), (_FLAG, float(counts[3]))):
        if available < 1:
            continue
        moved = np.linspace(0.0, available, _GRID)
        lost = sign * (value(counts) - value(counts + moved[:, None] * move))
        if np.isnan(lost).any() or not lost[-1] > 0 or (np.diff(lost) < 0).any():
            continue
        middle = counts + moved[:, None] * move / 2  # a swap moves both totals towards each other
        weight = value(middle - move / 2) - value(middle + move / 2)
        under_null = moved * np.where(np.isnan(weight), lost[-1], weight) ** 2 * repeats
        out.append(_Route(lost, under_null, (1.0 - moved / available) * moved * np.gradient(lost, moved) ** 2 * repeats))
    return out
