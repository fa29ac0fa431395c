"""Which options of a model stand in its identity, found by trying: what can change an answer and is not in it gives the cached
answers of another configuration.

A model names in ``not_in_identity`` the options that change no answer: a key's variable, a time-out, how many requests at once.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from guardeval.registry import build, configuration

__all__ = ["identity_text", "options_left_out", "options_unknown"]


def identity_text(model: Any) -> str:
    """The identity as JSON. Raises TypeError or ValueError where it is none: an object, a number that is not finite."""
    return json.dumps(dict(model.identity), sort_keys=True, allow_nan=False)


def options_unknown(model: Any) -> list[str]:
    """Names in ``not_in_identity`` that are no options."""
    return sorted(set(_excepted(model)) - set(inspect.signature(type(model)).parameters))


def options_left_out(model: Any) -> dict[str, Any]:
    """Simple options (truth, number, choice, text) of which no other value changes the identity → the value that was tried.

    Not tried are those that ``not_in_identity`` or ``path_options`` names: a file is known by its content.
    """
    cls, told, before = type(model), configuration(model), identity_text(model)
    excepted = {*_excepted(model), *getattr(cls, "path_options", ())}
    hints = typing.get_type_hints(cls if is_dataclass(cls) else cls.__dict__.get("__init__", cls))
    out = {}
    for name in set(told) - excepted:
        tried = {value: _identity_with(cls, told, name, value) for value in _others(told[name], hints.get(name, str))}
        same = [value for value, after in tried.items() if after == before]
        if same and len(same) == sum(after is not None for after in tried.values()):
            out[name] = same[0]
    return dict(sorted(out.items()))


def _excepted(model: Any) -> tuple[str, ...]:
    return tuple(getattr(type(model), "not_in_identity", ()))


def _identity_with(cls: type, told: dict[str, Any], name: str, value: Any) -> str | None:
    """None for a value that cannot be: it is refused, means the same, or leads to nothing that could say what it is."""
    try:
        other = build(cls, {**told, name: value}, cls.__name__)
        return None if configuration(other) == told else identity_text(other)
    except Exception:  # noqa: BLE001 - a stranger's constructor and property, given a value that was made up
        return None


def _others(value: Any, hint: Any) -> Iterator[Any]:
    """Other values that such an option might have, the likeliest to be taken first."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for inner in typing.get_args(hint):
            if inner is not type(None):
                yield from _others(value, inner)
    elif typing.get_origin(hint) is typing.Literal:
        yield from (choice for choice in typing.get_args(hint) if choice != value)
    elif inspect.isclass(hint) and issubclass(hint, Enum):
        yield from (member.value for member in hint if member.value != value)
    elif hint is bool:
        yield from (other for other in (True, False) if other is not value)
    elif hint is int:
        yield from (value + 1, value - 1) if isinstance(value, int) else (1, 4096)
    elif hint is float:
        yield from (value + 1.0, value / 2) if isinstance(value, (int, float)) else (0.5, 1.0)
    elif hint is str:
        yield from (f"{value}-other", f"{value}2") if isinstance(value, str) and value else ("other",)
