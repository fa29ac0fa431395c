"""Verdicts of one task in a few bytes a sample: enough to pair them with another run's, and neither text nor ids in them.

Columns after each other, compressed, as base64: 8 bytes that stand for the task and sample id, 4 for what the row holds (gold
label, policies, prompt, category), a code of label, outcome and whether the model had seen it, policy bits, and the score in
1/254ths or none. Rows are sorted by their first column, so that their order tells nothing either.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from guardeval.errors import DataError

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = ["Verdicts", "pack", "unpack"]

_NO_SCORE, _STEPS = 255, 254
_FACTS = struct.Struct("<bqqq")
_MOST = 50_000_000  # samples of a task; more are no baseline


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """n samples, ascending by ``ids``. ``facts`` are equal where two runs saw the same row; other columns as in Judgements."""

    ids: NDArray[np.uint64]
    facts: NDArray[np.uint32]
    label: NDArray[np.int8]
    outcome: NDArray[np.int8]
    seen: NDArray[np.int8]
    policies: NDArray[np.int64]
    score: NDArray[np.float64]  # nan where there is none

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, judged: Judgements, task: str) -> Verdicts:
        """Of the labelled samples. Raises :class:`DataError` for an id that stands twice."""
        labelled = np.flatnonzero(judged.gold >= 0)
        ids = np.array([_id(task, judged.ids[i]) for i in labelled.tolist()], np.uint64)
        order = np.argsort(ids, kind="stable")
        at, ids = labelled[order], ids[order]
        twice = np.flatnonzero(ids[1:] == ids[:-1])
        if len(twice):
            raise DataError(
                f"{task}: sample id {judged.ids[int(at[twice[0]])]!r} stands twice: ids must be unique to pair samples"
            )
        facts = np.array([_facts(judged, i) for i in at.tolist()], np.uint32)
        score = np.round(judged.score[at] * _STEPS) / _STEPS
        return cls(ids, facts, judged.label[at], judged.outcome[at], judged.seen[at], judged.policies[at], score)

    def positions(self, judged: Judgements, task: str) -> NDArray[np.int64]:
        """Where each labelled sample of these judgements stands here, -1 where it does not; (n of all samples,)."""
        out = np.full(len(judged), -1, np.int64)
        for i in np.flatnonzero(judged.gold >= 0).tolist():
            wanted = np.uint64(_id(task, judged.ids[i]))
            place = int(np.searchsorted(self.ids, wanted))
            if place < len(self) and self.ids[place] == wanted:
                out[i] = place
        return out


def _id(task: str, sample_id: str) -> int:
    text = f"{task}\0{sample_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _facts(judged: Judgements, i: int) -> int:
    said = _FACTS.pack(judged.gold[i], judged.gold_policies[i], judged.known_policies[i], judged.cluster[i])
    category = (judged.categories[i] or "").encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(said + category, digest_size=4).digest(), "little")


def pack(verdicts: Verdicts, policies: int) -> str:
    """``policies``: how many there are, at most 63."""
    code = (verdicts.label + 1) | (verdicts.outcome << 2) | (verdicts.seen << 4)
    score = np.where(np.isnan(verdicts.score), _NO_SCORE, np.round(np.nan_to_num(verdicts.score) * _STEPS))
    bits = verdicts.policies.astype("<u8").view(np.uint8).reshape(-1, 8)[:, : _width(policies)]
    columns: list[NDArray[Any]] = [verdicts.ids.astype("<u8"), verdicts.facts.astype("<u4"), code.astype(np.uint8)]
    raw = b"".join(c.tobytes() for c in [*columns, np.ascontiguousarray(bits.T), score.astype(np.uint8)])
    return base64.b64encode(zlib.compress(raw, 9)).decode("ascii")


def unpack(text: str, samples: int, policies: int, where: str) -> Verdicts:
    """What :func:`pack` wrote of so many samples. Raises :class:`DataError` that names ``where`` for anything else."""
    width = _width(policies)
    size = samples * (14 + width)
    problem = DataError(f"{where}: its verdicts are damaged; write the baseline again with --write_baseline")
    if not 0 <= samples <= _MOST:
        raise problem
    try:
        stream = zlib.decompressobj()
        raw = stream.decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, ValueError, zlib.error):
        raise problem from None
    if len(raw) != size or not stream.eof:
        raise problem
    ends = np.cumsum([0, 8 * samples, 4 * samples, samples, width * samples, samples]).tolist()
    part = [raw[a:b] for a, b in pairwise(ends)]
    ids, facts, code = np.frombuffer(part[0], "<u8"), np.frombuffer(part[1], "<u4"), np.frombuffer(part[2], np.uint8)
    bits = np.zeros((samples, 8), np.uint8)
    bits[:, :width] = np.frombuffer(part[3], np.uint8).reshape(width, samples).T
    score = np.frombuffer(part[4], np.uint8)
    label, outcome, seen = (code & 3).astype(np.int8) - 1, (code >> 2 & 3).astype(np.int8), (code >> 4).astype(np.int8)
    parsed = outcome == 0
    if (label > 1).any() or (seen > 1).any() or ((label >= 0) != parsed).any() or (ids[1:] <= ids[:-1]).any():
        raise problem
    values = np.where(score == _NO_SCORE, np.nan, score / _STEPS)
    return Verdicts(ids.astype(np.uint64), facts.astype(np.uint32), label.astype(np.int8), outcome, seen, _bits(bits), values)


def _bits(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.ascontiguousarray(bits).view("<u8").ravel().astype(np.int64)


def _width(policies: int) -> int:
    return -(-policies // 8)
