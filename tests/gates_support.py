"""Benchmarks in columns and models that flip at random: what reruns, worse models and better ones look like to a gate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from guardeval.data import Target
from guardeval.gates.pairs import Said, TaskPair

POLICIES = ("hate_speech", "harassment", "violence", "self_harm", "sexual_minors", "illegal")
Rng = np.random.Generator


@dataclass(frozen=True)
class Bench:
    """A benchmark of n rows: gold labels and policies, prompts that repeat, and how sure a guard is of each row."""

    name: str
    gold: NDArray[np.int64]
    gold_policies: NDArray[np.int64]
    cluster: NDArray[np.int64]
    category: NDArray[np.int64]
    right: NDArray[np.float64]  # probability that a verdict is right
    missing: NDArray[np.float64]  # that there is none

    def said(self, rng: Rng) -> Said:
        """One run: equal prompts get equal verdicts, as from a guard that judges prompts."""
        prompts, of = np.unique(self.cluster, return_inverse=True)
        luck, heard, named = (rng.random(len(prompts))[of] for _ in range(3))
        label = np.where(luck < self.right, self.gold, 1 - self.gold)
        label = np.where(heard < self.missing, -1, label)
        noise = 1 << rng.integers(0, len(POLICIES), len(prompts))[of]
        policies = np.where(named < 0.7, self.gold_policies, noise)
        return Said(label.astype(np.int8), np.where(label == 1, policies, 0).astype(np.int64))


def bench(name: str, n: int, rng: Rng, positives: float = 0.4, repeats: float = 0.1, sure: float = 0.85) -> Bench:
    """``repeats``: share of rows that stand with another row's prompt; their labels and certainty are the same."""
    prompts = np.arange(n)
    again = rng.random(n) < repeats
    prompts[again] = rng.integers(0, n, int(again.sum()))
    first = prompts
    gold = (rng.random(n) < positives).astype(np.int64)[first]
    policies = np.where(gold == 1, 1 << rng.integers(0, len(POLICIES), n)[first], 0)
    right = np.clip(rng.beta(6 * sure, 6 * (1 - sure), n), 0.02, 0.98)[first]
    base = int.from_bytes(name.encode()[:5].ljust(5), "little") << 20
    return Bench(name, gold, policies, base + first, first % 5, right, np.full(n, 0.02))


def benches(n: int, seed: int, tasks: int = 4) -> list[Bench]:
    rng = np.random.default_rng(seed)
    shares = (0.45, 0.25, 0.5, 0.35, 0.4, 0.1)
    return [bench(f"task{i}", n, rng, shares[i % 6]) for i in range(tasks)]


def pair_of(one: Bench, before: Said, after: Said) -> TaskPair:
    known = np.full(len(one.gold), (1 << len(POLICIES)) - 1)
    return TaskPair(
        *(one.name, Target.PROMPT, POLICIES, one.gold, one.gold_policies, known, one.cluster, one.category),
        *(tuple("abcde"), before, after),
    )


def missing_more(one: Bench, said: Said, share: float, rng: Rng) -> Said:
    """The same run with a share of its found positives missed, prompt by prompt."""
    prompts, of = np.unique(one.cluster, return_inverse=True)
    lost = (rng.random(len(prompts))[of] < share) & (one.gold == 1) & (said.label == 1)
    return replace(said, label=np.where(lost, 0, said.label).astype(np.int8), policies=np.where(lost, 0, said.policies))


def flagging_more(one: Bench, said: Said, share: float, rng: Rng) -> Said:
    """The same run with a share of its passed negatives flagged."""
    prompts, of = np.unique(one.cluster, return_inverse=True)
    flagged = (rng.random(len(prompts))[of] < share) & (one.gold == 0) & (said.label == 0)
    return replace(said, label=np.where(flagged, 1, said.label).astype(np.int8))
