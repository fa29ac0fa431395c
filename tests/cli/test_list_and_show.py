"""``guardeval list`` and ``show``: what is installed, found without importing it; one name, explained."""

from __future__ import annotations

import re

import pytest

from guardeval.policies import POLICIES, load_policies
from guardeval.registry import KINDS, Registry
from guardeval.task import TaskIndex


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "tasks"])
def test_every_plugin_is_listed_with_what_it_is_for(cli, kind):
    said = cli("list", kind)
    assert said.code == 0
    rows = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert list(rows) == list(Registry().entries(kind)) or said.out == f"no {kind} installed\n"
    assert not any("guardeval." in text for text in rows.values())  # a sentence, not where it lies


def test_every_task_group_and_tag_is_listed_with_its_title(cli):
    lines = cli("list", "tasks").out.splitlines()
    index = TaskIndex()
    assert sorted(line.split()[0] for line in lines) == sorted([*index.entries(), *index.sourced()])
    assert "WildGuardTest, human-labelled prompts" in next(line for line in lines if line.startswith("wildguard "))


def test_tasks_of_a_folder_that_was_named_are_listed_too(cli, my_task):
    assert re.search(r"^mine +task +rows of my own$", cli("list", "tasks", "--include_path", my_task).out, re.MULTILINE)


@pytest.mark.parametrize(("singular", "plural"), [("task", "tasks"), ("solver", "solvers"), ("policy", "policies")])
def test_the_singular_is_understood(cli, singular, plural):
    assert cli("list", singular).out == cli("list", plural).out


def test_policies_are_listed(cli):
    assert [line.split()[0] for line in cli("list", "policies").out.splitlines()] == list(POLICIES)


def test_runs_are_listed_with_their_status_and_counts(cli, guard_run):
    run = guard_run("--limit", 4)
    assert cli("list", "runs", "-o", run.parent).out == f"{run}  complete  wildguard 4\n"
    assert cli("list", "runs", "-o", "nowhere").out == "no run in nowhere\n"


@pytest.mark.parametrize("damage", ["record: 5", "record: {date: x, tasks: [1]}", "a: [1", "record: {date: ../x, tasks: {}}"])
def test_a_damaged_run_does_not_hide_the_others(cli, guard_run, damage):
    good, bad = guard_run("--limit", 4), guard_run("--limit", 4)
    (bad / "run.yaml").write_text(damage)
    said = cli("list", "runs", "-o", good.parent)
    assert said.code == 0
    assert [line.split()[1] for line in said.out.splitlines()] == ["complete", "damaged"]


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "tasks"])
def test_every_plugin_can_be_shown(cli, kind):
    for name in Registry().entries(kind):
        said = cli("show", name)
        assert said.code == 0
        assert f"{kind[:-1]} {name} ({Registry().entries(kind)[name].value})" in said.out


def test_every_task_group_and_tag_can_be_shown(cli):
    for name, entry in TaskIndex().entries().items():
        said = cli("show", name)
        assert said.code == 0
        assert said.out.startswith(name)
        assert (entry.kind == "task") == ("asks: " in said.out)


def test_options_are_shown_with_types_and_defaults(cli):
    assert "  max_tokens: int = 2048" in cli("show", "multistep").out
    out = cli("show", "openai_compatible").out
    assert "  base_url: str required" in out
    assert "  extra: Mapping[str, Any] = {}" in out


def test_a_group_is_shown_with_its_tasks_and_published_sizes(cli):
    assert re.search(r"wildguard +prompt_harmfulness +1756 published rows +WildGuardTest", cli("show", "guard_prompt").out)


@pytest.mark.parametrize("length", ["minimal", "verbose"])
def test_a_policy_is_shown_in_full(cli, length):
    text = next(p.text for p in load_policies(length).policies if p.name == "illegal")
    assert cli("show", "illegal", "--policies", length).out.strip() == text


def test_a_model_is_shown_by_the_name_that_model_takes(cli):
    assert cli("show", "embedded/char").out == cli("show", "embedded").out


def test_a_class_of_ones_own_is_shown(cli, desk):
    (desk / "own.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Own:\n    '''Mine.'''\n    size: int = 3\n"
    )
    assert cli("show", "own:Own").out == "class own:Own (own:Own)\nMine.\noptions:\n  size: int = 3\n"


def test_a_model_folder_is_shown_as_text_that_steers_nothing(cli, desk):
    (desk / "m").mkdir()
    (desk / "m" / "guardeval-model.yaml").write_text("backend: embedded\n# \u202emm\n", encoding="utf-8")
    said = cli("show", "./m")
    assert said.out == "model folder m: use it with --model ./m\n  backend: embedded\n  # �mm\n"
