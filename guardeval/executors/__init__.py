"""Where the work of a run is done: a table of executors by name, and what each must be able to do."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from guardeval.errors import ConfigError, did_you_mean
from guardeval.registry import build

if TYPE_CHECKING:
    from guardeval.pipeline import Plan
    from guardeval.running import Running

__all__ = ["EXECUTORS", "Executor", "Hands", "check_executor", "make_executor"]

EXECUTORS: Mapping[str, str] = {
    "local": "guardeval.executors.local:Local",
    "ray": "guardeval.executors.ray:Ray",
}


class Hands(Protocol):
    """Who does the work, ready for it."""

    def ask_all(self, run: Running) -> None:
        """Judge all samples of the run's tasks, and put them and what was heard beside them into ``run``.

        Sets ``run.status`` where the money limit ended it. Raises KeyboardInterrupt once what was heard is in ``run``, and the
        :class:`~guardeval.errors.GuardevalError` that ends the run with nothing kept.
        """


class Executor(Protocol):
    """The constructor is the configuration (``-E``): no work and no connection in it."""

    def open(self, plan: Plan) -> AbstractContextManager[Hands]:
        """Hands for all runs of a plan, and their end. Raises where there are none to be had."""


def check_executor(name: str) -> str:
    """The name itself. Raises :class:`ConfigError` with the nearest known one."""
    if name not in EXECUTORS:
        raise ConfigError(f"--executor {name!r} is unknown{did_you_mean(name, EXECUTORS)}")
    return name


def make_executor(name: str, options: Mapping[str, Any]) -> Executor:
    """Raises :class:`ConfigError` that names an unknown option, or one that cannot be."""
    module, _, cls = EXECUTORS[check_executor(name)].partition(":")
    made: Executor = build(getattr(importlib.import_module(module), cls), options, f"executor {name!r}")
    return made
