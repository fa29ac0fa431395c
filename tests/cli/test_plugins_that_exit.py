"""Plugins that call ``sys.exit``: the command says so and fails; it never ends as if all were well."""

from __future__ import annotations

import pytest

PLUGINS = """\
import sys
from dataclasses import dataclass
from typing import ClassVar

from guardeval.contracts import Completion, Traits
from guardeval.solvers.direct import Direct


@dataclass(frozen=True)
class Boom:
    "Leaves when it is made."

    code: int = 0

    def __post_init__(self):
        sys.exit(self.code)

    async def solve(self, case, model): ...


@dataclass(frozen=True)
class Leaves:
    "Leaves when it is asked."

    async def solve(self, case, model):
        sys.exit(0)


@dataclass(frozen=True)
class Scores:
    "Leaves when it scores."

    higher_is_better: ClassVar[bool] = True

    def score(self, judged):
        sys.exit(0)


@dataclass(frozen=True)
class Remote:
    "Leaves instead of an answer."

    traits: ClassVar[Traits] = Traits()
    identity: ClassVar[dict] = {"backend": "remote"}

    async def generate(self, request):
        sys.exit(0)


@dataclass(frozen=True)
class Local:
    "Leaves instead of answers."

    traits: ClassVar[Traits] = Traits()
    identity: ClassVar[dict] = {"backend": "local"}

    def generate_batch(self, requests):
        sys.exit(0)


@dataclass(frozen=True)
class Instant(Local):
    traits: ClassVar[Traits] = Traits(instant=True)


@dataclass(frozen=True)
class Starts(Remote):
    async def start(self):
        sys.exit(0)


@dataclass(frozen=True)
class Nameless(Remote):
    @property
    def identity(self):
        sys.exit(0)


@dataclass(frozen=True)
class Chooses(Direct):
    "Leaves where it is asked which solver it stands for."

    def for_model(self, name):
        sys.exit(0)
"""
RUN = ("run", "--task", "wildguard", "--data", "sample", "--limit", "4", "--no_cache", "--quiet")


@pytest.fixture
def fun(desk):
    (desk / "fun.py").write_text(PLUGINS)
    return desk


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--solver", "fun:Boom", "--model", "dummy"), "solver 'fun:Boom': its constructor called sys.exit(0), at "),
        (("--solver", "fun:Leaves", "--model", "dummy"), "solver Leaves, asked about sample "),
        (
            ("--solver", "ensemble", "-S", "inner=fun:Leaves", "--model", "dummy", "--model", "embedded"),
            "a solver called sys.exit(0)",
        ),
        (("--solver", "fun:Chooses", "--model", "dummy"), "a plugin called sys.exit(0), at "),
        (("--model", "fun:Remote"), "model fun:Remote called sys.exit(0), at "),
        (("--model", "fun:Local"), "model fun:Local called sys.exit(0), at "),
        (("--model", "fun:Instant"), "model fun:Instant called sys.exit(0), at "),
        (("--model", "fun:Starts"), "model fun:Starts, being started, called sys.exit(0), at "),
        (("--model", "fun:Nameless"), "a plugin called sys.exit(0), at "),
    ],
)
def test_a_run_whose_plugin_leaves_is_an_error_with_its_name_and_place(cli, fun, words, told):
    done = cli(*RUN, *words)
    assert done.code == 2
    assert told in done.err
    assert "fun.py:" in done.err
    assert "run folder" not in done.out
    assert not (fun / "runs").exists() or not list((fun / "runs").iterdir())


def test_what_was_heard_is_kept_where_a_scorer_leaves(cli, fun):
    done = cli(*RUN, "--model", "dummy", "--scorer", "fun:Scores")
    assert done.code == 2
    assert "scorer 'fun:Scores' called sys.exit(0), at " in done.err
    (run,) = (fun / "runs").iterdir()
    assert (run / "run.yaml").is_file()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fun:Boom", "cannot be made with its own defaults: PluginError: Boom: its constructor called sys.exit(0), at "),
        ("fun:Nameless", "cannot be asked what it is: SystemExit: 0"),
    ],
)
def test_validate_names_it(cli, fun, name, told):
    done = cli("validate", "plugin", name)
    assert done.code == 1
    assert told in done.out
    assert done.out.endswith("1 plugin checked, 1 problem\n")


def test_an_exit_from_elsewhere_is_exit_code_2_with_and_without_debug(fun, shell):
    (fun / "leaver.py").write_text(
        "import sys\nclass Leaver:\n    'Leaves.'\n    def train(self, rows, out):\n        sys.exit(0)\n"
    )
    words = "guardeval train leaver:Leaver --task wildguard --data sample --out made"
    done = shell(words)
    assert done.returncode == 2
    assert "guardeval train: a plugin called sys.exit(0), at " in done.stderr
    assert done.stdout == ""
    assert shell(f"{words} --debug").returncode != 0
