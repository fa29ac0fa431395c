"""An answer that is one JSON object, read strictly: a repeated key or text beside it is no answer."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["json_answer"]

_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
_MOST = 65536  # characters; what is longer is no verdict


def json_answer(text: str) -> tuple[dict[str, Any] | None, str]:
    """The object, and an empty text; or None and why there is none. A code fence round it is put up with."""
    fenced = _FENCE.fullmatch(text) if len(text) <= _MOST else None
    body = (fenced[1] if fenced is not None else text).strip()
    if not body or len(body) > _MOST:
        return None, "an empty answer" if not body else "the answer is no short JSON object"
    try:
        found = json.loads(body, object_pairs_hook=_once)
    except _Repeated as e:
        return None, f"the answer gives {e} twice"
    except (ValueError, RecursionError):
        return None, "the answer is no JSON object"
    return (found, "") if isinstance(found, dict) else (None, "the answer is no JSON object")


class _Repeated(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise _Repeated(repr(key))
        out[key] = value
    return out
