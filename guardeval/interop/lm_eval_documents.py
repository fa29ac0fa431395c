"""Rows as lm-eval takes them: a table with one type a column."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["columns_of"]


def columns_of(documents: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Column → cells. Columns that mix kinds, at whatever depth, or hold integers beyond 64 bits become JSON text, since a
    table has one type a column.
    """
    rows = list(documents)
    columns = dict.fromkeys(k for row in rows for k in row)
    return {c: _one_kind([row.get(c) for row in rows]) for c in columns}


def _one_kind(cells: Sequence[Any]) -> list[Any]:
    kinds = {type(c) for c in cells if c is not None}
    if (len(kinds) <= 1 or kinds == {int, float}) and _is_column(cells):
        return list(cells)
    return [None if c is None else _text(c) for c in cells]


def _is_column(cells: Sequence[Any]) -> bool:
    """Whether a table takes them: what is in lists and objects must be of one kind, too."""
    import pyarrow  # type: ignore[import-untyped]

    try:
        pyarrow.array(cells)
    except (pyarrow.ArrowException, OverflowError, UnicodeError):
        return False
    return True


def _text(cell: Any) -> str:
    text = cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()
