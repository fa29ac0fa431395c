"""What Inspect finds under its entry point: every task, solver and scorer of guardeval, as ``guardeval/<name>``.

Only names are read here. Plugins, rows and models are loaded when an evaluation asks for them.
"""

from __future__ import annotations

from guardeval.interop.inspect_package import known_as_installed
from guardeval.interop.inspect_scorers import register_scorer
from guardeval.interop.inspect_solvers import register_solver
from guardeval.interop.inspect_tasks import register_any_task, register_task
from guardeval.registry import Registry
from guardeval.task import TaskIndex

__all__ = ["SCORERS", "SOLVERS"]

known_as_installed("guardeval")
_REGISTRY = Registry()
SOLVERS = {name: register_solver(name) for name in _REGISTRY.entries("solvers")}
SCORERS = {name: register_scorer(name) for name in _REGISTRY.entries("scorers")}
for _entry in TaskIndex(registry=_REGISTRY).entries().values():
    if _entry.kind == "task":
        register_task(_entry.name, SOLVERS, SCORERS)
register_any_task(SOLVERS, SCORERS)
