"""What a group of texts says more often than others: n-grams of words by weighted log-odds.

Monroe, Colaresi & Quinn (2008), "Fightin' Words", equations 15, 16 and 22, with one change: a text holds an n-gram once,
however often it repeats it, so that no single text can make itself typical. Odds are those of an n-gram among all n-grams
of its length, so that a group of longer texts does not come out as typical for stop words; the prior is informative, it
says that group and others use an n-gram as both together do, which pulls rare words to 0.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Typical", "typical", "words_of"]

K = TypeVar("K", bound=Hashable)
Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_MOST_CHARACTERS, _MOST_WORDS, _LONGEST = 6000, 300, 30  # of a text that are looked at; letters of a word
_WORD_BITS = 20  # different words that are told apart: a million
_CHUNK = 1 << 21  # words that are counted at once
_MOST_NGRAMS = 1 << 19  # kept between two chunks
_BUCKETS = 1 << 22
_LEAST_Z = 1.96


@dataclass(frozen=True, slots=True)
class Typical:
    """An n-gram that ``in_group`` of ``group`` texts hold and ``in_rest`` of ``rest`` others; ``z`` = log-odds ratio in
    standard errors, both with the prior."""

    ngram: str
    in_group: int
    group: int
    in_rest: int
    rest: int
    log_odds: float
    z: float


def words_of(text: str) -> list[str]:
    """Words in lower case, letters and digits only, from the text's first 6,000 characters, 300 at most."""
    return _WORD.findall(text[:_MOST_CHARACTERS].lower())[:_MOST_WORDS]


def typical(
    texts: Iterable[str],
    groups: Mapping[K, tuple[Mask, Mask]],
    *,
    longest: int = 3,
    top: int = 10,
    at_least: int = 3,
    prior: float = 0.1,
) -> dict[K, tuple[Typical, ...]]:
    """N-grams of 1 to ``longest`` (at most 3) words typical of each group against its rest, highest z first, ``top`` each.

    ``groups`` holds two masks over the texts: the group's and those it is set against. Only n-grams that ``at_least``
    texts of the group hold and whose z is above 1.96 (of many that were looked at: a hint where to look, no test); of two
    that contain each other and stand in nearly the same texts, the one with the higher z. ``prior`` is the weight of
    the prior as a share of all counts. Texts are read once, in order. N-grams that fewer than ``at_least`` of the texts
    hold count nowhere. Counts are exact up to some two million words; of longer runs, n-grams that were rare in each part
    are counted low.
    """
    if not groups or len(groups) > 31:
        raise ValueError(f"{len(groups)} groups: from 1 to 31 fit")
    codes, member = _memberships(groups)
    counted = _Counted(len(codes), longest, at_least)
    chunk: list[tuple[int, list[str]]] = []
    size = 0
    for of, text in zip(member.tolist(), texts, strict=True):
        words = words_of(text) if codes[of].any() else []
        chunk.append((of, words))
        size += len(words)
        if size >= _CHUNK:
            counted.add(chunk)
            chunk, size = [], 0
    counted.add(chunk)
    sizes = np.bincount(member, minlength=len(codes))
    return {key: _best(counted, codes[:, [2 * i, 2 * i + 1]], sizes, top, at_least, prior) for i, key in enumerate(groups)}


def _memberships(groups: Mapping[K, tuple[Mask, Mask]]) -> tuple[Mask, Ints]:
    """The different combinations of groups that a text can be in (c, 2 × groups), and which one each text has."""
    masks = np.stack([m for pair in groups.values() for m in pair], axis=-1)
    bits = masks.astype(np.int64) @ (1 << np.arange(masks.shape[1]))
    codes, member = np.unique(bits, return_inverse=True)
    return ((codes[:, None] >> np.arange(masks.shape[1])) & 1).astype(bool), member.astype(np.int64)


class _Numbers(dict[str, int]):
    """Numbers of words from 1 on, given when first asked for; 0 for one that is too long or one too many."""

    def __missing__(self, word: str) -> int:
        if len(word) > _LONGEST or len(self) + 1 >= 1 << _WORD_BITS:
            return 0
        number = self[word] = len(self) + 1
        return number


@dataclass
class _Counted:
    """N-grams as numbers (three words of 20 bits, 0 = no word) with the texts of each membership that hold them."""

    memberships: int
    longest: int
    at_least: int
    words: _Numbers = field(default_factory=_Numbers)
    ngrams: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    texts: Ints = field(init=False)  # (ngrams, memberships)

    def __post_init__(self) -> None:
        self.texts = np.empty((0, self.memberships), np.int64)

    def add(self, chunk: Sequence[tuple[int, list[str]]]) -> None:
        ids, text = self._numbered(chunk)
        found, where = _distinct_within(*_ngrams(ids, text, self.longest, self.at_least), self.at_least)
        if not len(found):
            return
        new = np.r_[True, found[1:] != found[:-1]]  # they come sorted
        ngrams, place = found[new], np.cumsum(new) - 1
        member = np.array([m for m, _ in chunk])[where]
        counts = np.bincount(place * self.memberships + member, minlength=len(ngrams) * self.memberships)
        self._merge(ngrams, counts.reshape(len(ngrams), self.memberships))

    def _numbered(self, chunk: Sequence[tuple[int, list[str]]]) -> tuple[Ints, Ints]:
        """Number of each word, 0 for one that is too long or one too many, and the text that it stands in."""
        lengths = [len(words) for _, words in chunk]
        words = chain.from_iterable(words for _, words in chunk)
        ids = np.fromiter(map(self.words.__getitem__, words), np.int64, sum(lengths))
        return ids, np.repeat(np.arange(len(chunk)), lengths)

    def _merge(self, ngrams: Ints, texts: Ints) -> None:
        if len(self.ngrams):
            ngrams, place = np.unique(np.concatenate([self.ngrams, ngrams]), return_inverse=True)
            merged = np.zeros((len(ngrams), self.memberships), np.int64)
            np.add.at(merged, place, np.concatenate([self.texts, texts]))
            texts = merged
        if len(ngrams) > _MOST_NGRAMS:
            most = np.sort(np.argpartition(-texts.sum(axis=1), _MOST_NGRAMS)[:_MOST_NGRAMS])
            ngrams, texts = ngrams[most], texts[most]
        self.ngrams, self.texts = ngrams, texts

    def lengths(self) -> Ints:
        """How many words each n-gram has."""
        two, three = self.ngrams >> _WORD_BITS > 0, self.ngrams >> 2 * _WORD_BITS > 0
        return (1 + two.astype(np.int64) + three).astype(np.int64)

    def spelt(self, ngrams: Sequence[int]) -> list[tuple[str, ...]]:
        by_number = dict(zip(self.words.values(), self.words, strict=True))
        mask = (1 << _WORD_BITS) - 1
        parts = ([n >> shift & mask for shift in (2 * _WORD_BITS, _WORD_BITS, 0)] for n in ngrams)
        return [tuple(by_number[p] for p in of if p) for of in parts]


def _ngrams(ids: Ints, text: Ints, longest: int, at_least: int) -> tuple[Ints, Ints]:
    """N-grams that lie within one text, and the text of each; without most of those that occur less than ``at_least``
    times, for an n-gram is no commoner than its parts."""
    found, where = [], []
    code, whole = ids, ids > 0
    for n in range(1, min(longest, 3) + 1):
        if n > 1:
            code = code[:-1] << _WORD_BITS | ids[n - 1 :]
            whole = whole[:-1] & whole[1:] & (text[: len(code)] == text[n - 1 :])
        whole[whole] = _often(code[whole], at_least)
        found.append(code[whole])
        where.append(text[: len(code)][whole])
    return np.concatenate(found), np.concatenate(where)


def _often(ngrams: Ints, at_least: int) -> Mask:
    """False only for what occurs less than ``at_least`` times; true for a few of these, too, that share a bucket."""
    bucket = (ngrams * np.int64(0x9E3779B97F4A7C15 - (1 << 64))) >> 42 & (_BUCKETS - 1)
    often: Mask = np.bincount(bucket, minlength=_BUCKETS)[bucket] >= at_least
    return often


def _distinct_within(ngrams: Ints, text: Ints, at_least: int) -> tuple[Ints, Ints]:
    """Each n-gram once a text, sorted, without those that less than ``at_least`` texts hold. The texts come in ascending
    order, so they do within one n-gram too."""
    order = np.argsort(ngrams, kind="stable")
    ngrams, text = ngrams[order], text[order]
    new = np.ones(len(ngrams), bool)
    new[1:] = (ngrams[1:] != ngrams[:-1]) | (text[1:] != text[:-1])
    ngrams, text = ngrams[new], text[new]
    start = np.flatnonzero(np.r_[True, ngrams[1:] != ngrams[:-1]]) if len(ngrams) else np.empty(0, np.int64)
    size = np.diff(np.r_[start, len(ngrams)])
    held = np.repeat(size >= at_least, size)
    return ngrams[held], text[held]


def _best(counted: _Counted, of: Mask, sizes: Ints, top: int, at_least: int, prior: float) -> tuple[Typical, ...]:
    """``of``: which memberships are the group's, the rest's, (memberships, 2)."""
    group, rest = (int(n) for n in sizes @ of)
    if not group or not rest:
        return ()
    inside, outside = (counted.texts @ of).T
    log_odds, z = _scores(inside, outside, counted.lengths(), prior)
    kept = np.flatnonzero((inside >= at_least) & (z > _LEAST_Z))
    kept = kept[np.lexsort((counted.ngrams[kept], -z[kept]))][: 20 * top]
    out: list[tuple[tuple[str, ...], Typical]] = []
    for i, words in zip(kept.tolist(), counted.spelt(counted.ngrams[kept].tolist()), strict=True):
        found = Typical(" ".join(words), int(inside[i]), group, int(outside[i]), rest, float(log_odds[i]), float(z[i]))
        if len(out) < top and not any(_says_the_same(words, found, *other) for other in out):
            out.append((words, found))
    return tuple(found for _, found in out)


def _scores(inside: Ints, outside: Ints, length: Ints, prior: float) -> tuple[Floats, Floats]:
    """Log-odds ratio and z of n-grams of these lengths that so many texts of the group and of the rest hold."""
    both = inside + outside
    sums = (np.bincount(length, weights=counts, minlength=4)[length] for counts in (inside, outside, both))
    all_inside, all_outside, all_ = sums
    a, b = inside + prior * both, outside + prior * both
    with np.errstate(divide="ignore", invalid="ignore"):  # an n-gram that neither holds, or the only one of its length
        log_odds = np.log(a / (all_inside + prior * all_ - a)) - np.log(b / (all_outside + prior * all_ - b))
        z = log_odds / np.sqrt(1 / a + 1 / b)
    return log_odds, np.where(np.isfinite(z), z, 0.0)


def _says_the_same(words: tuple[str, ...], found: Typical, others: tuple[str, ...], other: Typical) -> bool:
    """One contains the other, and four in five texts of the group that hold the one hold both."""
    short, long = sorted((words, others), key=len)
    inside = any(long[i : i + len(short)] == short for i in range(len(long) - len(short) + 1))
    few, many = sorted((found.in_group, other.in_group))
    return inside and few >= 0.8 * many
