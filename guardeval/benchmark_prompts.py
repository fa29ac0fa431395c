"""The prompts of test sets, to be asked whether a text is one of them, or nearly: what training data must not repeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from guardeval.exposure import fingerprint, normalised
from guardeval.near_duplicates import THRESHOLD, NearIndex
from guardeval.prompt_sets import NotChecked, PromptSet, registered_prompts, sets_named
from guardeval.word_runs import NGRAM, runs_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from guardeval.task import TaskIndex

__all__ = ["Benchmarks", "Hit", "normal"]

Hit = tuple[str, int]  # task (or file), fingerprint of its prompt


def normal(text: str) -> str:
    """The words of a text; the text itself where it has none, so that ``???`` and ``!`` stay two texts."""
    return normalised(text) or text


class Benchmarks:
    """Prompts of test sets. Each question answers with (task, fingerprint of the test prompt), each once, in order of the sets.

    Indexes are built when they are first asked. ``not_checked``: tasks whose rows are not at hand.
    """

    def __init__(
        self,
        sets: Sequence[PromptSet],
        not_checked: Iterable[NotChecked] = (),
        threshold: float = THRESHOLD,
        ngram: int = NGRAM,
    ) -> None:
        self.sets, self.not_checked = tuple(sets), tuple(not_checked)
        self.threshold, self.ngram = threshold, ngram
        self._near: NearIndex[int] | None = None
        self._prompts: dict[str, dict[str, None]] = {}  # text → the names of its sets, in order
        for one in self.sets:
            for _, text in one.rows:
                self._prompts.setdefault(text, {})[one.name] = None

    @classmethod
    def open(
        cls,
        index: TaskIndex,
        against: Sequence[str] = (),
        data_dir: Path | None = None,
        threshold: float = THRESHOLD,
        ngram: int = NGRAM,
        registered: bool = True,
    ) -> Benchmarks:
        """The sets named (``TASK=PATH``, a file, a task) and, unless told otherwise, every registered test task at hand.

        Raises :class:`ConfigError` and :class:`DataError` for named sets that cannot be read; registered ones that cannot be
        stand in ``not_checked``.
        """
        named = sets_named(against, index)
        if not registered:
            return cls(named, (), threshold, ngram)
        found, missing = registered_prompts(index, [s.task for s in named if s.task], data_dir, training=False)
        return cls([*named, *found], missing, threshold, ngram)

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.sets)

    def exact(self, text: str) -> list[Hit]:
        """Test prompts that equal the text byte for byte."""
        return [(name, fingerprint(text)) for name in self._prompts.get(text, ())]

    def same_words(self, text: str) -> list[Hit]:
        """Test prompts of the same words (:func:`normal`)."""
        names = self._by_words.get(normal(text))
        return [] if names is None else [(name, fingerprint(text)) for name in names]

    def shares_run(self, text: str) -> list[Hit]:
        """Test prompts with ``ngram`` words in a row in common, or the same words."""
        import numpy as np

        runs, owner = self._runs
        mine, _ = runs_of([normal(text)], self.ngram)
        low, high = np.searchsorted(runs, mine), np.searchsorted(runs, mine, "right")
        places = {int(p) for a, b in zip(low, high, strict=True) for p in owner[a:b]}
        return _merged(self.same_words(text), self._hits(places))

    def near(self, text: str) -> list[Hit]:
        """Test prompts at least ``threshold`` similar, or of the same words."""
        if self._near is None:
            self._near = NearIndex(self.threshold)
            for i, words in enumerate(self._by_words):
                self._near.add(i, words)
        return _merged(self.same_words(text), self._hits(self._near.matches(text)))

    def seen(self, prompt: int) -> list[Hit]:
        """Test prompts with this fingerprint: for prompts of which no more than that is known."""
        return [(name, prompt) for name in self._by_fingerprint.get(prompt, ())]

    def hits(self, text: str) -> dict[str, list[Hit]]:
        """All four answers: ``exact``, ``normalised``, ``ngram``, ``near``."""
        return {
            "exact": self.exact(text),
            "normalised": self.same_words(text),
            "ngram": self.shares_run(text),
            "near": self.near(text),
        }

    # ---- indexes ----

    @cached_property
    def _by_words(self) -> dict[str, dict[str, None]]:
        found: dict[str, dict[str, None]] = {}
        for text, names in self._prompts.items():
            found.setdefault(normal(text), {}).update(names)
        return found

    @cached_property
    def _by_fingerprint(self) -> Mapping[int, dict[str, None]]:
        found: dict[int, dict[str, None]] = {}
        for words, names in self._by_words.items():
            if normalised(words):
                found.setdefault(fingerprint(words), {}).update(names)
        return found

    @cached_property
    def _words(self) -> list[str]:
        return list(self._by_words)

    @cached_property
    def _runs(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        import numpy as np

        runs, owner = runs_of(self._words, self.ngram)
        order = np.argsort(runs, kind="stable")
        return runs[order], owner[order]

    def _hits(self, places: Iterable[int]) -> list[Hit]:
        found = ((self._words[p], fingerprint(self._words[p])) for p in places)
        return [(name, mark) for words, mark in found for name in self._by_words[words]]


def _merged(*hits: Sequence[Hit]) -> list[Hit]:
    return list(dict.fromkeys(h for some in hits for h in some))
