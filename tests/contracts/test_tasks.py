"""Every task of ours keeps the contract of tasks, on the rows that ship with it."""

from __future__ import annotations

from guardeval.task import TaskIndex
from guardeval.testing.suites import TaskSuite

HARMFUL_ONLY = {"harmbench_prompt", "simplesafetytests", "advbench"}  # as they are upstream
# the commit that their figures are of is not known: a run records the one that it read
UNPINNED = {"guardreasoner_train", "harmbench_prompt", "xstest_refusal", "xstest_response"}
OURS = sorted(e.name for e in TaskIndex().entries().values() if e.kind == "task" and e.owner.startswith("guardeval"))


def _suite(name: str) -> type[TaskSuite]:
    states = ("licence", "citation") if name in UNPINNED else TaskSuite.states
    return type(f"Test_{name}", (TaskSuite,), {"task": name, "one_class": name in HARMFUL_ONLY, "states": states})


globals().update({f"Test_{name}": _suite(name) for name in OURS})
