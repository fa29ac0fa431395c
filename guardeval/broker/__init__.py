"""Between solvers and models: cache, single flight, limits, retries, batches, budget."""

from __future__ import annotations

from guardeval.broker.bound import Bound, SampleAsker
from guardeval.broker.broker import Broker
from guardeval.broker.budget import Budget, BudgetSpent
from guardeval.broker.cache import Answers, Cache, default_cache_path
from guardeval.broker.counters import Counters, Estimate
from guardeval.broker.retries import Retries

__all__ = [
    "Answers",
    "Bound",
    "Broker",
    "Budget",
    "BudgetSpent",
    "Cache",
    "Counters",
    "Estimate",
    "Retries",
    "SampleAsker",
    "default_cache_path",
]
