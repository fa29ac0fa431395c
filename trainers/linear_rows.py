"""Rows for the linear trainer: chosen by source, each text once, none of a benchmark's, near-duplicates kept together.

Everything here is the same for any order of the rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardeval.data import Sample, Target
from guardeval.errors import DataError, did_you_mean, needs_extra
from guardeval.ngrams import Chunk, chunks, clean

__all__ = ["NEAR", "Overlap", "TrainingRows", "overlap_with", "select_rows"]

NEAR = 8  # two texts are near-duplicates when they share this many words in a row
_UNNAMED = "(no source)"


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the chosen rows have in common with one benchmark: ``near`` of its rows share 8 words in a row with them."""

    name: str
    rows: int
    near: int
    digest: str  # sha256 over the benchmark's texts


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Texts in order of their hash, with labels, the fold of each, and how they came to be chosen."""

    texts: tuple[str, ...]
    labels: NDArray[np.bool_]
    folds: NDArray[np.int64]
    counts: Mapping[str, Mapping[str, int]]  # source → {"harmful": …, "unharmful": …}
    left_out: Mapping[str, int]  # why → rows
    digest: str  # sha256 over texts and labels
    overlaps: tuple[Overlap, ...]


def _key(text: str) -> bytes:
    """What two texts share that say the same: a hash of their words, without case, punctuation or layout."""
    return hashlib.sha256(b" ".join(clean(text).translate(None, b"!?$%").split())).digest()


def select_rows(
    samples: Iterable[Sample],
    sources: Sequence[str],
    benchmarks: Mapping[str, Sequence[str]],
    folds: int,
    seed: int,
) -> TrainingRows:
    """Raises :class:`DataError` when a source is missing or a class has fewer rows than there are folds."""
    left_out: Counter[str] = Counter()
    met: Counter[str] = Counter()
    chosen: dict[bytes, tuple[str, bool, str]] = {}
    contradicted: set[bytes] = set()
    forbidden = {_key(text) for texts in benchmarks.values() for text in texts}
    for sample in samples:
        source = str(sample.doc.get("source") or sample.category or _UNNAMED)
        label = sample.labels.get(Target.PROMPT)
        met[source] += 1
        key = _key(sample.prompt)
        why = _reason(source, label, key, sources, forbidden)
        if why is None and key in chosen:
            why = "the same text again"
            if chosen[key][1] != label:
                contradicted.add(key)
            chosen[key] = min(chosen[key], (sample.prompt, bool(label), source))
        if why is None:
            chosen[key] = (sample.prompt, bool(label), source)
        else:
            left_out[why] += 1
    _check_sources(sources, met)
    for key in contradicted:
        del chosen[key]
        left_out["the same text with both labels"] += 1
    return _assembled(chosen, left_out, benchmarks, folds, seed)


def _reason(source: str, label: bool | None, key: bytes, sources: Sequence[str], forbidden: set[bytes]) -> str | None:
    if sources and source not in sources:
        return "another source"
    if label is None:
        return "no label for the prompt"
    return "stands in a benchmark" if key in forbidden else None


def _check_sources(sources: Sequence[str], met: Counter[str]) -> None:
    for source in sources:
        if source not in met:
            hint = did_you_mean(source, met)
            raise DataError(
                f"no training row has the source {source!r}{hint}. Name others with -T sources=…, or none for all rows"
            )


def _assembled(
    chosen: Mapping[bytes, tuple[str, bool, str]],
    left_out: Counter[str],
    benchmarks: Mapping[str, Sequence[str]],
    folds: int,
    seed: int,
) -> TrainingRows:
    keys = sorted(chosen)
    texts = tuple(chosen[key][0] for key in keys)
    labels = np.array([chosen[key][1] for key in keys], np.bool_)
    for label, word in ((True, "harmful"), (False, "unharmful")):
        if int((labels == label).sum()) < 2 * folds:
            raise DataError(f"{int((labels == label).sum())} {word} rows to train on; {folds} folds need at least {2 * folds}")
    counts: dict[str, dict[str, int]] = {}
    for _, label, source in chosen.values():
        per = counts.setdefault(source, {"harmful": 0, "unharmful": 0})
        per[Target.PROMPT.word(label)] += 1
    digest = hashlib.sha256(
        b"".join(key + bytes([label]) for key, label in zip(keys, labels.tolist(), strict=True))
    ).hexdigest()
    where, runs = _word_runs(texts)
    return TrainingRows(
        texts,
        labels,
        _folds(keys, where, runs, folds, seed),
        dict(sorted(counts.items())),
        dict(sorted(left_out.items())),
        digest,
        tuple(overlap_with(name, runs, benchmarks[name]) for name in sorted(benchmarks)),
    )


def _word_runs(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Number of the text, and hash, of each run of ``NEAR`` words."""
    where: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    runs: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    done = 0
    for chunk in chunks(texts):
        hashes, doc = Chunk(chunk).runs(NEAR)
        where.append(doc + done)
        runs.append(hashes)
        done += len(chunk)
    return np.concatenate(where), np.concatenate(runs)


def _folds(
    keys: Sequence[bytes], where: NDArray[np.int64], runs: NDArray[np.uint64], folds: int, seed: int
) -> NDArray[np.int64]:
    """A fold per text; texts linked by near-duplicates share one, so that no fold is judged by what it copies."""
    with needs_extra("linear"):
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

    _, run = np.unique(runs, return_inverse=True)
    n = len(keys)
    links = coo_array((np.ones(len(where), np.int8), (where, run + n)), shape=(n + len(runs), n + len(runs)))
    group = connected_components(links, directed=False)[1][:n]
    leader: dict[int, bytes] = {}
    for member, key in zip(group.tolist(), keys, strict=True):
        leader.setdefault(member, key)  # keys are sorted: the smallest leads
    return np.array([_draw(leader[member], seed) % folds for member in group.tolist()], np.int64)


def _draw(key: bytes, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(seed.to_bytes(8, "big", signed=True) + key).digest()[:8], "big")


def overlap_with(name: str, runs: NDArray[np.uint64], benchmark: Sequence[str]) -> Overlap:
    """How much of a benchmark the chosen rows still resemble."""
    where, hashes = _word_runs(benchmark)
    near = len(np.unique(where[np.isin(hashes, runs)]))
    return Overlap(name, len(benchmark), near, hashlib.sha256(b"".join(map(_key, benchmark))).hexdigest())
