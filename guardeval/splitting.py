"""Training and validation rows: whole clusters go to one side, and every label and policy is shared as asked.

A cluster holds rows whose prompts are near-duplicates, and a generated row with the prompts it was generated from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from guardeval.exposure import fingerprint
from guardeval.near_duplicates import THRESHOLD, clusters

__all__ = ["clusters_of_rows", "split_clusters"]

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
    ``(kind,)``, are never exceeded by more than half a row. Clusters are taken by ``order`` (texts drawn from a seed): one
    goes to validation where that brings the strata, all together, nearer to what is wanted (least squares).
    """
    wanted: Counter[Stratum] = Counter()
    for strata in members.values():
        wanted.update(dict(strata))
    missing = {s: share * n for s, n in wanted.items()}
    chosen: set[int] = set()
    for cluster in sorted(members, key=lambda c: order[c]):
        strata = members[cluster]
        fits = all(n <= missing[s] + 0.5 for s, n in strata.items() if len(s) == 1)
        if fits and sum(n * (n - 2 * missing[s]) for s, n in strata.items()) < 0:  # Σ (missing - n)² < Σ missing²
            chosen.add(cluster)
            for s, n in strata.items():
                missing[s] -= n
    return chosen
