"""One task as a gate sees it: the same labelled samples, judged by the baseline's model and by the current one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guardeval.data import Target

__all__ = ["NO_CATEGORY", "Said", "TaskPair"]

Ints = NDArray[np.int64]
NO_CATEGORY = -1


@dataclass(frozen=True, slots=True)
class Said:
    """What one model said: ``label`` 1, 0 or -1 for no verdict; ``policies`` with bit i for ``policy_names[i]``."""

    label: NDArray[Any]
    policies: Ints


@dataclass(frozen=True, slots=True)
class TaskPair:
    """n labelled samples in columns. ``cluster`` is equal for equal prompts, across tasks too; ``category`` indexes
    ``categories`` or is :data:`NO_CATEGORY`."""

    name: str
    target: Target
    policy_names: tuple[str, ...]
    gold: NDArray[Any]  # 1 or 0
    gold_policies: Ints
    known_policies: Ints
    cluster: Ints
    category: Ints
    categories: tuple[str, ...]
    before: Said
    after: Said

    def __len__(self) -> int:
        return len(self.gold)

    def columns(self) -> list[NDArray[Any]]:
        """All that a metric may depend on."""
        return [
            *(self.gold, self.gold_policies, self.known_policies, self.category),
            *(self.before.label, self.before.policies, self.after.label, self.after.policies),
        ]

    def of_patterns(self, patterns: tuple[Ints, ...]) -> TaskPair:
        """The distinct combinations of :meth:`columns` as if each were one sample, of a prompt of its own."""
        gold, gold_policies, known, category, label, policies, label_after, policies_after = patterns
        return TaskPair(
            *(self.name, self.target, self.policy_names, gold, gold_policies, known, np.arange(len(gold)), category),
            *(self.categories, Said(label, policies), Said(label_after, policies_after)),
        )

    @property
    def prompts(self) -> int:
        return len(np.unique(self.cluster))

    @property
    def mean_repeats(self) -> float:
        """Samples of the prompt that a sample belongs to, on average: 1 where none repeats."""
        sizes = np.unique(self.cluster, return_counts=True)[1]
        return float((sizes**2).sum() / sizes.sum()) if len(sizes) else 1.0
