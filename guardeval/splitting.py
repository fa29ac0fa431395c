"""Training and validation rows: whole clusters go to one side, and every label and policy is shared as asked.

A cluster holds rows whose prompts are near-duplicates, and a generated row with the prompts it was generated from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from guardeval.exposure import fingerprint
from guardeval.near_duplicates import THRESHOLD, clusters

__all__ = ["clusters_of_rows", "split_clusters"]

_PASSES = 20
_LEAST = 1e-9  # smaller gains are rounding
Stratum = tuple[str, ...]
Strata = Mapping[Stratum, int]


def clusters_of_rows(prompts: Sequence[str], seeds: Sequence[Iterable[int]], threshold: float | None = THRESHOLD) -> list[int]:
    """The cluster of each row; ``seeds``: fingerprints of the prompts that a row was made from.

    ``threshold`` None: only rows of the same words, or of one seed, are one cluster.
    """
    numbers = list(range(len(prompts))) if threshold is None else clusters(prompts, threshold)
    up = list(range(len(prompts)))

    def root(i: int) -> int:
        while up[i] != i:
            up[i] = up[up[i]]
            i = up[i]
        return i

    first: dict[tuple[str, int], int] = {}
    for i, prompt in enumerate(prompts):
        links = [("cluster", numbers[i]), *(("prompt", f) for f in {fingerprint(prompt), *seeds[i]})]
        for link in links:
            a, b = root(first.setdefault(link, i)), root(i)
            up[max(a, b)] = min(a, b)
    names: dict[int, int] = {}
    return [names.setdefault(root(i), len(names)) for i in range(len(prompts))]


def split_clusters(members: Mapping[int, Strata], share: float, order: Mapping[int, str]) -> set[int]:
    """The clusters that go to validation: about ``share`` of every stratum, never part of a cluster.

    ``members``: of each cluster, how many rows it has of each stratum; a row counts in several, and those of one word,
    ``(kind,)``, are never exceeded by more than half a row. Clusters are gone through by ``order`` (texts drawn from a seed),
    again and again: one changes sides where that brings the strata, all together, nearer to what is wanted (least squares).
    """
    wanted: Counter[Stratum] = Counter()
    for strata in members.values():
        wanted.update(dict(strata))
    missing = {s: share * n for s, n in wanted.items()}
    chosen: set[int] = set()
    ordered = sorted(members, key=lambda c: order[c])
    for _ in range(_PASSES):
        if not sum([_place(cluster, members[cluster], missing, chosen) for cluster in ordered]):
            break
    return chosen


def _place(cluster: int, strata: Strata, missing: dict[Stratum, float], chosen: set[int]) -> bool:
    """Move a cluster to the other side if Σ missing² gets smaller by it; whether it was moved."""
    sign = -1 if cluster in chosen else 1
    if sum(n * (n - 2 * sign * missing[s]) for s, n in strata.items()) > -_LEAST:
        return False
    if sign > 0 and any(n > missing[s] + 0.5 for s, n in strata.items() if len(s) == 1):
        return False
    chosen.symmetric_difference_update({cluster})
    for s, n in strata.items():
        missing[s] -= sign * n
    return True
