"""MinHash signatures of word shingles, and their comparison: what :mod:`guardeval.near_duplicates` is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from guardeval.errors import ConfigError, needs_extra

if TYPE_CHECKING:
    import numpy as np
    from datasketch import MinHash
    from numpy.typing import NDArray

__all__ = ["THRESHOLD", "Item", "Shelf", "Shingles", "buckets", "first_near", "jaccard"]

THRESHOLD = 0.7
_PERMUTATIONS, _SEED = 128, 1
_MISSED = 0.001  # at most this share of the pairs that are just as similar as the threshold asks may be missed
_BATCH = 4096  # shingles hashed, or texts compared, at once: bounds the memory that long texts and large families take
_TWO, _THREE = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93  # odd: what comes before counts differently


class Item(NamedTuple):
    shingles: NDArray[np.uint64]  # sorted, never empty
    signature: MinHash


class Shelf:
    """Different texts by their place, as shingles and signature."""

    def __init__(self, threshold: float) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ConfigError(f"threshold {threshold:g}: a similarity above 0, at most 1, is wanted, e.g. {THRESHOLD:g}")
        with needs_extra("dedup"):
            from datasketch import MinHash, MinHashLSH

        self.threshold = threshold
        self._hashes, self._items = Shingles(), list[Item]()
        self._empty = MinHash(num_perm=_PERMUTATIONS, seed=_SEED, hashfunc=int, scheme="affine64")
        self._lsh = MinHashLSH(num_perm=_PERMUTATIONS, params=_bands(threshold))

    def item(self, words: str) -> Item:
        shingles, signature = self._hashes.shingles(words), self._empty.copy()
        for start in range(0, len(shingles), _BATCH):
            signature.update_batch(shingles[start : start + _BATCH].tolist())
        return Item(shingles, signature)

    def put(self, item: Item) -> int:
        self._lsh.insert(len(self._items), item.signature, check_duplication=False)
        self._items.append(item)
        return len(self._items) - 1

    def candidates(self, item: Item) -> list[int]:
        """Places that share a band of the signature."""
        return list(self._lsh.query(item.signature))

    def near(self, item: Item, places: Sequence[int]) -> list[tuple[int, float]]:
        """Those of the places that are near, with their similarity."""
        found: list[tuple[int, float]] = []
        for start in range(0, len(places), _BATCH):
            some = places[start : start + _BATCH]
            found += [(some[i], s) for i, s in self.similar(item, [self._items[p] for p in some])]
        return found

    def similar(self, item: Item, others: Sequence[Item]) -> list[tuple[int, float]]:
        """The numbers of those that are near, with their similarity. Sizes too different are told apart beforehand."""
        size, least = len(item.shingles), self.threshold
        sizes = ((i, len(o.shingles)) for i, o in enumerate(others))
        able = [i for i, n in sizes if min(n, size) >= least * max(n, size)]
        if not able:
            return []
        found = jaccard(item.shingles, [others[i].shingles for i in able]).tolist()
        return [(i, s) for i, s in zip(able, found, strict=True) if s >= least]

    def __getitem__(self, place: int) -> Item:
        return self._items[place]


def first_near(item: Item, others: Sequence[Item], shelf: Shelf) -> int | None:
    """The place of one that is near; in a family mostly among the first, so few are compared before the rest is."""
    start, size = 0, 16
    while start < len(others):
        found = shelf.similar(item, others[start : start + size])
        if found:
            return start + found[0][0]
        start, size = start + size, _BATCH
    return None


def buckets(items: Mapping[int, Item], threshold: float) -> Iterator[list[int]]:
    """Texts that share a band of their signatures, two or more together."""
    import numpy as np

    if not items:
        return
    bands, rows = _bands(threshold)
    numbers, signatures = np.array(list(items)), np.stack([i.signature.hashvalues for i in items.values()])
    for start in range(0, bands * rows, rows):
        band = np.zeros(len(numbers), np.uint64)
        for column in range(start, start + rows):
            band = _mixed(band * np.uint64(_TWO) + signatures[:, column])
        order = np.argsort(band, kind="stable")
        ends = np.flatnonzero(np.diff(band[order])) + 1
        for some in np.split(numbers[order], ends):
            if len(some) > 1:
                yield some.tolist()


def _bands(threshold: float) -> tuple[int, int]:
    """(bands, rows a band): the longest bands by which pairs as similar as the threshold are still found."""
    rows = max(r for r in range(1, _PERMUTATIONS // 2 + 1) if r == 1 or (1 - threshold**r) ** (_PERMUTATIONS // r) <= _MISSED)
    return _PERMUTATIONS // rows, rows


def jaccard(one: NDArray[np.uint64], others: Sequence[NDArray[np.uint64]]) -> NDArray[np.float64]:
    """Similarity of one set to each of others, all sorted and not empty."""
    import numpy as np

    sizes = np.array([len(o) for o in others])
    every = others[0] if len(others) == 1 else np.concatenate(others)
    at = np.searchsorted(one, every)
    at[at == len(one)] = 0
    both = np.add.reduceat((one[at] == every).astype(np.int64), np.cumsum(sizes) - sizes)
    similar: NDArray[np.float64] = both / (len(one) + sizes - both)
    return similar


class Shingles:
    """64 bits for each shingle, from 64 bits of each word, which are worked out once: no chance and no clock in them."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}

    def shingles(self, words: str) -> NDArray[np.uint64]:
        """The different shingles of a text's words, sorted."""
        import numpy as np

        known = self._words
        one = np.array([known.get(w) or self._new(w) for w in words.split()], np.uint64)
        with np.errstate(over="ignore"):
            two = _mixed(one[:-1] * np.uint64(_TWO) + one[1:])
            three = _mixed(two[:-1] * np.uint64(_THREE) + one[2:])
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
