"""The gate inside pytest, in real sessions: nothing until asked for, readable failures, baselines written on request."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from lxml import etree

PYPROJECT = '[tool.pytest.ini_options]\naddopts = "--strict-markers -p no:cacheprovider"\n'

TESTS = """\
import sys
LOADED = sorted(m for m in sys.modules if m.partition(".")[0] == "guardeval")

import pytest

RUN = dict(data="sample", model="embedded/word", solver="direct")

@pytest.mark.guardeval(task="xstest_response", baseline="base/words.json", **RUN)
def test_marked():
    pass

@pytest.mark.parametrize("task", ["harmbench_response", "beavertails"])
def test_on_the_spot(guardeval_check, task, request):
    report = guardeval_check(task=task, baseline="base/words.json", gate={"policies": False, "resamples": 0}, **RUN)
    if not request.config.getoption("--guardeval-write-baseline"):
        assert {f.task for f in report.findings} == {task} and report.ok

@pytest.mark.guardeval(task="beavertails", baseline="base/words.json", **RUN)
def test_a_task_of_the_file_once_more():
    pass

def test_nothing_was_imported_before_a_test_asked():
    assert LOADED == ["guardeval", "guardeval.gates", "guardeval.gates.pytest_plugin"]
"""

FAILING = """\
import pytest

RUN = dict(data="sample", model="embedded/word")

@pytest.fixture(scope="module")
def run(tmp_path_factory):
    import guardeval
    return guardeval.run(task="xstest_response", output_path=str(tmp_path_factory.mktemp("r")), **RUN)

def test_below_a_floor(guardeval_check, run):
    guardeval_check(run, baseline="base/words.json", gate="gate.yaml")

@pytest.mark.guardeval(task="xstest_response", baseline="base/words.json", gate={"floor": {"f1": 0.98}}, **RUN)
def test_a_mark_fails_before_the_body():
    raise RuntimeError("the body was run")

def test_other_rows(guardeval_check, run):
    guardeval_check([run.path], baseline=run.path, gate={"task": ["wildguard"]})

def test_no_baseline(guardeval_check, run):
    guardeval_check(run, baseline="nowhere.json")

def test_a_run_and_another(guardeval_check, run):
    guardeval_check(run, model="embedded/char")

def test_a_misspelt_setting(guardeval_check, run):
    guardeval_check(run, baseline=run.path, gate={"tolerence": 0.1})

def test_no_run(guardeval_check):
    guardeval_check()

def test_no_folder(guardeval_check):
    guardeval_check(42)

@pytest.mark.guardeval("runs/new", "base/words.json")
def test_two_names():
    pass
"""


class Session(NamedTuple):
    code: int
    out: str
    cases: dict[str, str]  # test → its failure, empty where it passed


def session(folder: Path, *words: str, found: bool = False) -> Session:
    """``found``: the plugin is loaded because it is installed, as are all others, else because it is named."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_") and k != "COLUMNS"}
    env |= {"GUARDEVAL_CACHE": str(folder / "cache.sqlite"), "OMP_NUM_THREADS": "1"}
    env |= {} if found else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    named = [] if found else ["-p", "guardeval.gates.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-q", "--junit-xml", "junit.xml", *named, *words]
    ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    xml = folder / "junit.xml"
    cases = etree.parse(str(xml)).findall(".//testcase") if xml.exists() else []
    xml.unlink(missing_ok=True)
    return Session(
        ended.returncode,
        ended.stdout + ended.stderr,
        {c.get("name"): "".join(f.text for f in c.findall("failure")) for c in cases},
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> tuple[Path, Session]:
    """A project with gates as tests, after the session that wrote their baseline."""
    from importlib.metadata import entry_points

    if not entry_points(group="pytest11", name="guardeval"):
        pytest.skip("guardeval is installed without its entry point of pytest: install it again")
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "gate.yaml").write_text("floor: {f1: 0.99}\npolicies: false\n")
    (folder / "test_gates.py").write_text(TESTS)
    return folder, session(folder, "--guardeval-write-baseline", "test_gates.py", found=True)


def test_baselines_are_written_on_request_and_checks_of_one_file_together(project):
    folder, written = project
    assert written.code == 0, written.out
    assert "test_gates.py::test_marked: wrote words.json: 1 tasks, 34 samples" in written.out
    assert "test_gates.py::test_on_the_spot[beavertails]: replaced words.json: 3 tasks" in written.out
    assert "test_gates.py::test_a_task_of_the_file_once_more: replaced words.json: 3 tasks" in written.out
    assert (folder / "base" / "words.json").is_file()


def test_the_same_guard_passes_and_the_summary_says_what_that_means(project):
    folder, _ = project
    (folder / "test_failing.py").write_text(FAILING)
    before = (folder / "base" / "words.json").read_bytes()
    done = session(folder)
    assert (folder / "base" / "words.json").read_bytes() == before
    passed = [name for name, failure in done.cases.items() if not failure]
    assert passed == [
        "test_marked", "test_on_the_spot[harmbench_response]", "test_on_the_spot[beavertails]",
        "test_a_task_of_the_file_once_more", "test_nothing_was_imported_before_a_test_asked",
    ]  # fmt: skip
    assert "test_gates.py::test_marked: words.json: passed: 3 checks, none lost more than allowed" in done.out
    assert "may have gone unseen" in done.out
    failing(done)


def failing(done: Session) -> None:
    """What each test of FAILING says; no traceback of guardeval's inside."""
    floor = done.cases["test_below_a_floor"]
    assert floor.startswith("failed: 1 of ") and "≥ 0.990" in floor and "floor · xstest_response · f1" in floor
    assert "≥ 0.980" in done.cases["test_a_mark_fails_before_the_body"]
    assert "the body was run" not in done.out
    assert "wildguard" in done.cases["test_other_rows"]
    assert "`pytest --guardeval-write-baseline` writes it" in done.cases["test_no_baseline"]
    assert "give one or the other" in done.cases["test_a_run_and_another"]
    assert "did you mean 'tolerance'?" in done.cases["test_a_misspelt_setting"]
    assert "name a run, or what to run" in done.cases["test_no_run"]
    assert "42 is no run" in done.cases["test_no_folder"]
    assert "takes one run, or a list of them" in done.cases["test_two_names"]
    assert "another exception occurred" not in done.out
    assert "Traceback" not in done.out and "pytest_plugin.py" not in done.out
    assert done.code == 1


def test_several_processes_cannot_write_one_file(project):
    pytest.importorskip("xdist")
    folder, _ = project
    before = (folder / "base" / "words.json").read_bytes()
    done = session(folder, "-p", "xdist", "-n", "1", "--guardeval-write-baseline", "test_gates.py")
    assert done.code != 0
    assert "leave -n out" in done.out
    assert (folder / "base" / "words.json").read_bytes() == before
