"""Conversations in rows: a list of messages read into what is judged, what was answered, and what came before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from guardeval.errors import DataError

__all__ = ["ROLES", "Spoken", "history_of", "spoken"]

_ROLE = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "agent": "assistant",
    "system": "system",
}
ROLES = ("user", "assistant", "system")


class Spoken(NamedTuple):
    """A conversation with its last request taken out."""

    prompt: str
    response: str | None
    history: tuple[tuple[str, str], ...]


def spoken(value: Any, column: str) -> Spoken:
    """``[{"role": …, "content": …}, …]``, or the same as JSON: the last user turn is the prompt, an assistant turn after it
    the response. Raises :class:`DataError` where there is no user turn, or anything after these two.
    """
    turns = history_of(value, column)
    at = max((i for i, (role, _) in enumerate(turns) if role == "user"), default=None)
    if at is None:
        raise DataError(f"column {column!r} holds a conversation without a user's turn")
    after = turns[at + 1 :]
    if len(after) > 1 or any(role != "assistant" for role, _ in after):
        said = ", ".join(role for role, _ in after)
        raise DataError(f"column {column!r}: after the last user's turn one of the assistant may come, not {said}")
    return Spoken(turns[at][1], after[0][1] if after else None, turns[:at])


def history_of(value: Any, column: str) -> tuple[tuple[str, str], ...]:
    """Turns as (role, content); none for an empty cell. ``human`` and ``from``/``value`` keys are read too."""
    if isinstance(value, str):
        if not value.strip():
            return ()
        try:
            value = json.loads(value)
        except ValueError:
            raise DataError(f"column {column!r} holds text that is no JSON list of messages") from None
    if value is None:
        return ()
    if not hasattr(value, "__iter__") or isinstance(value, Mapping):
        raise DataError(f"column {column!r} holds {type(value).__name__}; a list of messages (role, content) is wanted")
    return tuple(_turn(each, column) for each in value)


def _turn(message: Any, column: str) -> tuple[str, str]:
    if not isinstance(message, Mapping):
        raise DataError(f"column {column!r}: a message is {type(message).__name__}; role and content are wanted")
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    if role not in _ROLE or not isinstance(content, str):
        raise DataError(f"column {column!r}: a message has role {role!r}; {', '.join(ROLES)} with a text as content are wanted")
    return _ROLE[role], content
