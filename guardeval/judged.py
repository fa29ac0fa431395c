"""Judged samples as columns: what scorers read, in some 100 bytes a sample however long the texts are.

A :class:`Judgements` is also a sequence of :class:`~guardeval.data.Judged`, read back from the run folder one at a time,
so a scorer may loop over samples; the shipped ones use the columns. Columns of many samples lie in files (see
:mod:`guardeval.spill`): memory does not grow with them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, overload

from guardeval.data import Judged, Outcome, Target, Verdict, Voters
from guardeval.spill import MOST, Spill, Texts, TextSpill, mapped
from guardeval.values import value

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MOST_POLICIES", "OUTCOMES", "Collector", "Judgements", "Packed", "cluster_of"]

OUTCOMES = (Outcome.PARSED, Outcome.UNPARSEABLE, Outcome.TRUNCATED, Outcome.FAILED)  # a code is an index into it
_CODE = {outcome: code for code, outcome in enumerate(OUTCOMES)}
MOST_POLICIES = 63  # bits of a column that are no sign
_NAN = float("nan")
_EMPTY = hashlib.blake2b(digest_size=8)
_MOST_SETS = 4096
_SIDE_BY_SIDE = (Voters.MODELS, Voters.DRAWS)

# column → code of its type, as the struct module and numpy name it
_COLUMNS: Mapping[str, str] = {
    "row": "q",  # row number in the source
    "gold": "b",  # 1 positive, 0 negative, -1 unlabelled
    "label": "b",  # 1 positive, 0 negative, -1 no verdict
    "outcome": "b",  # index into OUTCOMES
    "score": "d",  # P(positive), nan where there is none
    "gold_policies": "q",  # bit i = policy_names[i] violated
    "known_policies": "q",  # bit i = the row's labels settle policy i
    "policies": "q",  # bit i = the guard says policy i is violated
    "cluster": "q",  # equal for equal prompts
    "paper": "b",  # label as the paper's script reads it: 1, 0, -1 unreadable, -2 no such reading
    "requests": "i",
    "cached": "i",
    "steps": "i",  # reasoning steps
    "latency": "d",  # seconds, nan unknown
    "tokens_in": "d",  # nan unknown
    "tokens_out": "d",  # nan unknown
    "cost": "d",  # US dollars, nan unknown
    "members": "i",  # models or draws that were asked to vote, 0 where none was
    "heard": "i",  # of these, with a verdict
    "votes_for": "i",  # of these, positive
    "seen": "b",  # 1: a model that judged it was trained on its prompt
}
_STRUCT = struct.Struct("<" + "".join(_COLUMNS.values()))
_PACK = _STRUCT.pack
_CHUNK = 1 << 16  # samples turned into columns at a time
_NUMPY = {name: {"q": "i8", "i": "i4", "b": "i1", "d": "f8"}[code] for name, code in _COLUMNS.items()}


def cluster_of(prompt: str) -> int:
    """A signed 64-bit number that equal prompts share, the same on every machine."""
    state = _EMPTY.copy()
    state.update(prompt.encode("utf-8", "surrogatepass"))
    return int.from_bytes(state.digest(), "little", signed=True)


class Judgements(Sequence[Judged]):
    """Judged samples of one task, in source order. Columns (numpy, one value a sample) are attributes: see ``_COLUMNS``.

    ``policy_names`` gives the bits of the policy columns. ``read`` returns sample ``i``, usually from the run folder;
    ``stream`` all of them in order, where that is quicker than one by one.
    """

    def __init__(
        self,
        target: Target,
        policy_names: Sequence[str],
        columns: Mapping[str, NDArray[Any]],
        ids: Sequence[str],
        categories: Sequence[str | None],
        read: Callable[[int], Judged],
        stream: Callable[[], Iterator[Judged]] | None = None,
    ) -> None:
        self.target = target
        self.policy_names = tuple(policy_names)
        self.ids = ids
        self.categories = categories
        self._columns = columns
        self._read = read
        self._stream = stream

    if TYPE_CHECKING:
        row: NDArray[np.int64]
        gold: NDArray[np.int8]
        label: NDArray[np.int8]
        outcome: NDArray[np.int8]
        score: NDArray[np.float64]
        gold_policies: NDArray[np.int64]
        known_policies: NDArray[np.int64]
        policies: NDArray[np.int64]
        cluster: NDArray[np.int64]
        paper: NDArray[np.int8]
        requests: NDArray[np.int32]
        cached: NDArray[np.int32]
        steps: NDArray[np.int32]
        latency: NDArray[np.float64]
        tokens_in: NDArray[np.float64]
        tokens_out: NDArray[np.float64]
        cost: NDArray[np.float64]
        members: NDArray[np.int32]
        heard: NDArray[np.int32]
        votes_for: NDArray[np.int32]
        seen: NDArray[np.int8]
    else:

        def __getattr__(self, name: str) -> Any:
            if name in _COLUMNS:
                return self._columns[name]
            raise AttributeError(name)

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, i: int) -> Judged: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Judged]: ...
    def __getitem__(self, i: int | slice) -> Judged | Sequence[Judged]:
        if isinstance(i, slice):
            return [self._read(j) for j in range(*i.indices(len(self)))]
        return self._read(range(len(self))[i])

    def __iter__(self) -> Iterator[Judged]:
        return self._stream() if self._stream is not None else map(self._read, range(len(self)))

    def take(self, at: Sequence[int] | NDArray[np.int64]) -> Judgements:
        """The samples at these positions, in this order."""
        import numpy as np

        chosen = np.asarray(at, np.int64)
        places: list[int] = chosen.tolist()
        columns = {name: column[chosen] for name, column in self._columns.items()}
        ids, categories = [self.ids[i] for i in places], [self.categories[i] for i in places]
        return Judgements(self.target, self.policy_names, columns, ids, categories, lambda i: self._read(places[i]))

    @classmethod
    def of(
        cls, judged: Sequence[Judged], target: Target | None = None, policy_names: Sequence[str] | None = None
    ) -> Judgements:
        """From samples in memory: small runs, tests, other tools."""
        from guardeval.policies import POLICIES

        if target is None:
            if not judged:
                raise ValueError("no sample to take the target from: name it")
            target = judged[0].verdict.target
        collector = Collector(target, POLICIES if policy_names is None else policy_names)
        for one in judged:
            collector.add(one)
        return collector.judgements(list(judged).__getitem__)


@value
class Packed:
    """Columns of some samples as bytes, with their ids and categories: what crosses from one process to another."""

    rows: bytes
    ids: list[str]
    categories: list[str | None]

    def in_order(self, order: Sequence[int]) -> Packed:
        """The same samples, the ``order[i]``-th at place i."""
        size = _STRUCT.size
        rows = b"".join(self.rows[i * size : (i + 1) * size] for i in order)
        return Packed(rows, [self.ids[i] for i in order], [self.categories[i] for i in order])


class Collector:
    """Takes judged samples one at a time, in any order, and keeps their columns: beyond ``most`` bytes in files without a
    name in ``folder`` (None: the system's for passing files)."""

    def __init__(self, target: Target, policy_names: Sequence[str], folder: Path | None = None, most: int = MOST) -> None:
        self.target = target
        self.policy_names = tuple(policy_names)
        if len(self.policy_names) > MOST_POLICIES:
            raise ValueError(f"{len(self.policy_names)} policies: at most {MOST_POLICIES} fit one run")
        self._bit = {name: 1 << i for i, name in enumerate(self.policy_names)}
        self._known_bits: dict[frozenset[str], int] = {}  # a run has a handful of different sets
        self._folder = folder
        self._rows = Spill(folder, most)  # packed: 102 bytes a sample
        self._ids = TextSpill(folder, most)
        self._categories = TextSpill(folder, most)

    def __len__(self) -> int:
        return len(self._ids)

    def _bits(self, names: frozenset[str]) -> int:
        bits = self._known_bits.get(names)
        if bits is None:
            bits = sum(self._bit[n] for n in names if n in self._bit)
            if len(self._known_bits) < _MOST_SETS:
                self._known_bits[names] = bits
        return bits

    def add(self, judged: Judged, cluster: int | None = None) -> None:
        sample, verdict, usage = judged.sample, judged.verdict, judged.usage
        gold, label, score, readings = sample.labels.get(self.target), verdict.label, verdict.score, verdict.readings
        paper = -2
        if readings is not None and "paper" in readings:
            paper = -1 if readings["paper"] is None else int(readings["paper"])
        packed = _PACK(
            sample.index,
            -1 if gold is None else gold,
            -1 if label is None else label,
            _CODE[verdict.outcome],
            _NAN if score is None else score,
            self._bits(sample.policies),
            self._bits(sample.known_policies),
            self._bits(verdict.policies),
            cluster_of(sample.prompt) if cluster is None else cluster,
            paper,
            usage.requests,
            usage.cached,
            len(verdict.steps),
            _NAN if usage.latency is None else usage.latency,
            _NAN if usage.tokens_in is None else usage.tokens_in,
            _NAN if usage.tokens_out is None else usage.tokens_out,
            _NAN if usage.cost is None else usage.cost,
            *(_counted(verdict) if verdict.votes else _NO_VOTES),
            judged.seen,
        )
        self._rows.write(packed)
        self._ids.append(sample.id)
        self._categories.append(sample.category)

    def packed(self) -> Packed:
        """All samples in the order in which they came, for :meth:`extend` of another process's collector."""
        ids = [i for i in self._ids.texts() if i is not None]
        return Packed(bytes(self._rows.buffer()), ids, list(self._categories.texts()))

    def extend(self, samples: Packed) -> None:
        self._rows.write(samples.rows)
        self._ids.extend(samples.ids)
        self._categories.extend(samples.categories)

    def judgements(self, read: Callable[[int], Judged], stream: Callable[[], Iterator[Judged]] | None = None) -> Judgements:
        """All samples in source order; ``read(i)`` must return the i-th in that order, ``stream()`` all in that order."""
        columns = self._split()
        ids, categories, rows = self._ids.texts(), self._categories.texts(), columns["row"]
        if (rows[1:] < rows[:-1]).any():
            order = rows.argsort(kind="stable")
            columns = {name: self._placed(column[order]) for name, column in columns.items()}
            ids, categories = _in_order(ids, order), _in_order(categories, order)
        known = cast("Sequence[str]", ids)  # every sample has one
        return Judgements(self.target, self.policy_names, columns, known, categories, read, stream)

    def _split(self) -> dict[str, NDArray[Any]]:
        """Packed rows → one array a column, some at a time."""
        import numpy as np

        dtype = np.dtype([(name, f"<{code}") for name, code in _NUMPY.items()])
        n = len(self._rows) // _STRUCT.size
        table = np.frombuffer(self._rows.buffer(), dtype, n) if n else np.zeros(0, dtype)
        if not self._rows.on_disk:
            return {name: np.ascontiguousarray(table[name]) for name in _COLUMNS}
        columns = {name: mapped(n, code, self._folder) for name, code in _NUMPY.items()}
        for start in range(0, n, _CHUNK):
            part = table[start : start + _CHUNK]
            for name, column in columns.items():
                column[start : start + len(part)] = part[name]
        return columns

    def _placed(self, column: NDArray[Any]) -> NDArray[Any]:
        """On disk, where the others are."""
        if not self._rows.on_disk:
            return column
        out = mapped(len(column), column.dtype, self._folder)
        out[:] = column
        return out


def _in_order(texts: Sequence[str | None], order: NDArray[np.int64]) -> Sequence[str | None]:
    return texts.in_order(order) if isinstance(texts, Texts) else [texts[i] for i in order.tolist()]


_NO_VOTES = (0, 0, 0)


def _counted(verdict: Verdict) -> tuple[int, int, int]:
    """Voters asked, heard, and for the positive class, where they answered one question side by side."""
    if verdict.voters not in _SIDE_BY_SIDE:
        return _NO_VOTES
    labels = [vote.label for vote in verdict.votes]
    return len(labels), len(labels) - labels.count(None), labels.count(True)
