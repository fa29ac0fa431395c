"""How much of one set of prompts stands in another: byte for byte, by its words, by words in a row, nearly.

A row *has a partner* in another set when a prompt there is

- ``exact``: equal, byte for byte;
- ``normalised``: equal in its words, lower-cased, whatever parts them (:func:`guardeval.exposure.normalised`);
- ``ngram``: shares ``n`` words in a row; 13 as in GPT-3's check (Brown et al., 2020, arXiv:2005.14165, appendix C). A prompt of
  fewer words counts as one run;
- ``near``: at least ``threshold`` similar (:mod:`guardeval.near_duplicates`).

What is ``exact`` is ``normalised``, and that is both ``ngram`` and ``near``. A prompt without a word (``???``) has exact
partners only. Direction matters: two rows of one set may have the same partner, so both are reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardeval.benchmark_prompts import Benchmarks, normal
from guardeval.errors import ConfigError, did_you_mean
from guardeval.near_duplicates import THRESHOLD, NearIndex
from guardeval.prompt_sets import NotChecked, PromptSet
from guardeval.word_runs import NGRAM, runs_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["KINDS", "NGRAM", "Benchmarks", "Leakage", "Overlap", "leakage"]

KINDS = ("exact", "normalised", "ngram", "near")


@dataclass(frozen=True, slots=True)
class Overlap:
    """Rows of one set that have a partner in another, by kind; ``of``: all its rows."""

    rows_of: str
    partner_in: str
    of: int
    ids: Mapping[str, tuple[str, ...]]  # kind → ids of the rows

    def count(self, kind: str) -> int:
        return len(self.ids[kind])


@dataclass(frozen=True)
class Leakage:
    """Overlap of every two sets asked about, both directions; ``not_checked``: tasks whose rows were not at hand."""

    sets: tuple[PromptSet, ...]
    overlaps: tuple[Overlap, ...]
    kinds: tuple[str, ...]
    threshold: float
    ngram: int
    not_checked: tuple[NotChecked, ...] = ()

    def of(self, rows_of: str, partner_in: str) -> Overlap:
        """Raises :class:`KeyError` for sets that were not compared."""
        for overlap in self.overlaps:
            if (overlap.rows_of, overlap.partner_in) == (rows_of, partner_in):
                return overlap
        raise KeyError((rows_of, partner_in))

    def to_json(self) -> dict[str, Any]:
        """Everything, with ids; pairs that share nothing are left out."""
        return {
            "threshold": self.threshold,
            "ngram": self.ngram,
            "kinds": list(self.kinds),
            "sets": [
                {"name": s.name, "rows": len(s.rows), "source": s.source, "task": s.task, "training": s.training}
                for s in self.sets
            ],
            "overlaps": [
                {
                    "rows_of": o.rows_of,
                    "partner_in": o.partner_in,
                    "of": o.of,
                    "rows": {kind: len(ids) for kind, ids in o.ids.items()},
                    "ids": {kind: list(ids) for kind, ids in o.ids.items()},
                }
                for o in self.overlaps
                if any(o.ids.values())
            ],
            "not_checked": [{"task": m.task, "why": m.why} for m in self.not_checked],
        }


def leakage(
    sets: Sequence[PromptSet],
    against: Sequence[PromptSet] = (),
    kinds: Sequence[str] = KINDS,
    threshold: float = THRESHOLD,
    ngram: int = NGRAM,
    not_checked: Iterable[NotChecked] = (),
) -> Leakage:
    """Each of ``sets`` with every other of them and with each of ``against``.

    Raises :class:`ConfigError` for an unknown kind, for n-grams of no words, and where there are no two sets.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"unknown kind of overlap {kind!r}{did_you_mean(kind, (*KINDS, 'all'))}")
    if ngram < 2:
        raise ConfigError(f"--ngram {ngram}: at least 2 words in a row are wanted, e.g. {NGRAM}")
    every = (*sets, *(a for a in against if a not in sets))
    if len(every) < 2:
        raise ConfigError("there is nothing to compare with: name a second file, or --against TASK=PATH")
    texts = _Texts(every)
    partners = {kind: texts.partners(kind, threshold, ngram) for kind in kinds}
    overlaps = [
        _overlap(texts, every, i, j, partners)
        for i in range(len(every))
        for j in range(len(every))
        if i != j and (i < len(sets) or j < len(sets))
    ]
    return Leakage(every, tuple(overlaps), tuple(kinds), threshold, ngram, tuple(not_checked))


def _overlap(texts: _Texts, sets: Sequence[PromptSet], i: int, j: int, partners: Mapping[str, NDArray[np.bool_]]) -> Overlap:
    rows = texts.rows[i]
    ids = {kind: tuple(sets[i].rows[k][0] for k in found[rows, j].nonzero()[0]) for kind, found in partners.items()}
    return Overlap(sets[i].name, sets[j].name, len(sets[i].rows), ids)


class _Texts:
    """The different texts of all sets, and which set holds which: a (texts, sets) matrix, worked on kind by kind."""

    def __init__(self, sets: Sequence[PromptSet]) -> None:
        import numpy as np

        numbers: dict[str, int] = {}
        self.rows = [np.array([numbers.setdefault(t, len(numbers)) for _, t in s.rows], np.int64) for s in sets]
        self.texts = list(numbers)
        self.held = np.zeros((len(numbers), len(sets)), np.bool_)
        for i, rows in enumerate(self.rows):
            self.held[rows, i] = True
        self._normal: dict[str, int] = {}
        self._number = np.array([self._normal.setdefault(normal(t), len(self._normal)) for t in self.texts], np.int64)

    def partners(self, kind: str, threshold: float, ngram: int) -> NDArray[np.bool_]:
        """(texts, sets): whether the text has a partner in the set."""
        if kind == "exact":
            return self.held
        normalised = self._by_words()
        if kind == "ngram":
            normalised = normalised | self._sharing_runs(normalised, ngram)
        elif kind == "near":
            normalised = normalised | self._near(normalised, threshold)
        found: NDArray[np.bool_] = normalised[self._number]
        return found

    def _by_words(self) -> NDArray[np.bool_]:
        """(different word sequences, sets)."""
        import numpy as np

        held = np.zeros((len(self._normal), self.held.shape[1]), np.bool_)
        np.logical_or.at(held, self._number, self.held)
        return held

    def _near(self, held: NDArray[np.bool_], threshold: float) -> NDArray[np.bool_]:
        found = held.copy()
        index: NearIndex[int] = NearIndex(threshold)
        for i, words in enumerate(self._normal):
            index.add(i, words)
        for i, words in enumerate(self._normal):
            near = index.matches(words)
            if len(near) > 1:
                found[i] = held[near].any(axis=0)
        return found

    def _sharing_runs(self, held: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
        import numpy as np

        runs, owner = runs_of(list(self._normal), n)
        order = np.argsort(runs, kind="stable")
        runs, owner = runs[order], owner[order]
        new = np.r_[True, runs[1:] != runs[:-1]] if len(runs) else np.zeros(0, np.bool_)
        shared = ~new | np.r_[~new[1:], False] if len(runs) else new
        found = np.packbits(held, axis=1)
        if shared.any():
            first, owner = np.flatnonzero(new[shared]), owner[shared]
            in_sets = np.bitwise_or.reduceat(found[owner], first, axis=0)
            run = np.cumsum(new[shared]) - 1
            np.bitwise_or.at(found, owner, in_sets[run])
        unpacked: NDArray[np.bool_] = np.unpackbits(found, axis=1, count=held.shape[1]).astype(np.bool_)
        return unpacked
