"""Texts that are nearly another's: a test set's, a seed's, an earlier variant's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardeval.benchmark_prompts import Benchmarks
from guardeval.near_duplicates import NearIndex
from guardeval.prompt_sets import registered_prompts, sets_named
from guardeval.synthesis.seeds import Seeds
from guardeval.synthesis.settings import SynthesisSettings

if TYPE_CHECKING:
    from guardeval.task import TaskIndex

__all__ = ["Sieve", "tests_at_hand"]

NEAR_TEST, NEAR_SEED, NEAR_EARLIER = "near a test row", "near a seed", "near an earlier variant"


def tests_at_hand(settings: SynthesisSettings, index: TaskIndex) -> Benchmarks:
    """Those named, and of all other registered test tasks those at hand: in ``data_dir``, or fetched from the hub before."""
    from guardeval.hub import local_copies_only

    named = sets_named(settings.against, index)
    with local_copies_only():
        found, missing = registered_prompts(index, [s.task for s in named if s.task], settings.data_dir, training=False)
    return Benchmarks([*named, *found], missing, settings.similarity)


class Sieve:
    """Remembers every text that passed; says what a text nearly repeats, None where it is new. Order matters."""

    def __init__(self, seeds: Seeds, tests: Benchmarks, similarity: float) -> None:
        self.tests = tests
        self._seeds: NearIndex[str] = NearIndex(similarity)
        self._earlier: NearIndex[str] = NearIndex(similarity)
        for seed in seeds.seeds:
            self._seeds.add("", seed.sample.prompt)

    def repeats(self, text: str) -> str | None:
        near = self.tests.near(text)
        if near:
            return f"{NEAR_TEST} of {near[0][0]}"
        if self._seeds.matches(text):
            return NEAR_SEED
        if self._earlier.matches(text):
            return NEAR_EARLIER
        self._earlier.add("", text)
        return None
