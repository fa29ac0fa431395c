"""Runs of words that texts share: n words in a row, as 64-bit hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["NGRAM", "runs_of"]

NGRAM = 13  # words in a row that two texts hardly share by chance


def runs_of(texts: Sequence[str], n: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The different runs of ``n`` words of each text, and the number of the text each is of."""
    import numpy as np

    from guardeval.ngrams import Chunk, chunks

    hashes, owners, start = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], 0
    for some in chunks(texts):
        found, owner = Chunk(some).runs(n)
        order = np.lexsort((found, owner))
        found, owner = found[order], owner[order]
        new = np.ones(len(found), np.bool_)
        new[1:] = (found[1:] != found[:-1]) | (owner[1:] != owner[:-1])
        hashes.append(found[new])
        owners.append(owner[new] + start)
        start += len(some)
    return np.concatenate(hashes), np.concatenate(owners)
