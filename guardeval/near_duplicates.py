"""Texts that say nearly the same: MinHash finds candidates (Broder, 1997), their exact similarity decides. Extra: ``dedup``.

Similarity is the Jaccard index of two sets of shingles: the words of a text (:func:`guardeval.exposure.normalised`) and every
two and three of them in a row. So a text of one word has a shingle too, and the order of words counts. One word of 20 changed
gives 0.81, of 13 gives 0.71; a text that is half as long as another is never above 0.5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from guardeval.errors import ConfigError, needs_extra
from guardeval.exposure import normalised

if TYPE_CHECKING:
    import numpy as np
    from datasketch import MinHash
    from numpy.typing import NDArray

__all__ = ["THRESHOLD", "NearIndex", "clusters", "similarity"]

THRESHOLD = 0.7
_PERMUTATIONS, _SEED = 128, 1
_MISSED = 0.001  # at most this share of the pairs that are just as similar as the threshold asks may be missed
_BATCH = 4096  # shingles hashed at once: bounds the memory that a very long text takes

Key = TypeVar("Key", bound=Hashable)


def clusters(texts: Sequence[str], threshold: float = THRESHOLD) -> list[int]:
    """The number of the cluster that each text is in: texts linked by a chain of near-duplicates are in one.

    Clusters are numbered from 0 by their first text. A text without a word is near nothing, and a cluster of its own.
    """
    forest, shelf = _Forest(len(texts)), _Shelf(threshold)
    first: dict[str, int] = {}
    owner: list[int] = []  # of each place on the shelf, the text that stands there
    for i, text in enumerate(texts):
        words = normalised(text)
        if words in first:
            forest.join(i, first[words])
        elif words:
            first[words] = i
            item = shelf.item(words)
            for place in _one_of_each(shelf, item, lambda p: forest.root(owner[p])):
                forest.join(i, owner[place])
            shelf.put(item)
            owner.append(i)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(forest.root(i), len(numbers)) for i in range(len(texts))]


def _one_of_each(shelf: _Shelf, item: _Item, cluster: Callable[[int], int]) -> list[int]:
    """Of each cluster that a text is near to, one text that it is near: families made from one pattern stay cheap."""
    by_cluster: dict[int, list[int]] = {}
    for place in shelf.candidates(item):
        by_cluster.setdefault(cluster(place), []).append(place)
    linked: list[int] = []
    for places in by_cluster.values():
        for start in range(0, len(places), 16):
            near = shelf.near(item, places[start : start + 16])
            if near:
                linked.append(near[0][0])
                break
    return linked


def similarity(a: str, b: str) -> float:
    """Jaccard index of the shingles of two texts, in [0, 1]; 0 where either has no word."""
    hashes = _Hashes()
    one, two = hashes.shingles(normalised(a)), hashes.shingles(normalised(b))
    return float(_jaccard(one, [two])[0]) if len(one) and len(two) else 0.0


class NearIndex(Generic[Key]):
    """Texts under keys, to be asked which of them are at least ``threshold`` similar to a text. Same result on any machine.

    What is returned is always that similar. Of pairs just as similar as the threshold 1 in 1000 may be missed, of pairs more
    similar far fewer, of pairs with the same words none. Raises :class:`ConfigError` for a threshold not in (0, 1].
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self._shelf = _Shelf(threshold)
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
        words = normalised(text)
        if not words:
            return []
        place = self._places.get(words)
        item = self._shelf.item(words) if place is None else self._shelf[place]
        found = sorted((-s, p) for p, s in self._shelf.near(item, self._shelf.candidates(item)))
        return [(key, -s) for s, p in found for key in self._keys[p]]

    def __len__(self) -> int:
        """Different texts, by their words."""
        return len(self._keys)


class _Item(NamedTuple):
    shingles: NDArray[np.uint64]  # sorted, never empty
    signature: MinHash


class _Shelf:
    """Different texts by their place, as shingles and signature."""

    def __init__(self, threshold: float) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ConfigError(f"threshold {threshold:g}: a similarity above 0, at most 1, is wanted, e.g. {THRESHOLD:g}")
        with needs_extra("dedup"):
            from datasketch import MinHash, MinHashLSH

        self.threshold = threshold
        self._hashes, self._items = _Hashes(), list[_Item]()
        self._empty = MinHash(num_perm=_PERMUTATIONS, seed=_SEED, hashfunc=int, scheme="affine64")
        self._lsh = MinHashLSH(num_perm=_PERMUTATIONS, params=_bands(threshold))

    def item(self, words: str) -> _Item:
        shingles, signature = self._hashes.shingles(words), self._empty.copy()
        for start in range(0, len(shingles), _BATCH):
            signature.update_batch(shingles[start : start + _BATCH].tolist())
        return _Item(shingles, signature)

    def put(self, item: _Item) -> int:
        self._lsh.insert(len(self._items), item.signature, check_duplication=False)
        self._items.append(item)
        return len(self._items) - 1

    def candidates(self, item: _Item) -> list[int]:
        """Places that share a band of the signature and are of a size that can be similar enough."""
        size = len(item.shingles)
        sizes = [(p, len(self._items[p].shingles)) for p in self._lsh.query(item.signature)]
        return [p for p, n in sizes if min(n, size) >= self.threshold * max(n, size)]

    def near(self, item: _Item, places: Sequence[int]) -> list[tuple[int, float]]:
        """Those of the places that are near, with their similarity."""
        if not places:
            return []
        found = _jaccard(item.shingles, [self._items[p].shingles for p in places]).tolist()
        return [(p, s) for p, s in zip(places, found, strict=True) if s >= self.threshold]

    def __getitem__(self, place: int) -> _Item:
        return self._items[place]


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


def _bands(threshold: float) -> tuple[int, int]:
    """(bands, rows a band): the longest bands by which pairs as similar as the threshold are still found."""
    rows = max(r for r in range(1, _PERMUTATIONS // 2 + 1) if r == 1 or (1 - threshold**r) ** (_PERMUTATIONS // r) <= _MISSED)
    return _PERMUTATIONS // rows, rows


def _jaccard(one: NDArray[np.uint64], others: Sequence[NDArray[np.uint64]]) -> NDArray[np.float64]:
    """Similarity of one set to each of others, all sorted and not empty."""
    import numpy as np

    sizes = np.array([len(o) for o in others])
    every = others[0] if len(others) == 1 else np.concatenate(others)
    at = np.searchsorted(one, every)
    at[at == len(one)] = 0
    both = np.add.reduceat((one[at] == every).astype(np.int64), np.cumsum(sizes) - sizes)
    similar: NDArray[np.float64] = both / (len(one) + sizes - both)
    return similar


class _Hashes:
    """64 bits for each shingle, from 64 bits of each word, which are worked out once: no chance and no clock in them."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}

    def shingles(self, words: str) -> NDArray[np.uint64]:
        """The different shingles of a text's words, sorted."""
        import numpy as np

        known = self._words
        one = np.array([known.get(w) or self._new(w) for w in words.split()], np.uint64)
        with np.errstate(over="ignore"):
            two = _mixed(one[:-1] * np.uint64(0x9E3779B97F4A7C15) + one[1:])
            three = _mixed(two[:-1] * np.uint64(0xD6E8FEB86659FD93) + one[2:])
        return np.unique(np.concatenate((one, two, three)))

    def _new(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = self._words[word] = int.from_bytes(digest, "little")
        return number


def _mixed(h: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Murmur3's last step: every bit of the result depends on every bit of the sum."""
    import numpy as np

    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))
