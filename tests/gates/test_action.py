"""The GitHub Action: as GitHub's documentation wants it, no input in the text of a script, and its scripts run for real."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from lxml import etree

ROOT = Path(__file__).resolve().parent.parent.parent
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
if not (ROOT / "action.yml").is_file():
    pytest.skip("not a checkout", allow_module_level=True)
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]


# ---- as documented: https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax ----


def test_its_keys_are_those_of_a_composite_action():
    assert (
        {"name", "description", "runs"}
        <= set(ACTION)
        <= {"name", "description", "author", "branding", "inputs", "outputs", "runs"}
    )
    assert set(ACTION["runs"]) == {"using", "steps"}
    assert ACTION["runs"]["using"] == "composite"
    for about in ACTION["inputs"].values():
        assert "description" in about
        assert set(about) <= {"description", "default", "required", "deprecationMessage"}
        assert isinstance(about["default"], str)  # `false` without quotes would be a truth value
    for about in ACTION["outputs"].values():
        assert set(about) == {"description", "value"}


def test_every_step_runs_a_script_in_a_named_shell_or_uses_a_pinned_action():
    for step in STEPS:
        assert set(step) <= {"name", "id", "if", "shell", "working-directory", "env", "run", "uses", "with"}
        assert ("run" in step) != ("uses" in step)
        if "run" in step:
            assert step["shell"] == "bash"
            assert step["run"].startswith("set -euo pipefail\n")
        else:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


def test_no_script_holds_an_expression():
    assert not [step["name"] for step in STEPS if "${{" in step.get("run", "")]


def test_every_name_that_is_used_exists_and_every_input_is_used():
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"inputs\.([\w-]+)", text))
    assert used == set(ACTION["inputs"])
    scripts = {step["id"]: step["run"] for step in STEPS if "run" in step}
    for step, output in re.findall(r"steps\.(\w+)\.outputs\.(\w+)", text):
        assert f"{output}=" in scripts[step]
    for step in STEPS:
        for name in step.get("env", {}):
            assert f"${name}" in step["run"] or f"${{{name}" in step["run"], name


# ---- its scripts, run as GitHub's runner runs them ----


class Ended(NamedTuple):
    code: int
    out: str
    outputs: Mapping[str, str]
    summary: str


class Runner:
    """Runs the steps that are scripts, with the variables that GitHub's runner sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("temp", "workspace"):
            (folder / name).mkdir()
        self.workspace = folder / "workspace"

    def run(self, **inputs: str) -> Ended:
        given = {name: about["default"] for name, about in ACTION["inputs"].items()}
        given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        outputs: dict[str, dict[str, str]] = {}
        summary, said = self.folder / "summary.md", ""
        summary.write_text("")
        for step in (s for s in STEPS if "run" in s):
            if not self._wanted(step.get("if", ""), given):
                continue
            ended, outputs[step["id"]] = self._step(step, given, outputs, summary)
            said += ended.stdout + ended.stderr
            if ended.returncode:
                break
        found = {name: self._value(about["value"], given, outputs) for name, about in ACTION["outputs"].items()}
        return Ended(ended.returncode, said, found, summary.read_text())

    @staticmethod
    def _wanted(condition: str, given: Mapping[str, str]) -> bool:
        if not condition:
            return True
        name, operator, value = re.fullmatch(r"inputs\.([\w-]+) (==|!=) '(\w*)'", condition).groups()
        return (given[name] == value) is (operator == "==")

    @staticmethod
    def _value(text: str, given: Mapping[str, str], outputs: Mapping[str, Mapping[str, str]]) -> str:
        def of(match: re.Match[str]) -> str:
            kind, _, rest = match[1].partition(".")
            if kind == "inputs":
                return given[rest]
            if match[1] == "github.action_path":
                return str(ROOT)
            step, name = re.fullmatch(r"(\w+)\.outputs\.(\w+)", rest).groups()
            return outputs.get(step, {}).get(name, "")

        return EXPRESSION.sub(of, text)

    def _step(self, step, given, outputs, summary):
        script, output = self.folder / "step.sh", self.folder / "output"
        script.write_text(step["run"])
        output.write_text("")
        env = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(self.folder),
            "RUNNER_TEMP": str(self.folder / "temp"), "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_ACTIONS": "true", "GUARDEVAL_CACHE": str(self.folder / "cache.sqlite"), "OMP_NUM_THREADS": "1",
            **{k: self._value(v, given, outputs) for k, v in step["env"].items()},
        }  # fmt: skip
        where = self.workspace / self._value(step.get("working-directory", "."), given, outputs)
        command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)]
        ended = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, check=False)
        return ended, dict(line.split("=", 1) for line in output.read_text().splitlines())


RUN = "--task xstest_response --data sample --model embedded/word"


@pytest.fixture(scope="module")
def runner(tmp_path_factory) -> Runner:
    """One that has written a baseline in a folder of the repository whose name has a space."""
    if not (Path(sys.executable).parent / "guardeval").exists():
        pytest.skip("the command guardeval is not installed beside this Python")
    runner = Runner(tmp_path_factory.mktemp("runner"))
    (runner.workspace / "my guard").mkdir()
    for name in ("secrets.py", "shlex.py"):  # of the project: no step takes them for Python's own
        (runner.workspace / "my guard" / name).write_text("raise RuntimeError('imported')\n")
    made = runner.run(
        install="false", run_args=f"{RUN} --output_path kept", write_baseline="true", baseline="base line.json",
        working_directory="my guard",
    )  # fmt: skip
    assert made.code == 0, made.out
    assert made.outputs == {"failed": "", "report": "", "junit": ""}
    assert (runner.workspace / "my guard" / "base line.json").is_file()
    return runner


def test_a_guard_that_loses_nothing_passes_and_leaves_its_reports(runner):
    ended = runner.run(install="false", run_args=RUN, baseline="base line.json", working_directory="my guard")
    assert ended.code == 0, ended.out
    folder = runner.workspace / "my guard"
    assert ended.outputs == {
        "failed": "false", "report": str(folder / "guardeval-gate.json"), "junit": str(folder / "guardeval-junit.xml"),
    }  # fmt: skip
    assert json.loads((folder / "guardeval-gate.json").read_text())["status"] == "passed"
    xml = etree.parse(str(folder / "guardeval-junit.xml"))
    etree.XMLSchema(etree.parse(str(Path(__file__).with_name("junit.xsd")))).assertValid(xml)
    assert [suite.get("name") for suite in xml.getroot()] == ["xstest_response"]
    assert "::notice title=guardeval check::passed" in ended.out
    assert ended.summary.startswith("## guardeval check: passed")


def test_finished_runs_are_found_by_pattern_and_a_failed_check_fails_the_step(runner):
    found = sorted((runner.folder / "temp").glob("guardeval-*/*/run.yaml"))
    where = found[0].parent.parent
    ended = runner.run(
        install="false", runs=f"\n{where}/*xstest*\n", baseline="my guard/base line.json", check_args="--floor 'f1=0.99'",
        report="gate.json",
    )  # fmt: skip
    assert ended.code == 1, ended.out
    assert ended.outputs["failed"] == "true"
    assert json.loads(Path(ended.outputs["report"]).read_text())["counts"]["failed"] == 1
    assert "::error title=guardeval check::failed: 1 of" in ended.out


def test_a_gate_that_could_decide_nothing_fails_the_step_and_no_check(runner):
    run = "--task simplesafetytests --data sample --model embedded/word"  # no row is negative
    made = runner.run(install="false", run_args=run, write_baseline="true", baseline="positives.json")
    assert made.code == 0, made.out
    words = "--metrics overflagging --no_policies"
    ended = runner.run(install="false", run_args=run, baseline="positives.json", check_args=words)
    assert ended.code == 1, ended.out
    assert json.loads(Path(ended.outputs["report"]).read_text())["status"] == "undecided"
    assert ended.outputs["failed"] == ""


@pytest.mark.parametrize("words", ["--json other.json", "--junit=other.xml", "--write-baseline", "--write_baseline"])
def test_what_has_an_input_of_its_own_is_no_further_argument(runner, words):
    ended = runner.run(install="false", run_args=RUN, baseline="base line.json", working_directory="my guard", check_args=words)
    assert ended.code == 2
    assert ended.outputs == {"failed": "", "report": "", "junit": ""}
    assert "has an input of its own" in ended.out
    assert not (runner.workspace / "my guard" / "other.json").exists()


def test_no_input_becomes_a_command(runner):
    evil = "$(touch pwned) `touch pwned`; touch pwned"
    ended = runner.run(
        install="false",
        runs=evil,
        baseline=evil,
        check_args=f"--alpha {evil!r}",
        config="",
        report="$(touch pwned)",
        junit=evil,
    )
    assert ended.code == 2
    assert ended.outputs["failed"] == ""
    ended = runner.run(install="false", run_args=f"--task {evil!r}", baseline=evil)
    assert ended.code == 2
    assert "unknown" in ended.out
    assert not list(runner.folder.rglob("pwned"))


def test_a_name_of_two_lines_cannot_write_an_output(runner):
    ended = runner.run(install="false", runs="x", report="a\nfailed=false")
    assert (ended.code, ended.outputs["failed"]) == (2, "")


def test_without_a_run_it_says_what_is_missing(runner):
    ended = runner.run(install="false")
    assert ended.code == 2
    assert "no run to check: give run-args or runs" in ended.out


@pytest.mark.slow
def test_it_installs_the_guardeval_that_it_came_with(tmp_path, monkeypatch):
    """Without a network: what pip needs to know stands in its own variables."""
    runner = Runner(tmp_path)
    target = tmp_path / "installed"
    (step,) = (s for s in STEPS if s.get("id") == "install")
    env = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_TARGET": str(target)}
    ended, _ = runner._step({**step, "env": {**step["env"], **env}}, {"extras": "onnx,hf"}, {}, tmp_path / "s")
    assert ended.returncode == 0, ended.stderr
    assert (target / "guardeval" / "gates" / "pytest_plugin.py").is_file()
