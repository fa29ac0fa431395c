"""No plugin of ours goes without its suite: a new entry point needs a class in one of the files beside this one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from guardeval.registry import Registry
from guardeval.testing.suites import ModelSuite, OptimizerSuite, PluginSuite, ScorerSuite, SolverSuite, TrainerSuite

SUITES = {
    "solvers": SolverSuite,
    "scorers": ScorerSuite,
    "models": ModelSuite,
    "trainers": TrainerSuite,
    "optimizers": OptimizerSuite,
}


def tried(kind: str) -> set[type]:
    """The plugins that classes of ``test_<kind>*.py`` are about."""
    found = set()
    for path in Path(__file__).parent.glob(f"test_{kind}*.py"):
        spec = importlib.util.spec_from_file_location(f"contracts_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, one in vars(module).items():
            if name.startswith("Test") and issubclass(one, SUITES[kind]):
                suite: type[PluginSuite] = one
                found.add(suite.plugin)
    return found


@pytest.mark.parametrize("kind", sorted(SUITES))
def test_every_plugin_of_ours_has_its_suite(kind: str) -> None:
    registry = Registry()
    ours = [name for name, e in registry.entries(kind).items() if e.dist is not None and e.dist.name == "guardeval"]
    assert ours
    without = {name for name in ours if registry.load(kind, name) not in tried(kind)}
    assert not without, f"add a class to tests/contracts/test_{kind}.py: `class TestIt({SUITES[kind].__name__}): plugin = It`"
