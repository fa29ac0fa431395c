"""The project's own gate: what ``scripts/gate`` holds the embedded guard against is whole and says nothing of a machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from guardeval.gates.baseline import open_baseline
from guardeval.task import TaskIndex

BASELINE = Path(__file__).parent / "baselines" / "embedded_samples.json"
SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "gate"


def test_the_committed_baseline_covers_every_task_that_the_script_runs():
    (named,) = re.findall(r"--task (\S+)", SCRIPT.read_text(encoding="utf-8"))
    baseline = open_baseline(BASELINE)
    assert set(baseline.tasks) == {task.name for task in TaskIndex().select(named.split(",")).tasks}
    assert baseline.model == "embedded/word"
    assert not baseline.unfinished


def test_it_was_made_from_the_rows_that_are_shipped():
    for task in open_baseline(BASELINE).tasks.values():
        assert task.facts["data"].startswith("sample "), task.name


def test_it_names_no_machine_and_holds_no_text():
    text = BASELINE.read_text(encoding="utf-8")
    assert not re.search(r'"platform": "\w+-', text)  # a kernel's version
    longest = max(re.findall(r'"[^"\n]* [^"\n]*"', text), key=len)  # of what has a space in it, as text has
    assert len(longest) < 100, longest


def test_ci_runs_it():
    assert os.access(SCRIPT, os.X_OK)
    assert "\n./scripts/gate\n" in (SCRIPT.parent.parent / ".ci" / "run").read_text(encoding="utf-8")
