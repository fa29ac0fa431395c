"""Samples split in two by prompt, so that what is learnt or chosen on one part can be told honestly on the other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = ["split_prompts"]


def split_prompts(judged: Judgements, share: float = 0.5, seed: int = 0) -> tuple[list[int], list[int]]:
    """Positions of the samples of about ``share`` of the prompts, and of the others; each ascending.

    A prompt's samples stay together. Stratified by gold label: within each, prompts are ordered by a hash of prompt and
    seed, so that a prompt keeps its place whatever other samples there are.
    """
    gold = judged.gold
    clusters, first = np.unique(judged.cluster, return_index=True)
    taken: set[int] = set()
    for label in (-1, 0, 1):
        of_label = [int(c) for c, i in zip(clusters, first, strict=True) if gold[i] == label]
        of_label.sort(key=lambda c: hashlib.blake2b(f"{seed}:{c}".encode(), digest_size=8).digest())
        taken.update(of_label[: round(share * len(of_label))])
    inside = np.isin(judged.cluster, np.fromiter(taken, np.int64, len(taken)))
    return np.flatnonzero(inside).tolist(), np.flatnonzero(~inside).tolist()
