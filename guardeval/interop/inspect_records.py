"""Samples and verdicts as the JSON that Inspect keeps beside its own: nothing is lost on the way there and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any

from guardeval.chat_api import sendable
from guardeval.data import Outcome, Sample, Step, Target, Usage, Verdict, Vote, Voters
from guardeval.errors import DataError

__all__ = ["KEY", "plain", "sample_of", "usage_of_record", "verdict_of"]

KEY = "guardeval"  # under which everything of ours stands in Inspect's metadata and store


def plain(value: Any) -> Any:
    """A value of ours as JSON: dataclasses as objects, sets sorted; what rows may hold beside JSON (dates, bytes) as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return sendable(value)
    if isinstance(value, Mapping):
        return {sendable(str(plain(k))): plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.hex() if isinstance(value, bytes) else str(value)


def sample_of(record: Mapping[str, Any]) -> Sample:
    """The sample that ``plain`` made the record of. Raises :class:`DataError` for what is no such record."""
    try:
        own = dict(record)
        own["labels"] = {Target(k): bool(v) for k, v in own["labels"].items()}
        own["policies"], own["known_policies"] = frozenset(own["policies"]), frozenset(own["known_policies"])
        own["history"] = tuple((role, content) for role, content in own.get("history", ()))
        return Sample(**own)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise _broken("sample", e) from e


def verdict_of(record: Mapping[str, Any]) -> Verdict:
    """The verdict that ``plain`` made the record of. Raises :class:`DataError` for what is no such record."""
    try:
        own = dict(record)
        own["target"], own["voters"] = Target(own["target"]), own["voters"] and Voters(own["voters"])
        own["votes"], own["notes"] = tuple(Vote(**_vote(v)) for v in own["votes"]), tuple(own["notes"])
        return Verdict(**_said(own))
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise _broken("verdict", e) from e


def usage_of_record(record: Mapping[str, Any] | None) -> Usage:
    """What a sample took; nothing known where there is no record."""
    return Usage() if record is None else Usage(**record)


def _vote(record: Mapping[str, Any]) -> dict[str, Any]:
    return _said(dict(record)) | {"usage": record["usage"] and Usage(**record["usage"])}


def _said(own: dict[str, Any]) -> dict[str, Any]:
    """What verdicts and votes have in common."""
    steps = tuple(Step(**s) for s in own["steps"])
    codes = tuple(own.get("codes", ()))
    return own | {"outcome": Outcome(own["outcome"]), "policies": frozenset(own["policies"]), "steps": steps, "codes": codes}


def _broken(what: str, error: Exception) -> DataError:
    return DataError(f"no {what} of guardeval's under {KEY!r} in the Inspect log ({type(error).__name__}: {error})")
