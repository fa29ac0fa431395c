"""Which executor a run gets: flags over the recorded settings of another run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from guardeval.cli import run_command
from guardeval.cli.parser import parse
from guardeval.data import Outcome
from guardeval.errors import ConfigError
from guardeval.settings import Settings
from guardeval.tally import Tally
from guardeval.testing import a_judged

RECORDED = {"task": ["wildguard"], "executor": "ray", "executor_args": {"address": "10.0.0.5:6379", "workers": "4"}}


def settings_of(tmp_path: Path, *words: str) -> Settings:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(RECORDED))
    return run_command.settings_of(parse("run", "", run_command.configure, ["--config", str(path), *words]))


@pytest.mark.parametrize(
    ("words", "executor", "options"),
    [
        ((), "ray", RECORDED["executor_args"]),
        (("-E", "workers=8"), "ray", {"address": "10.0.0.5:6379", "workers": "8"}),
        (("--executor", "local"), "local", {}),  # the cluster is not needed to run it again
        (("--executor", "ray", "-E", "shard=5,retries=1"), "ray", {"shard": "5", "retries": "1"}),
    ],
)
def test_flags_go_over_what_a_run_recorded(tmp_path, words, executor, options):
    settings = settings_of(tmp_path, *words)
    assert (settings.executor, dict(settings.executor_args)) == (executor, options)


def test_an_unknown_executor_is_named_with_the_nearest_known_one():
    with pytest.raises(ConfigError, match="'rya' is unknown; did you mean 'ray'"):
        Settings(("wildguard",), executor="rya")


def test_counts_of_parts_add_up_to_those_of_the_whole():
    judged = [a_judged(i % 2 == 0, i % 3 == 0, i) for i in range(10)]
    judged.append(a_judged(True, None, 10, outcome=Outcome.FAILED))
    whole, parts = Tally(), [Tally(), Tally()]
    for i, one in enumerate(judged):
        whole.add(one)
        parts[i % 2].add(one)
    parts[0].add_all(parts[1])
    assert parts[0] == whole
    assert (whole.n, whole.failed, whole.tp + whole.fp + whole.fn + whole.tn) == (11, 1, 11)
