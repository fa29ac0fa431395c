"""Broken, clashing and too new plugins, really installed: each is named with its distribution, and no other suffers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple

import pytest

SOLVER = """\
from dataclasses import dataclass
from guardeval.solvers.direct import Direct
@dataclass(frozen=True)
class Mine(Direct):
    '''Fine.'''
"""
MODULES = {
    "site_fine": '"""A solver that works."""\n' + SOLVER,
    "site_import": "import a_package_that_nobody_has\n",
    "site_late_import": "def f():\n    raise ImportError('only when it runs')\nf()\n",
    "site_syntax": "class Mine\n    pass\n",
    "site_exit": "import sys\nsys.exit(4)\n",
    "site_class": "class Mine:\n    size = 1 / 0\n",
    "site_future": "from guardeval.contracts import Prophecy\ncontract_version = 7\nclass Mine: ...\n",
    "site_deaf": "class Mine:\n    def solve(self, case): ...\n",
}
TASK = "task: {}\ndataset_path: x/y\nmetadata: {{version: 1, target: prompt_harmfulness}}\n"
DISTRIBUTIONS = {
    "fine": "[guardeval.solvers]\nfine = site_fine:Mine\n",
    "needy": "[guardeval.solvers]\nneedy = site_import:Mine\nlate = site_late_import:Mine\n",
    "sloppy": "[guardeval.solvers]\nsloppy = site_syntax:Mine\n[guardeval.models]\nsloppy = site_syntax:Mine\n",
    "quitter": "[guardeval.solvers]\nquitter = site_exit:Mine\n[guardeval.scorers]\nquitter = site_exit:Mine\n",
    "divider": "[guardeval.solvers]\ndivider = site_class:Mine\n",
    "twin": "[guardeval.solvers]\nmultistep = site_fine:Mine\n",
    "future": "[guardeval.solvers]\nfuture = site_future:Mine\n[guardeval.tasks]\nfuture = site_future_tasks\n",
    "deaf": "[guardeval.solvers]\ndeaf = site_deaf:Mine\n",
    "odd-tasks": "[guardeval.tasks]\nodd = site_tasks\n",
    "garbled": "[guardeval.solvers]\nthis is no entry point\n",
}
FILES = {
    "site_tasks/__init__.py": "",
    "site_tasks/good.yaml": TASK.format("odd_good"),
    "site_tasks/nameless.yaml": "tusk: nameless\n",
    "site_tasks/wrong.yaml": "task: odd_wrong\ndataset_pth: x\nmetadata: {version: 1, target: prompt_harmfulness}\n",
    "site_tasks/torn.yaml": "task: odd_torn\nmetadata: [1\n",
    "site_tasks/xstest.yaml": TASK.format("xstest"),
    "site_future_tasks/__init__.py": "contract_version = 7\n",
    "site_future_tasks/later.yaml": TASK.format("later"),
}
RUN = ["run", "-q", "--no_cache", "--data", "sample", "--limit", "4", "--model", "dummy"]
COMMANDS = {
    "list solvers": ["list", "solvers"],
    "list models": ["list", "models"],
    "list scorers": ["list", "scorers"],
    "list tasks": ["list", "tasks"],
    "run": [*RUN, "--task", "wildguard"],
    "run fine": [*RUN, "--task", "wildguard", "--solver", "fine"],
    **{
        f"run {s}": [*RUN, "--task", "wildguard", "--solver", s] for s in ("multistep", "needy", "quitter", "divider", "future")
    },
    **{f"task {t}": [*RUN, "--task", t] for t in ("xstest", "later", "odd_wrong", "odd_torn", "nameless", "guard_prompt")},
    "new": ["new", "solver", "multistep", "-o", "new"],
    "doctor": ["doctor"],
    "validate": ["validate"],
    "validate dist": ["validate", "plugin", "needy", "deaf", "odd-tasks", "nobody"],
}
SCRIPT = """\
import contextlib, io, json, sys
from guardeval.cli import main
told = {}
for name, words in json.load(sys.stdin).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    told[name] = (code, " ".join(out.getvalue().split()), " ".join(err.getvalue().split()))
print(json.dumps(told))
"""


class Told(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, Told]:
    """What each command says where all of these are installed; one process for all."""
    site, desk = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("desk")
    for name, entry_points in DISTRIBUTIONS.items():
        info = site / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(entry_points)
    for place, text in {**FILES, **{f"{name}.py": text for name, text in MODULES.items()}}.items():
        (site / place).parent.mkdir(exist_ok=True)
        (site / place).write_text(text)
    known = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    known |= {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "500"}
    known |= {"GUARDEVAL_CACHE": str(desk / "cache.sqlite"), "GUARDEVAL_CONFIG": str(desk / ".config")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(COMMANDS),
        cwd=desk,
        env=known,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: Told(*said) for name, said in json.loads(done.stdout).items()}


NOT_SEEN_WITHOUT_IMPORTING = ("late", "quitter", "divider", "deaf")


def test_a_list_is_whole_and_names_what_can_be_seen_to_be_broken(told):
    said = told["list solvers"]
    assert said.code == 1
    for name in ("direct", "cascade", "fine", "needy", "sloppy", "future", *NOT_SEEN_WITHOUT_IMPORTING):
        assert f"{name} " in said.out
    assert "multistep registered twice: cannot be used" in said.out
    for part in (
        "solver 'needy' of needy 1.2 (site_import:Mine) does not import: no package 'a_package_that_nobody_has' is installed, at",
        "solver 'sloppy' of sloppy 1.2 (site_syntax:Mine) does not import: SyntaxError: expected ':', at",
        "site_syntax.py:1",
        "solver 'future' of future 1.2 (site_future:Mine) was written for version 7 of the plugin contract",
        "solver 'multistep' is registered twice, by guardeval",
        "twin 1.2 (site_fine:Mine)",
        "garbled 1.2: its entry points cannot be read",
    ):
        assert part in said.err
    assert said.err.count("problem: ") == 5


def test_other_kinds_are_listed_as_ever(told):
    assert "embedded " in told["list models"].out
    assert "classification " in told["list scorers"].out
    assert "model 'sloppy' of sloppy 1.2" in told["list models"].err


def test_tasks_are_listed_and_what_is_wrong_with_others_is_told(told):
    said = told["list tasks"]
    assert said.code == 1
    for name in ("wildguard", "odd_good", "odd_wrong", "guard_prompt"):
        assert f"{name} " in said.out
    assert "xstest task cannot be used" in said.out
    for part in (
        "nameless.yaml (odd-tasks 1.2): has no line `task: NAME`",
        "task 'xstest' stands in two files: ",
        "tasks 'future' of future 1.2 was written for version 7",
    ):
        assert part in said.err


@pytest.mark.parametrize("command", ["run", "run fine"])
def test_who_names_none_of_them_notices_nothing(told, command):
    assert told[command].code == 0, told[command].err
    assert not any(name in told[command].err for name in ("problem", *DISTRIBUTIONS))


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("run multistep", ["solver 'multistep' is registered twice, by guardeval", "twin 1.2 (site_fine:Mine): uninstall one"]),
        (
            "run needy",
            ["solver 'needy' of needy 1.2 (site_import:Mine) does not import: ModuleNotFoundError", "site_import.py:1"],
        ),
        ("run quitter", ["solver 'quitter' of quitter 1.2 (site_exit:Mine) does not import: SystemExit: 4", "site_exit.py:2"]),
        ("run divider", ["solver 'divider' of divider 1.2", "ZeroDivisionError: division by zero", "site_class.py:2"]),
        (
            "run future",
            ["solver 'future' of future 1.2", "version 7 of the plugin contract", "has version 1: upgrade guardeval"],
        ),
        ("task xstest", ["task 'xstest' stands in two files", "odd-tasks 1.2", "uninstall one of them"]),
        ("task later", ["tasks 'future' of future 1.2", "upgrade guardeval"]),
        ("task odd_wrong", ["wrong.yaml:2: unknown key 'dataset_pth'; did you mean 'dataset_path'?"]),
        ("task odd_torn", ["torn.yaml:3:1: not valid YAML"]),
        ("task nameless", ["unknown task 'nameless'", "`guardeval validate` says why"]),
        ("new", ["the solver 'multistep' is there already"]),
    ],
)
def test_who_names_one_is_told_whose_it_is_and_what_to_do(told, command, parts):
    said = told[command]
    assert said.code == 2
    for part in parts:
        assert part in said.err


def test_a_group_of_sound_tasks_runs_beside_them(told):
    assert told["task guard_prompt"].code == 0, told["task guard_prompt"].err


@pytest.mark.parametrize("command", ["validate", "doctor"])
def test_validate_and_doctor_name_every_one(told, command):
    said = told[command]
    assert said.code == 1
    for part in (
        "solver 'needy' of needy 1.2",
        "solver 'late' of needy 1.2 (site_late_import:Mine) does not import: ImportError: only when it runs",
        "solver 'sloppy' of sloppy 1.2",
        "model 'sloppy' of sloppy 1.2",
        "solver 'quitter' of quitter 1.2",
        "scorer 'quitter' of quitter 1.2",
        "solver 'divider' of divider 1.2",
        "solver 'multistep' is registered twice",
        "solver 'future' of future 1.2",
        "tasks 'future' of future 1.2",
        "solver 'deaf' of deaf 1.2 (site_deaf:Mine) cannot be called as async solve(case, model): too many positional arguments",
        "nameless.yaml (odd-tasks 1.2): has no line",
        "task 'xstest' stands in two files",
        "garbled 1.2: its entry points cannot be read",
    ):
        assert part in said.out
    assert "solver 'fine'" not in said.out


def test_validate_reads_the_files_of_every_task(told):
    for part in ("wrong.yaml:2:1: unknown key 'dataset_pth'", "torn.yaml:3:1: not valid YAML"):
        assert part in told["validate"].out
        assert part in told["validate dist"].out


def test_a_distribution_is_checked_by_its_name_alone(told):
    said = told["validate dist"]
    assert said.code == 1
    assert "site_import.py:1" in said.out
    assert "site_deaf.py:2" in said.out
    assert "no plugin or distribution 'nobody' is installed" in said.out
    for other in ("sloppy", "quitter", "garbled"):
        assert f"of {other} 1.2" not in said.out
