"""Gates: does a run keep what a baseline promises? Decisions here, their rendering for people and machines beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guardeval.gates.baseline import write_baseline
    from guardeval.gates.gate import check
    from guardeval.gates.settings import GateSettings

__all__ = ["GateSettings", "check", "write_baseline"]

_HOMES = {"GateSettings": "settings", "check": "gate", "write_baseline": "baseline"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # imported when used: values of a report need no numpy
        from importlib import import_module

        return getattr(import_module(f"guardeval.gates.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'guardeval.gates' has no attribute {name!r}")
