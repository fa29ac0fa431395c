"""``guardeval cache``, ``doctor`` and ``validate``: what is here, and what is wrong with it, all of it at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import guardeval

SAMPLE = ("run", "--task", "wildguard", "--data", "sample", "-q", "--limit", 6)


def test_the_cache_tells_what_it_holds_and_forgets_it(cli, desk):
    assert cli("cache", "info").out == f"{desk}/cache.sqlite: 0 answers, 0.0 MB\n"
    cli(*SAMPLE)
    out = cli("cache", "info").out
    assert out.startswith(f"{desk}/cache.sqlite: 6 answers, ")
    assert out.endswith("        6  embedded\n")
    assert cli("cache", "clear").out == f"{desk}/cache.sqlite: 6 answers removed\n"
    assert ": 0 answers" in cli("cache", "info").out


def test_another_cache_can_be_named(cli, desk):
    cli(*SAMPLE, "--cache", "other.sqlite")
    assert cli("cache", "info", "--cache", "other.sqlite").out.startswith("other.sqlite: 6 answers")
    assert ": 0 answers" in cli("cache", "info").out


def test_a_damaged_cache_is_cured_by_the_command_that_the_error_names(cli, desk):
    (desk / "bad.sqlite").write_text("garbage")
    said = cli(*SAMPLE, "--cache", "bad.sqlite")
    assert said.code == 2
    remedy = said.err.split("`")[1]
    assert remedy == "guardeval cache clear --cache bad.sqlite"
    assert cli(*remedy.split()[1:]).code == 0
    assert cli(*SAMPLE, "--cache", "bad.sqlite").code == 0


def test_doctor_names_versions_extras_keys_and_the_cache(cli, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "very-secret")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    said = cli("doctor")
    assert said.code == 0
    assert said.out.startswith(f"guardeval {guardeval.__version__}, Python {sys.version.split()[0]}")
    for part in (
        "  numpy ",
        "  [hub] datasets ",
        "  [openai] ",
        "OPENAI_API_KEY: set",
        "HF_TOKEN: not set",
        "cache of answers: ",
    ):
        assert part in said.out
    assert "very-secret" not in said.out
    assert said.out.endswith("all is well\n")


def test_doctor_reports_a_damaged_cache(cli, desk):
    (desk / "cache.sqlite").write_text("garbage")
    said = cli("doctor")
    assert said.code == 1
    assert "problem: cache " in said.out


def test_validate_reads_every_shipped_task_and_plugin(cli):
    said = cli("validate")
    assert said.code == 0
    assert said.out.endswith("plugins checked, 0 problems\n")


def test_validate_reads_the_rows_of_ones_own_task(cli, my_task):
    words = ("validate", "--include_path", my_task, "--task", "mine", "--data", my_task / "rows.jsonl")
    assert cli(*words).out == "1 tasks checked, 0 problems\n"
    (my_task / "rows.jsonl").write_text('{"text": "a", "label": 7}\n')
    said = cli(*words)
    assert said.code == 1
    assert "problem: task mine: " in said.out


def test_validate_goes_on_after_a_name_that_there_is_not(cli):
    said = cli("validate", "--task", "wildgard,wildguard")
    assert said.code == 1
    assert "problem: unknown task 'wildgard'; did you mean 'wildguard'?" in said.out
    assert "2 tasks checked, 1 problem\n" in said.out


# ---- plugins that do not work ----


@pytest.fixture
def third_party(desk, monkeypatch):
    """Install a distribution: entry points, and modules by name."""

    def install(entry_points: str, **modules: str) -> Path:
        site = desk / "site"
        info = site / "broken_thing-1.2.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-thing\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(entry_points)
        for name, text in modules.items():
            (site / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(site))
        return site

    return install


BROKEN = """\
[guardeval.solvers]
needs = thing_needs:Solver
empty = thing_fine:Empty
[guardeval.models]
exits = thing_exits:Model
three = thing_fine:three
gone = thing_gone:Model
"""
MODULES = {
    "thing_needs": "import a_package_that_nobody_has\n",
    "thing_fine": '"""A thing that is fine."""\nclass Empty: pass\nthree = 3\n',
    "thing_exits": "import sys\nsys.exit(7)\n",
}


def test_every_broken_plugin_is_named_with_its_distribution(cli, third_party):
    third_party(BROKEN, **MODULES)
    said = cli("validate")
    assert said.code == 1
    for part in (
        "solver 'needs' of broken-thing 1.2 (thing_needs:Solver) does not import: ModuleNotFoundError: No module named 'a_package_that",
        "solver 'empty' of broken-thing 1.2 (thing_fine:Empty) has no solve",
        "model 'exits' of broken-thing 1.2 (thing_exits:Model) does not import: SystemExit: 7",
        "model 'three' of broken-thing 1.2 (thing_fine:three) is int, not a class",
        "model 'gone' of broken-thing 1.2 (thing_gone:Model) does not import: ModuleNotFoundError: No module named 'thing_gone'",
    ):
        assert f"problem: {part}" in said.out
    assert "5 problems" in said.out
    assert cli("doctor").code == 1


def test_broken_plugins_are_listed_and_do_not_hide_the_others(cli, third_party):
    third_party(BROKEN, **MODULES)
    listed = [" ".join(line.split()) for line in cli("list", "solvers").out.splitlines()]
    assert "empty A thing that is fine (broken-thing 1.2)" in listed
    assert listed[0].startswith("cascade ")
    said = cli("list", "solvers")
    assert said.code == 1
    assert "solver 'needs' of broken-thing 1.2 (thing_needs:Solver) does not import: no package 'a_package_that" in said.err
    said = cli("models", "list")
    assert said.code == 1
    assert "openai_compatible/NAME" in said.out
    assert said.err.count("problem: model ") == 3
    assert cli(*SAMPLE).code == 0


def test_naming_a_broken_plugin_is_an_error_that_says_whose_it_is(cli, third_party):
    third_party(BROKEN, **MODULES)
    for words in (("--model", "exits"), ("--solver", "needs")):
        said = cli(*SAMPLE, *words)
        assert said.code == 2
        assert "of broken-thing 1.2" in said.err


def test_two_plugins_of_one_name_are_an_error_that_names_both(cli, third_party):
    third_party("[guardeval.scorers]\nranking = thing_fine:Empty\n", **MODULES)
    for words, code in ((("list", "scorers"), 1), (SAMPLE, 2)):
        said = cli(*words)
        assert said.code == code
        assert "scorer 'ranking' is registered twice, by " in said.err
        assert "broken-thing 1.2 (thing_fine:Empty)" in said.err
    said = cli("validate")
    assert said.code == 1
    assert "registered twice" in said.out
    assert cli(*SAMPLE, "--scorer", "classification").code == 0


def test_a_package_of_tasks_that_is_gone_does_not_hide_broken_plugins(cli, third_party):
    third_party("[guardeval.tasks]\nmore = no_such_package\n[guardeval.solvers]\nempty = thing_fine:Empty\n", **MODULES)
    said = cli("validate")
    assert said.code == 1
    assert "problem: tasks 'more' of broken-thing 1.2: there is no package 'no_such_package'" in said.out
    assert "solver 'empty'" in said.out
    said = cli("list", "tasks")
    assert said.code == 1
    assert "problem: tasks 'more' of broken-thing 1.2: there is no package" in said.err
    assert "wildguard_refusal" in said.out
    assert cli(*SAMPLE).code == 0


# ---- extras that are not there ----


def test_what_is_not_installed_is_said_with_the_command_that_installs_it(shell, desk):
    """Packages of extras hidden from the interpreter, as in an installation without them."""
    hide = "datasets openai ollama torch transformers sklearn scipy pyarrow aiohttp".split()
    (desk / "sitecustomize.py").write_text(
        "import sys\n"
        f"HIDDEN = {hide!r}\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in HIDDEN:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    (desk / "rows.parquet").write_bytes(b"")
    pool = [
        {"prompt": f"{i} {'a' if i % 2 else 'b'}", "label": "harmful" if i % 2 else "safe", "source": "x"} for i in range(60)
    ]
    (desk / "pool.jsonl").write_text("".join(json.dumps(r) + "\n" for r in pool))
    wanted = {
        "run --task wildguard": "hub",
        "data pull --task wildguard": "hub",
        "run --task wildguard --data rows.parquet": "parquet",
        "run --task wildguard --data sample --model openai/gpt-4o": "openai",
        "run --task wildguard --data sample --model ollama/x": "ollama",
        "run --task wildguard --data sample --model hf/x": "hf",
        "train linear --data pool.jsonl --out m -T sources=x": "linear",
    }
    works = ["run --task wildguard --data sample -q", "list tasks", "validate", "models list", "show hf", "cache info"]
    lines = [f"guardeval {c} >out.txt 2>err.txt; echo $? $(cat err.txt)" for c in [*wanted, *works]]
    done = shell("\n".join(lines), PYTHONPATH=str(desk), OPENAI_API_KEY="x")
    said = done.stdout.splitlines()
    for (command, extra), line in zip(wanted.items(), said, strict=False):
        assert line.startswith("2 "), (command, line)
        assert f"pip install 'guardeval[{extra}]'" in line, (command, line)
    assert [line.split()[0] for line in said[len(wanted) :]] == ["0"] * len(works), said
