"""Which sample of a task a logged one is: by id, by the hash of its document, or by the text that was judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from guardeval.data import Sample, Target
from guardeval.interop.logged import Logged
from guardeval.sample_lines import doc_hash

__all__ = ["Match", "Matcher"]

_ANCHOR = 24  # characters of a prompt by which it is looked for inside a longer text; shorter ones must stand alone


class Match(NamedTuple):
    """The sample, or why there is none."""

    sample: Sample | None
    reason: str = ""


class Matcher:
    """Over all samples of a task. Each is given once: of equal ones, in the order of the source."""

    def __init__(self, samples: Iterable[Sample], target: Target) -> None:
        self._target = target
        self._by_id: dict[str, Sample] = {}
        self._by_hash: dict[str, list[Sample]] = defaultdict(list)
        self._by_prompt: dict[str, list[Sample]] = defaultdict(list)
        self._anchored: dict[str, list[str]] = defaultdict(list)
        self._given: set[int] = set()
        self.total = 0
        for sample in samples:
            self.total += 1
            self._by_id.setdefault(sample.id, sample)
            self._by_hash[doc_hash(sample.doc)].append(sample)
            prompt = sample.prompt.strip()
            if prompt not in self._by_prompt and len(prompt) >= _ANCHOR:
                self._anchored[prompt[:_ANCHOR]].append(prompt)
            self._by_prompt[prompt].append(sample)

    @property
    def left(self) -> int:
        """Samples of the task that no logged one was."""
        return self.total - len(self._given)

    def match(self, logged: Logged) -> Match:
        """A number alone is no proof: an id counts where the text that was logged is the sample's."""
        found = self._hashed(logged) or self._texts(logged)
        if not found:
            return Match(None, "no sample of the task has its text")
        if len({s.prompt.strip() for s in found}) > 1:
            return Match(None, "it holds the texts of several samples")
        own = [s for s in found if s.id == logged.id]
        free = [s for s in (*own, *found) if s.index not in self._given]
        if not free:
            return Match(None, "its sample has an answer already")
        self._given.add(free[0].index)
        return Match(free[0])

    def _hashed(self, logged: Logged) -> list[Sample]:
        hashes = [logged.doc_hash, doc_hash(logged.doc) if logged.doc else None]
        return next((self._by_hash[h] for h in hashes if h is not None and h in self._by_hash), [])

    def _texts(self, logged: Logged) -> list[Sample]:
        texts = [t.strip() for t in logged.texts]
        own = self._by_id.get(logged.id)
        if own is not None and _stands(own.prompt, texts) and (fitting := self._fitting([own], texts)):
            return fitting
        exact = [s for t in dict.fromkeys(texts) for s in self._by_prompt.get(t, ())]
        return self._fitting(exact, texts) or self._fitting(
            [s for t in texts for p in self._inside(t) for s in self._by_prompt[p]], texts
        )

    def _fitting(self, samples: Sequence[Sample], texts: Sequence[str]) -> list[Sample]:
        """Those whose response was logged too; where only prompts are judged, and no response was logged, all."""
        answered = [s for s in samples if s.response and s.response.strip() and _stands(s.response, texts)]
        return answered or [s for s in samples if self._target is Target.PROMPT or not s.response]

    def _inside(self, text: str) -> list[str]:
        """Prompts that stand in a text, those left out that are part of a longer one among them."""
        found = dict.fromkeys(
            p
            for i in range(len(text) - _ANCHOR + 1)
            for p in self._anchored.get(text[i : i + _ANCHOR], ())
            if text.startswith(p, i)
        )
        return [p for p in found if not any(p != other and p in other for other in found)]


def _stands(part: str, texts: Iterable[str]) -> bool:
    """It is one of the texts, or stands in one where it is long enough to be told from chance."""
    part = part.strip()
    return bool(part) and any(part == t or (len(part) >= _ANCHOR and part in t) for t in texts)
