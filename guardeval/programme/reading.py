"""Small readers of experiment files: each names file and line of what it cannot read."""

from __future__ import annotations

from typing import Any

from guardeval.errors import ConfigError
from guardeval.programme.references import Reference
from guardeval.yaml_files import Spec

__all__ = ["items", "needed", "options", "reference", "references", "share", "whole"]


def items(spec: Spec, key: str) -> list[Spec]:
    """A list of maps, each to be read."""
    given = spec.values.get(key)
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(i, dict) for i in given):
        raise spec.error(f"`{key}` is no list of maps", key)
    return [Spec(spec.file, (*spec.keys, key, i), item) for i, item in enumerate(given)]


def needed(spec: Spec, key: str) -> str:
    text = spec.text(key)
    if not text:
        raise spec.error(f"`{key}` is missing", *([key] if key in spec else []))
    return text


def whole(spec: Spec, key: str, default: int | None = None) -> int:
    value = spec.values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise spec.error(f"`{key}` is {value!r}; a whole number is wanted", key)
    return value


def share(spec: Spec, key: str, unit: float) -> float:
    value = spec.values.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value * unit <= 1:
        raise spec.error(f"`{key}` is {value!r}; a number from 0 to {1 / unit:g} is wanted", key)
    return float(value) * unit


def options(spec: Spec) -> dict[str, Any]:
    return {str(k): v for k, v in spec.spec("solver_args").values.items()}


def reference(spec: Spec, key: str, own: int) -> Reference:
    try:
        return Reference.read(needed(spec, key), own)
    except ConfigError as e:
        raise spec.error(str(e), key) from e


def references(spec: Spec, key: str, own: int) -> tuple[Reference, ...]:
    try:
        found = tuple(Reference.read(t, own) for t in spec.texts(key))
    except ConfigError as e:
        raise spec.error(str(e), key) from e
    if not found:
        raise spec.error(f"`{key}` is missing", *([key] if key in spec else []))
    return found
