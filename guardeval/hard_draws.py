"""GuardReasoner's hard samples: k draws of one model, hard where right and wrong answers mix (arXiv 2501.18492, section 3.3).

The weight of a sample is α = 1 + Norm(k_incorr − k_corr, γ), where Norm maps the least and the greatest difference among
all mined samples to −γ and γ. A draw that could not be read counts as neither.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guardeval.errors import ConfigError, did_you_mean

__all__ = ["GAMMA", "PAIR_RULES", "Mixed", "alphas", "choose_pair", "mixed_draws"]

GAMMA = 0.2
PAIR_RULES = ("longest", "random")


@dataclass(frozen=True, slots=True)
class Mixed:
    """Per sample: ``hard`` (n,), and ``weight`` (n,) = wrong minus right readable draws, whether hard or not."""

    hard: NDArray[np.bool_]
    weight: NDArray[np.int64]


def mixed_draws(gold: ArrayLike, labels: ArrayLike) -> Mixed:
    """``gold`` (n,): 1, 0, or -1 unlabelled, never hard; ``labels`` (n, k): 1, 0, or -1 could not be read."""
    gold, labels = np.asarray(gold), np.asarray(labels)
    readable = (labels >= 0) & (gold >= 0)[:, None]
    right = (readable & (labels == gold[:, None])).sum(axis=1)
    wrong = readable.sum(axis=1) - right
    return Mixed((right > 0) & (wrong > 0), (wrong - right).astype(np.int64))


def alphas(weights: ArrayLike, gamma: float = GAMMA, span: tuple[float, float] | None = None) -> NDArray[np.float64]:
    """α of each mined sample, in [1 − γ, 1 + γ]; 1 where all weights are equal (the released code divides by zero there).

    ``span``: least and greatest weight of all mined samples, where ``weights`` are some of them.
    Raises :class:`ConfigError` unless 0 ≤ γ < 1.
    """
    if not 0.0 <= gamma < 1.0:
        raise ConfigError(f"gamma={gamma!r}: a number from 0 to below 1 is wanted")
    w = np.asarray(weights, float)
    if not w.size:
        return w
    low, high = span or (float(w.min()), float(w.max()))
    if low == high:
        return np.ones_like(w)
    return np.asarray(1.0 + (w - low) * 2.0 * gamma / (high - low) - gamma)


def choose_pair(
    gold: bool, draws: Sequence[tuple[bool | None, str]], rule: str = "longest", seed: str = "0"
) -> tuple[str, str] | None:
    """A right and a wrong answer among ``(label, words)``; None where there are not both.

    ``longest`` is the released code's rule (the first of equally long ones), ``random`` the paper's text; ``seed`` makes the
    choice, so that it depends on the sample and not on those before it.
    """
    if rule not in PAIR_RULES:
        raise ConfigError(f"unknown rule for pairs {rule!r}{did_you_mean(rule, PAIR_RULES)}")
    right = [words for label, words in draws if label is gold]
    wrong = [words for label, words in draws if label is not None and label is not gold]
    if not right or not wrong:
        return None
    if rule == "longest":
        return max(right, key=len), max(wrong, key=len)
    chance = random.Random(seed)  # a reproducible choice, no secret
    return chance.choice(right), chance.choice(wrong)
