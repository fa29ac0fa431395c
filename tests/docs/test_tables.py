"""Tables of the documentation say what the code says, and leave nothing out."""

from __future__ import annotations

import configparser
import dataclasses
import re
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pages import LOOPBACK, PAGES, ROOT, names, page_text, section, table

import guardeval
from guardeval.broker.retries import FailureStreak, Retries
from guardeval.cli import COMMANDS
from guardeval.cli.parser import Parser
from guardeval.contracts import Traits
from guardeval.data import Target
from guardeval.finetuning.recipe import read_recipe, recipe_names
from guardeval.models import ModelSpec
from guardeval.pipeline import dry_run
from guardeval.policies import POLICIES, VERBOSITIES
from guardeval.registry import Registry
from guardeval.settings import DEFAULT_POLICIES, DEFAULT_SOLVER, Settings
from guardeval.task import Task, TaskIndex
from guardeval.taxonomy import load_taxonomy

INDEX = TaskIndex()


def policies_shown(found: frozenset[str]) -> str:
    missing = [p for p in POLICIES if p not in found]
    if not found or not missing:
        return "all six" if found else "–"
    if len(missing) <= 2:
        return "all but " + ", ".join(missing)
    return ", ".join(p for p in POLICIES if p in found)


def rows_shown(task: Task) -> str:
    counts = dict(task.expected)
    if "rows" not in counts:
        return "–"
    extra = f", {counts['unlabelled']} unlabelled" if counts.get("unlabelled") else ""
    split = f" ({counts['positive']:,} / {counts['negative']:,}{extra})" if "positive" in counts else ""
    return f"{counts['rows']:,}{split}"


def upstream_shown(task: Task) -> tuple[str, str]:
    sets = [s.hub_set for s in task.sources] or (list(task.hub_sets()) if task.dataset_path else [])
    if not sets:
        return "none", "–"
    shown = (
        [f"{s.path} ({', '.join(filter(None, (s.name, s.split)))})" for s in sets]
        if not task.sources
        else [s.path for s in sets]
    )
    pins = [s.revision if s.revision == "main" else f"`{s.revision[:12]}`" for s in sets]
    return ", ".join(dict.fromkeys(shown)), ", ".join(dict.fromkeys(pins))


def task_row(task: Task) -> list[str]:
    walk = task.taxonomy.crosswalk() if task.taxonomy is not None and task.target is not Target.REFUSAL else None
    policies = policies_shown(walk.expressible if walk else frozenset())
    licence = task.licence + (", gated" if task.gated else "")
    return [f"`{task.name}`", str(task.target), rows_shown(task), *upstream_shown(task), licence, policies]


def group_row(name: str) -> list[str]:
    group = INDEX.load_group(name)
    sizes = ", ".join(f"{n:,}" for n in group.paper_sizes.values()) or "–"
    return [f"`{name}`", str(group.target or "both"), ", ".join(f"`{t}`" for t in group.tasks), sizes]


def taxonomy_row(name: str) -> list[str]:
    found = load_taxonomy(name)
    walk = found.crosswalk()
    return [f"`{name}`", str(len(found.categories)), str(len(walk.lossy)), found.settles_negative, found.settles_positive]


def expected_tasks() -> list[list[str]]:
    return [task_row(INDEX.load(name)) for name, e in sorted(INDEX.entries().items()) if e.kind == "task"]


def expected_groups() -> list[list[str]]:
    return [group_row(name) for name, e in sorted(INDEX.entries().items()) if e.kind == "group"]


def expected_taxonomies() -> list[list[str]]:
    folder = Path(guardeval.__file__).parent / "taxonomies"
    return [taxonomy_row(p.stem) for p in sorted(folder.glob("*.yaml")) if p.stem != "guardeval"]


@pytest.mark.parametrize(
    ("first", "expected"), [("task", expected_tasks), ("group", expected_groups), ("taxonomy", expected_taxonomies)]
)
def test_tables_of_tasks_say_what_the_task_files_say(first, expected):
    assert table(page_text("docs/tasks.md"), first) == expected()


def test_every_tag_of_tasks_is_described():
    tags = {name for name, e in INDEX.entries().items() if e.kind == "tag"}
    assert tags <= set(names(section("docs/tasks.md", "## The tasks")))


def shown_default(field: dataclasses.Field[Any]) -> str:
    if isinstance(field.default_factory, partial):  # a solver, by its name
        return f"`{field.default_factory.args[0]}`"
    if field.default_factory is not dataclasses.MISSING:
        return "none"
    value = field.default
    if value is dataclasses.MISSING:
        return "required"
    if value in (None, ()):
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else f'{value:g}' if isinstance(value, float) else value}`"


def options_of(kind: str, name: str) -> list[tuple[str, str]]:
    return [(f"`{f.name}`", shown_default(f)) for f in dataclasses.fields(Registry().load(kind, name)) if f.init]


@pytest.mark.parametrize("backend", Registry().entries("models"))
def test_every_option_of_a_backend_is_described_with_its_default(backend):
    rows = table(section("docs/models.md", f"## `{backend}`"), "option")
    assert [(option, default) for option, default, _ in rows] == options_of("models", backend)
    assert all(meaning for _, _, meaning in rows)


def test_every_option_of_the_trainer_is_described_with_its_default():
    assert set(Registry().entries("trainers")) == {"linear", "rsft", "distill", "hs_dpo"}
    rows = table(section("docs/models.md", "### Training one"), "option of `-T`")
    assert [(option, default) for option, default, _ in rows] == options_of("trainers", "linear")


@pytest.mark.parametrize("optimizer", Registry().entries("optimizers"))
def test_every_option_of_an_optimizer_is_described_with_its_default(optimizer):
    rows = table(section("docs/optimizing.md", f"### `{optimizer}`"), "option")
    assert [(option, default) for option, default, _ in rows] == options_of("optimizers", optimizer)


def test_every_optimizer_and_flag_of_optimize_is_described():
    page = page_text("docs/optimizing.md")
    assert {names(row[0])[0] for row in table(page, "optimizer")} == set(Registry().entries("optimizers"))
    parser = Parser(prog="guardeval optimize", add_help=False)
    import_module("guardeval.cli.optimize_command").configure(parser)
    flags = [f for action in parser._actions for f in (action.option_strings or ["--optimizer"])[:1]]
    assert [names(row[0])[0] for row in table(page, "flag")] == [f for f in flags if f != "--optimizer"]


def test_every_backend_and_its_extra_is_described():
    rows = table(page_text("docs/models.md"), "backend")
    assert {names(backend)[0] for backend, _, _ in rows} == set(Registry().entries("models"))
    assert {n for _, _, extra in rows for n in names(extra)} <= set(extras())


def test_the_options_that_hs_dpo_adds_are_those_of_its_code():
    rows = table(section("docs/training_dpo.md", "## The loss"), "option")
    shared = {option for option, _ in options_of("trainers", "rsft")}
    assert {(option, default) for option, default, _ in rows} == {
        o for o in options_of("trainers", "hs_dpo") if o[0] not in shared
    }


def test_every_option_that_trainers_of_language_models_share_is_described_with_its_default():
    rows = table(section("docs/training.md", "## Options of all trainers of language models"), "option")
    assert [(option, default) for option, default, _ in rows] == options_of("trainers", "rsft")
    own = table(section("docs/training.md", "## A teacher"), "option")
    assert [(option, default) for option, default, _ in own] == options_of("trainers", "distill")[len(rows) :]


def test_every_recipe_that_ships_is_in_the_table():
    rows = table(page_text("docs/training_dpo.md"), "recipe")
    assert {names(row[0])[0]: names(row[1])[0] for row in rows} == {n: read_recipe(n).trainer for n in recipe_names()}


def solver_options(name: str) -> str:
    return ", ".join(f"{option[:-1]}={default.strip('`')}`" for option, default in options_of("solvers", name))


def test_every_solver_is_described_with_its_options():
    rows = table(page_text("docs/solvers.md"), "solver")
    assert {names(row[0])[0]: row[3] for row in rows} == {name: solver_options(name) for name in Registry().entries("solvers")}


def prompt_tokens(solver: str, policies: str) -> float:
    """Tokens of all prompts about one sample, by the estimate of a dry run."""
    args = {"base_url": LOOPBACK}
    settings = Settings(
        ("wildguard",), solver, model=(ModelSpec("openai_compatible/x", args),), policies=policies, data="sample", no_cache=True
    )
    (plan,) = dry_run(settings).values()
    return plan.tokens_in / INDEX.load("wildguard").open("sample").count()


def test_prompts_are_as_long_as_stated():
    rows = table(page_text("docs/solvers.md").partition("A prompt's length")[2], "solver")
    for (name,), *stated in ((names(row[0]), *row[1:]) for row in rows):
        measured = [prompt_tokens(name, policies) for policies in VERBOSITIES]
        assert [float(s.replace(",", "")) for s in stated] == pytest.approx(measured, rel=0.05), name
    entries = set(Registry().entries("solvers"))
    asked_in_our_words = {name for name in entries if not holds_a_solver(name) and not speaks_natively(name)}
    assert {names(row[0])[0] for row in rows} == asked_in_our_words | {"guardreasoner"}


def speaks_natively(name: str) -> bool:
    """It asks in the format of a guard family, or chooses one."""
    solver = Registry().load("solvers", name)
    return hasattr(solver, "families") or hasattr(solver, "for_model")


def test_every_native_family_is_in_the_table():
    rows = table(page_text("docs/native.md"), "solver")
    families = {n: Registry().load("solvers", n) for n in Registry().entries("solvers")}
    shown = {names(row[0])[0]: row for row in rows}
    assert set(shown) == {n for n, solver in families.items() if hasattr(solver, "families")}
    for name, row in shown.items():
        own = families[name].families
        assert {t for f in own for t in [f.taxonomy] if t} == {n for n in names(row[5]) if row[5] != "none"}, name
        versions = [f.options["version"] for f in own if "version" in f.options]
        assert all(version in row[2] for version in versions), name
        words = {Target.PROMPT: "prompt", Target.RESPONSE: "response", Target.REFUSAL: "refusal"}
        assert {t for t, word in words.items() if word in row[3]} == frozenset().union(*(f.targets for f in own)), name


def holds_a_solver(name: str) -> bool:
    """It asks in the words of another."""
    return any(isinstance(f.default_factory, partial) for f in dataclasses.fields(Registry().load("solvers", name)))


def extras() -> list[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return list(config["options.extras_require"])


def test_every_extra_is_described_and_exists():
    assert sorted(n for row in table(page_text("README.md"), "extra") for n in names(row[0])) == sorted(extras())
    for page in PAGES:
        for wanted in re.findall(r"(?:guardeval|\.)\[([a-z,-]+)\]", page_text(page)):
            assert set(wanted.split(",")) <= set(extras()), page


def run_flags() -> dict[str, str]:
    """Flag → default as documented: that of the setting it becomes."""
    parser = Parser(prog="guardeval run", add_help=False)
    import_module("guardeval.cli.run_command").configure(parser)
    fields = {f.name: f for f in dataclasses.fields(Settings)}
    out = {}
    for action in parser._actions:
        flag = next((o for o in action.option_strings if o.startswith("--")), action.option_strings[0])
        flag = "-M" if flag == "--model_args" else flag
        field = fields.get(flag.lstrip("-"))
        if flag == "--model":
            out[flag] = f"`{field.default[0].name}`"
        elif flag in ("--solver", "--policies"):
            out[flag] = f"`{DEFAULT_SOLVER if flag == '--solver' else DEFAULT_POLICIES}`"
        else:
            out[flag] = shown_default(field) if field is not None and field.default is not False else "none"
    return out


def test_every_flag_of_run_is_described_with_its_default():
    rows = table(page_text("docs/runs.md"), "flag")
    assert {names(row[0])[0]: row[1] for row in rows} == run_flags()


def test_every_flag_of_review_is_described():
    parser = Parser(prog="guardeval review", add_help=False)
    import_module("guardeval.cli.review_command").configure(parser)
    rows = table(page_text("docs/review.md"), "flag")
    assert [names(row[0])[0] for row in rows] == parser.flags()


def test_every_command_is_described():
    rows = table(page_text("docs/runs.md"), "command")
    assert {names(row[0])[0].split()[1] for row in rows} | {"run"} == set(COMMANDS)


def test_limits_of_the_broker_are_as_stated():
    retries = Retries()
    streak = FailureStreak.__init__.__defaults__[0]
    ollama = Registry().build("models", "ollama", {"model": "x"}).traits.connections
    expected = [retries.attempts, retries.cap, retries.total, retries.longest, streak, Traits().connections, ollama, 300]
    assert [float(number) for _, number in table(page_text("docs/runs.md"), "what")] == expected


def test_every_flag_of_synthesize_and_every_kind_is_described():
    parser = Parser(prog="synthesize", add_help=False)
    import_module("guardeval.cli.synthesize_command").configure(parser)
    described = [flag for row in table(page_text("docs/synthesize.md"), "flag") for flag in names(row[0])]
    assert set(parser.flags()) - {"--model_args"} <= set(described)
    from guardeval.synthesis import KINDS

    assert [names(row[0])[0] for row in table(page_text("docs/synthesize.md"), "kind")] == list(KINDS)
