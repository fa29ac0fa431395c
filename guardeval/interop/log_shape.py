"""The shape of what guardeval itself left in another tool's log, checked once on reading: the log may come from anybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guardeval.data import Target
from guardeval.errors import DataError
from guardeval.judged import MOST_POLICIES
from guardeval.run_shape import check_record, is_wanted

__all__ = ["checked", "ours_of", "run_of"]

_IN_RECORD = ("policies", "tasks", "groups", "solver", "model", "head")
_IN_HEAD = ("configs", "versions", "n-shot", "n-samples", "config", "status")
_IN_CONFIG = ("model", "solver", "policies")
_IN_TASK = ("title", "version", "data")
_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


def run_of(own: Any, place: str) -> dict[str, Any] | None:
    """The run that a log was exported from, as ``own`` states it; None where it is of no run.

    Raises :class:`DataError` with ``place`` and the key for a record that no run wrote.
    """
    if not isinstance(own, dict) or "record" not in own:
        return None
    run = checked(own["record"], dict, f"{place}.record")
    record = checked(run.get("record"), dict, f"{place}.record.record")
    try:
        check_record(record)
    except ValueError as e:
        raise DataError(f"{place}.record.{e}") from e
    inside = f"{place}.record.record"
    _needs(record, _IN_RECORD, inside)
    _needs(record["head"], _IN_HEAD, f"{inside}.head")
    _needs(record["head"]["config"], _IN_CONFIG, f"{inside}.head.config")
    for part in ("solver", "model"):
        _needs(record[part], ("name",), f"{inside}.{part}")
    for name, task in record["tasks"].items():
        _needs(task, _IN_TASK, f"{inside}.tasks.{name}")
        if task["target"] not in [*Target]:
            raise DataError(f"{inside}.tasks.{name}.target: unknown target {task['target']!r}; known: {', '.join(Target)}")
        for section in ("configs", "versions", "n-shot", "n-samples"):
            _needs(record["head"][section], (name,), f"{inside}.head.{section}")
    return own


def ours_of(own: Any, place: str) -> dict[str, Any] | None:
    """What our task, run inside the other tool, says of its rows; None where it is none of ours."""
    if not isinstance(own, dict) or "policy_names" not in own or "record" in own:
        return None
    names = checked(own["policy_names"], list, f"{place}.policy_names")
    if len(names) > MOST_POLICIES:
        raise DataError(f"{place}.policy_names: {len(names)} names; at most {MOST_POLICIES} are wanted")
    for name in names:
        checked(name, str, f"{place}.policy_names")
    for key in ("task", "licence", "notice"):
        if own.get(key) is not None:
            checked(own[key], str, f"{place}.{key}")
    for key in ("data", "subset"):
        if own.get(key) is not None:
            checked(own[key], dict, f"{place}.{key}")
    for key in ("kind", "source"):
        if own.get("data"):
            checked(own["data"].get(key), str, f"{place}.data.{key}")
    if own.get("subset"):
        checked(own["subset"].get("of"), int, f"{place}.subset.of")
    return own


def checked(value: Any, kind: type, place: str) -> Any:
    """Raises :class:`DataError` for a value that is of another kind."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{place}: {is_wanted(value, _KINDS[kind])}")
    return value


def _needs(part: Mapping[str, Any], keys: tuple[str, ...], place: str) -> None:
    for key in keys:
        if key not in part:
            raise DataError(f"{place}: has no {key!r}")
