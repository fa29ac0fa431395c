"""Contract suites: pytest classes, one a kind of plugin, that every plugin passes. Inherit one and set what it is about::

from guardeval.testing.suites import SolverSuite

class TestMine(SolverSuite):
    plugin = Mine
"""

from __future__ import annotations

from guardeval.testing.suites.model import ModelSuite
from guardeval.testing.suites.optimizer import OptimizerSuite
from guardeval.testing.suites.plugin import PluginSuite
from guardeval.testing.suites.scorer import ScorerSuite
from guardeval.testing.suites.solver import SolverSuite
from guardeval.testing.suites.task import TaskSuite
from guardeval.testing.suites.trainer import TrainerSuite

__all__ = ["ModelSuite", "OptimizerSuite", "PluginSuite", "ScorerSuite", "SolverSuite", "TaskSuite", "TrainerSuite"]
