"""The shape of what a run folder says of itself: checked once when it is opened, for it may come from anybody, by any hand.

What is there must be of its kind; what an older version did not write may be missing. Each check raises
:class:`ValueError` with the place, as ``head.config.model_notices[0]``, what is there and what is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from guardeval.judged import MOST_POLICIES

__all__ = ["check_record", "check_results", "checked_name", "is_wanted"]

Check = Callable[[Any, str], None]


def check_record(record: Any) -> None:
    """``record`` of ``run.yaml``."""
    _RECORD(record, "record")
    _of_each_task(record["tasks"], record.get("head", {}), "record.head.")


def check_results(results: Any) -> None:
    """The results file."""
    _RESULTS(results, "")
    _of_each_task(results["results"], results)


def _of_each_task(tasks: Iterable[str], sections: Mapping[str, Any], place: str = "") -> None:
    for section in _BY_TASK:
        for task in tasks if section in sections else ():
            if task not in sections[section]:
                raise ValueError(f"{place}{section}: has nothing of task {task!r}")


def checked_name(name: Any) -> str:
    """A task or date that may be part of a file's name: it neither leads out of the folder nor steers a terminal."""
    if not isinstance(name, str) or not name or not name.isprintable() or "/" in name or "\\" in name:
        raise ValueError(f"{name!r} is no part of a file name")
    return name


def is_wanted(value: Any, wanted: str) -> str:
    """``'x'; a number is wanted``, however long the value is."""
    said = repr(value)
    return f"{said if len(said) <= 60 else said[:60] + '…'}; {wanted} is wanted"


def _wrong(value: Any, place: str, wanted: str) -> ValueError:
    return ValueError(f"{place.lstrip('.')}: {is_wanted(value, wanted)}")


def _kind(wanted: str, *types: type, none: bool = False) -> Check:
    def check(value: Any, place: str) -> None:
        if value is None and none:
            return
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise _wrong(value, place, wanted)

    return check


def _list(of: Check, most: int | None = None) -> Check:
    def check(value: Any, place: str) -> None:
        if not isinstance(value, list) or (most is not None and len(value) > most):
            raise _wrong(value, place, "a list" if most is None else f"a list of at most {most}")
        for i, one in enumerate(value):
            of(one, f"{place}[{i}]")

    return check


def _each(of: Check, none: bool = False) -> Check:
    """A mapping of names to one kind of thing."""

    def check(value: Any, place: str) -> None:
        if value is None and none:
            return
        if not isinstance(value, dict):
            raise _wrong(value, place, "a mapping")
        for name, one in value.items():
            _text(name, place)
            of(one, f"{place}.{name}")

    return check


def _fields(known: Mapping[str, Check], needed: tuple[str, ...] = (), none: bool = False) -> Check:
    def check(value: Any, place: str) -> None:
        if value is None and none:
            return
        if not isinstance(value, dict):
            raise _wrong(value, place, "a mapping")
        for name in needed:
            if name not in value:
                raise ValueError(f"{place.lstrip('.') or 'the file'}: has no {name!r}")
        for name, of in known.items():
            if name in value:
                of(value[name], f"{place}.{name}")

    return check


def _time(value: Any, place: str) -> None:
    _text(value, place)
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise _wrong(value, place, "a time as 2026-01-02T03:04:05") from None


def _metrics(value: Any, place: str) -> None:
    """Numbers, and pairs of them, under ``metric,accounting``; beside them counts."""
    _fields({"sample_len": _count, "outcomes": _each(_count), "coverage": _number_or_none, "contamination": _SEEN})(
        value, place
    )
    for name, one in value.items():
        _text(name, place)
        if "," in name:
            if isinstance(one, list) and len(one) != 2:
                raise _wrong(one, f"{place}.{name}", "a number or a (low, high) pair")
            (_list(_number_or_none) if isinstance(one, list) else _number_or_none)(one, f"{place}.{name}")


_text = _kind("a text", str)
_text_or_none = _kind("a text", str, none=True)
_number_or_none = _kind("a number", int, float, none=True)
_count = _kind("a whole number", int)
_flag = _kind("true or false", bool)
_mapping = _each(lambda *_: None, none=True)
_version = _kind("a version", str, int, float)
_SEEN = _fields({"clean": lambda value, place: _metrics(value, place)})

_DATA = _fields({
    "kind": _text,
    "source": _text,
    "files": _list(_fields({"name": _text, "sha256": _text}, ("sha256",))),
    "hub": _list(_mapping),
})  # fmt: skip
_CONFIG = _fields({
    "model": _text,
    "model_args": _mapping,
    "members": _list(_fields({"name": _text})),
    "model_notices": _list(_text),
    "exposure": _each(lambda *_: None),
    "solver": _text,
    "solver_args": _mapping,
    "solver_label": _text,
    "policies": _text_or_none,
    "limit": _number_or_none,
    "seed": _number_or_none,
})  # fmt: skip
_HEAD: Mapping[str, Check] = {
    "configs": _each(_fields({
        "target": _text, "data": _DATA, "subset": _mapping, "licence": _text_or_none, "marks": _list(_text),
        "contamination": _each(_mapping), "metadata": _mapping,
    }, ("target", "data"))),
    "versions": _each(_version),
    "n-shot": _each(_count),
    "n-samples": _each(_fields(
        dict.fromkeys(("original", "effective", "positive", "negative"), _count),
        ("original", "effective", "positive", "negative"),
    )),
    "config": _CONFIG,
    "status": _text,
    "notices": _list(_text),
    "usage": _each(_number_or_none),
    "date": _number_or_none,
    "start_time": _time,
    "end_time": _time,
    "total_evaluation_time_seconds": _number_or_none,
    "model_source": _text,
    "model_name": _text,
    "environment": _mapping,
    "executor": _mapping,
}  # fmt: skip
_BY_TASK = ("configs", "n-samples")
_RECORD = _fields({
    "date": _text,
    "status": _text,
    "policies": _list(_text, MOST_POLICIES),
    "policies_sha256": _text_or_none,
    "tasks": _each(_fields({
        "target": _text, "title": _text, "version": _version, "data": _DATA, "subset": _mapping, "samples": _count,
        "scorers": _each(_mapping, none=True),
    }, ("target",))),
    "groups": _list(_fields(
        {"name": _text, "title": _text, "tasks": _list(_text), "paper_sizes": _each(_count)},
        ("name", "title", "tasks", "paper_sizes"),
    )),
    "solver": _fields({"name": _text}),
    "model": _fields({"name": _text, "classifies": _flag}),
    "combined_from": _list(_text),
    "imported_from": _mapping,
    "head": _fields(_HEAD),
}, ("date", "policies", "tasks"))  # fmt: skip
_RESULTS = _fields({
    "results": _each(_metrics),
    "groups": _each(_metrics),
    "group_subtasks": _each(_list(_text)),
    "higher_is_better": _each(_each(_flag)),
    **_HEAD,
}, ("results",))  # fmt: skip
