"""What mining adds to a row, and how it is read back: the upstream row under its own columns, and one key ``guardeval``.

The key keeps the sample's id and row number of the source, so that a run on mined rows pairs with a run on all of them, and
says by content which data that source was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from guardeval.data import Sample, Target
from guardeval.errors import DataError

__all__ = ["KEY", "data_text", "mined_from", "mined_reader", "own_of", "source_of", "unless_mined", "upstream"]

KEY = "guardeval"
Read = Callable[[Mapping[str, Any], int], Sample | None]


def own_of(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What mining wrote into this row; None for any other row, whatever it has under that key."""
    own = row.get(KEY)
    if not isinstance(own, dict):
        return None
    id_, index = own.get("id"), own.get("index")
    return own if isinstance(id_, str) and type(index) is int and index >= 0 else None


def upstream(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as it stands upstream: its hash is the original's."""
    return {k: v for k, v in row.items() if k != KEY}


def source_of(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """The data that these rows were mined from, by content, as the first of them says; None where they were not mined."""
    first = next(iter(rows), None)
    own = None if first is None else own_of(first)
    return None if own is None else mined_from(own)


def mined_from(own: Mapping[str, Any]) -> str | None:
    """Raises :class:`DataError` for a source that is no text."""
    source = own.get("source")
    if source is not None and not isinstance(source, str):
        raise DataError("`guardeval.source` is not what mining writes: a text that names the data was expected")
    return source


def mined_reader(reads: Mapping[bool, Sequence[Read]], target: Target, source: str | None, by_file: bool) -> Read:
    """A reader of mined rows: id and row number are those of the source, whatever stands in its place here.

    ``reads`` by the label that a file may stand for (``by_file``: its name is the label), one function for each sample that
    a row of the source held.
    Raises :class:`DataError` for a row that was not mined, or mined from other data than ``source``, or whose gold label
    is not the one it was mined with.
    """

    def read(row: Mapping[str, Any], _number: int) -> Sample | None:
        own = own_of(row)
        if own is None or mined_from(own) != source:
            raise DataError(
                "rows before this one were mined, and this one was not, or from other data: keep them in files of their own"
            )
        gold, index = own.get("gold"), int(own["index"])
        if by_file and not isinstance(gold, bool):
            raise DataError(
                f"sample {own['id']!r}: the file was its label, and `guardeval.gold` does not say which: mine from runs"
            )
        those = reads[gold is not False]
        sample = those[index % len(those)](upstream(row), index)
        if sample is None:
            return None
        if own.get("target") == target and sample.labels.get(target) is not gold:
            raise DataError(
                f"sample {own['id']!r} was mined as {_word(target, gold)} and its columns now say "
                f"{_word(target, sample.labels.get(target))}: mine again, or correct `guardeval.gold` too"
            )
        return replace(sample, id=str(own["id"]))

    return read


def _word(target: Target, label: Any) -> str:
    return target.word(label) if isinstance(label, bool) else "unlabelled"


def unless_mined(rows: Iterable[Mapping[str, Any]], cut: slice) -> Iterator[Mapping[str, Any]]:
    """The rows of a slice of a source; of mined rows, which were chosen already, all."""
    iterator = iter(rows)
    head = list(islice(iterator, 1))
    rest = chain(head, iterator)
    return rest if head and own_of(head[0]) is not None else islice(rest, cut.start, cut.stop)


def data_text(data: Mapping[str, Any]) -> str:
    """Data by content: the same bytes under another name are the same data, and what was mined from them is of them."""
    if data.get("mined_from"):
        return str(data["mined_from"])
    if data.get("files"):
        return f"{data['kind']} " + ", ".join(f"sha256 {f['sha256']}" for f in data["files"])
    return ", ".join(str(h) for h in data.get("hub", ())) or str(data.get("kind"))
