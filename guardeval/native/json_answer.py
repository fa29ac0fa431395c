"""An answer that is one JSON object, read strictly: a repeated key or text beside it is no answer."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["json_answer", "value_at"]

_FENCE = "```"
_MOST = 65536  # characters; what is longer is no verdict


def json_answer(text: str) -> tuple[dict[str, Any] | None, str]:
    """The object, and an empty text; or None and why there is none. A code fence round it is put up with."""
    body = _unfenced(text.strip())
    if not body or len(body) > _MOST:
        return None, "an empty answer" if not body else "the answer is no short JSON object"
    try:
        found = json.loads(body, object_pairs_hook=_once)
    except _Repeated as e:
        return None, f"the answer gives {e} twice"
    except (ValueError, RecursionError):
        return None, "the answer is no JSON object"
    return (found, "") if isinstance(found, dict) else (None, "the answer is no JSON object")


def value_at(text: str, key: str) -> int:
    """Where the value of a key begins, behind its quotation mark; -1 where the key, nested ones included, is not there once."""
    found = [m.end() for m in re.finditer(rf'"{re.escape(key)}"[ \t\r\n]*:[ \t\r\n]*"?[ \t\r\n]*', text)]
    return found[0] if len(found) == 1 else -1


def _unfenced(body: str) -> str:
    head, line, rest = body.partition("\n")
    if line and head.rstrip().lower() in (_FENCE, f"{_FENCE}json") and rest.endswith(_FENCE):
        return rest.removesuffix(_FENCE).strip()
    return body


class _Repeated(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise _Repeated(repr(key))
        out[key] = value
    return out
