"""Rows as lm-eval takes them: a table with one type a column."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["columns_of"]


def columns_of(documents: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Column → cells. Columns that mix kinds become JSON text, since a table has one type a column."""
    rows = list(documents)
    columns = dict.fromkeys(k for row in rows for k in row)
    return {c: _one_kind([row.get(c) for row in rows]) for c in columns}


def _one_kind(cells: Sequence[Any]) -> list[Any]:
    kinds = {type(c) for c in cells if c is not None}
    if len(kinds) <= 1 or kinds == {int, float}:
        return list(cells)
    return [None if c is None else c if isinstance(c, str) else json.dumps(c, ensure_ascii=False) for c in cells]
