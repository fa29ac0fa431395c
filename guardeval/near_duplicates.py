"""Texts that say nearly the same: MinHash finds candidates (Broder, 1997), their exact similarity decides. Extra: ``dedup``.

Similarity is the Jaccard index of two sets of shingles: the words of a text (:func:`guardeval.exposure.normalised`) and every
two and three of them in a row. So a text of one word has a shingle too, and the order of words counts. One word of 20 changed
gives 0.81, of 13 gives 0.71; a text that is half as long as another is never above 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from guardeval.exposure import normalised
from guardeval.minhash import THRESHOLD, Item, Shelf, Shingles, buckets, first_near, jaccard

__all__ = ["THRESHOLD", "NearIndex", "clusters", "similarity"]

Key = TypeVar("Key", bound=Hashable)


def clusters(texts: Sequence[str], threshold: float = THRESHOLD) -> list[int]:
    """The number of the cluster that each text is in: texts linked by a chain of near-duplicates are in one.

    Clusters are numbered from 0 by their first text. A text without a word is near nothing, and a cluster of its own.
    """
    forest, shelf = _Forest(len(texts)), Shelf(threshold)
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        words = normalised(text)
        if words and first.setdefault(words, i) != i:
            forest.join(i, first[words])
    items = {i: shelf.item(words) for words, i in first.items()}
    for bucket in buckets(items, threshold):
        _join_near(bucket, items, shelf, forest)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(forest.root(i), len(numbers)) for i in range(len(texts))]


def _join_near(bucket: Sequence[int], items: Mapping[int, Item], shelf: Shelf, forest: _Forest) -> None:
    """Texts of clusters that are one already are not compared: a large family made from one pattern stays cheap."""
    by_cluster: dict[int, list[int]] = {}
    for i in bucket:
        by_cluster.setdefault(forest.root(i), []).append(i)
    if len(by_cluster) == 1:
        return
    apart: list[list[int]] = []
    for members in by_cluster.values():
        near = [other for other in apart if _linked(members, other, items, shelf)]
        for other in near:
            forest.join(members[0], other[0])
        apart = [*(o for o in apart if o not in near), [i for some in (*near, members) for i in some]]


def _linked(some: Sequence[int], others: Sequence[int], items: Mapping[int, Item], shelf: Shelf) -> bool:
    there = [items[i] for i in others]
    return any(first_near(items[i], there, shelf) is not None for i in some)


def similarity(a: str, b: str) -> float:
    """Jaccard index of the shingles of two texts, in [0, 1]; 0 where either has no word."""
    hashes = Shingles()
    one, two = hashes.shingles(normalised(a)), hashes.shingles(normalised(b))
    return float(jaccard(one, [two])[0]) if len(one) and len(two) else 0.0


class NearIndex(Generic[Key]):
    """Texts under keys, to be asked which of them are at least ``threshold`` similar to a text. Same result on any machine.

    What is returned is always that similar. Of pairs just as similar as the threshold 1 in 1000 may be missed, of pairs more
    similar far fewer, of pairs with the same words none. Raises :class:`ConfigError` for a threshold not in (0, 1].
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self._shelf = Shelf(threshold)
        self._keys: list[list[Key]] = []  # of each different text: those it was added under
        self._places: dict[str, int] = {}

    @property
    def threshold(self) -> float:
        return self._shelf.threshold

    def add(self, key: Key, text: str) -> None:
        """A text without a word is near nothing and is not kept."""
        words = normalised(text)
        place = self._places.get(words)
        if place is not None:
            self._keys[place].append(key)
        elif words:
            self._places[words] = self._shelf.put(self._shelf.item(words))
            self._keys.append([key])

    def matches(self, text: str) -> list[Key]:
        """Keys of the texts that are near this one, the most similar first, equal ones in the order they were added."""
        return [key for key, _ in self.scored(text)]

    def scored(self, text: str) -> list[tuple[Key, float]]:
        """Keys of the texts near this one with their similarity, as :meth:`matches` orders them."""
        item = self._item(normalised(text))
        if item is None:
            return []
        found = sorted((-s, p) for p, s in self._shelf.near(item, self._shelf.candidates(item)))
        return [(key, -s) for s, p in found for key in self._keys[p]]

    def one_of_each(self, text: str, group: Callable[[Key], Hashable]) -> list[Key]:
        """Of each group of keys one that is near the text, where one is; texts under several keys are of their first's group.

        For who asks only whether there is any: most of a large family is then never compared.
        """
        item = self._item(normalised(text))
        if item is None:
            return []
        groups: dict[Hashable, list[int]] = {}
        for place in self._shelf.candidates(item):
            groups.setdefault(group(self._keys[place][0]), []).append(place)
        found = []
        for places in groups.values():
            near = first_near(item, [self._shelf[p] for p in places], self._shelf)
            found += [] if near is None else [self._keys[places[near]][0]]
        return found

    def _item(self, words: str) -> Item | None:
        place = self._places.get(words)
        return self._shelf[place] if place is not None else self._shelf.item(words) if words else None

    def __len__(self) -> int:
        """Different texts, by their words."""
        return len(self._keys)


class _Forest:
    """Disjoint sets of numbers."""

    def __init__(self, n: int) -> None:
        self._up = list(range(n))

    def root(self, i: int) -> int:
        up = self._up
        while up[i] != i:
            up[i] = up[up[i]]
            i = up[i]
        return i

    def join(self, a: int, b: int) -> None:
        a, b = self.root(a), self.root(b)
        self._up[max(a, b)] = min(a, b)
