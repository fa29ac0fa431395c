"""The experiment programme: YAML files that name arms and expectations, run as plain runs, combinations and comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guardeval.programme.programme import run_experiments

__all__ = ["run_experiments"]


def __getattr__(name: str) -> Any:
    if name == "run_experiments":  # imported when used: `guardeval experiment list` needs none of it
        from guardeval.programme.programme import run_experiments

        return run_experiments
    raise AttributeError(f"module 'guardeval.programme' has no attribute {name!r}")
