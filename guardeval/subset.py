"""A part of the rows, drawn so that it looks like the whole: exact size, share of labels kept, seeded, order kept."""

from __future__ import annotations

import bisect
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeVar

__all__ = ["Stratum", "draw"]

Stratum = tuple[bool, str]  # label and category ("" where there is none)
Label = TypeVar("Label", bool, str)


def draw(counts: Mapping[tuple[Label, str], int], n: int, seed: int) -> Callable[[tuple[Label, str]], bool]:
    """A chooser to be asked about every row in order; it says yes exactly ``n`` times (or as often as there are rows).

    Labels get their shares by largest remainder; inside a label, categories by systematic sampling in name order from a
    seeded start, so that every row has the same chance; inside a category, sequential sampling (Knuth's algorithm S).
    The choice depends on ``counts``, ``n`` and ``seed`` alone.
    """
    wanted = _allocate(counts, n, random.Random(f"{seed}"))
    left = {s: [wanted.get(s, 0), count] for s, count in counts.items()}
    chance = {s: random.Random(f"{seed}/{s[0]}/{s[1]}") for s in counts}

    def choose(stratum: tuple[Label, str]) -> bool:
        state = left[stratum]
        needed, remaining = state
        state[1] -= 1
        if needed and chance[stratum].random() * remaining < needed:
            state[0] -= 1
            return True
        return False

    return choose


def _allocate(counts: Mapping[tuple[Label, str], int], n: int, rng: random.Random) -> Counter[tuple[Label, str]]:
    total = sum(counts.values())
    n = min(n, total)
    out: Counter[tuple[Label, str]] = Counter()
    labels = sorted({label for label, _ in counts})
    sizes = {label: sum(c for (own, _), c in counts.items() if own == label) for label in labels}
    shares = {label: n * sizes[label] // total for label in labels} if total else {}
    by_rest = sorted(labels, key=lambda label: (-(n * sizes[label] % total), label))
    for label in by_rest[: n - sum(shares.values())]:
        shares[label] += 1
    for label in labels:
        strata = sorted(s for s in counts if s[0] == label)
        out += _systematic(strata, [counts[s] for s in strata], shares[label], rng.random())
    return out


def _systematic(strata: list[tuple[Label, str]], sizes: list[int], n: int, start: float) -> Counter[tuple[Label, str]]:
    """``n`` points at equal steps along the rows laid end to end, stratum after stratum."""
    out: Counter[tuple[Label, str]] = Counter()
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    for k in range(n):
        place = (start + k) * ends[-1] / n
        out[strata[min(bisect.bisect_right(ends, place), len(strata) - 1)]] += 1
    return out
