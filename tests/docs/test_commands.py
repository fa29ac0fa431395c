"""What the documentation shows to be typed runs as it stands, or at least is spelt right."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from pages import LOOPBACK, PAGES, ROOT, blocks, commands

from guardeval.cli import COMMANDS, main
from guardeval.cli.parser import parse
from guardeval.executors import make_executor
from guardeval.models import build_model
from guardeval.registry import Registry, parse_options
from guardeval.settings import DEFAULT_SOLVER, Settings
from guardeval.task import TaskIndex
from guardeval.testing.faults import FaultServer

NEEDS = {
    "server",
    "key",
    "hub",
    "gpu",
    "file",
    "lm-eval",
    "person",
    "cluster",
    "install",
}  # what a block may say that it cannot do without
INDEX = TaskIndex()


def run_command(words: list[str]) -> int:
    if words[:3] == ["python", "-m", "guardeval"]:
        words = words[2:]
    if words[:2] == ["pip", "install"]:
        return install(words[2:])
    if words[0] == "pytest":
        return python("-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", *words[1:])
    assert words[0] == "guardeval", f"{words[0]}: a block of commands for something else says what it needs"
    return main(words[1:])


def install(paths: list[str]) -> int:
    """What pip does with folders, without a network: into ``site``, which is importable."""
    assert all(path.startswith("./") for path in paths), (
        f"pip install {paths}: of packages from afar a block says what it needs"
    )
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--target", "site")
    done = python("-m", "pip", "install", "--quiet", *offline, *paths)
    importlib.invalidate_caches()
    return done


def python(*words: str) -> int:
    known = {**os.environ, "PYTHONPATH": str(Path("site").resolve())}
    return subprocess.run([sys.executable, *words], env=known, timeout=300, check=False).returncode


def check_command(words: list[str], installed: bool = True) -> None:
    """Every flag, option and name in a command that cannot be run here exists; names only where they are ``installed``."""
    if words[0] != "guardeval":
        assert words[0] in {"accelerate", "export", "inspect", "lm_eval", "ollama", "pip", "pytest"}, words
        return
    command = words[1] if words[1] in COMMANDS else "run"
    module = import_module(f"guardeval.cli.{command.replace('-', '_')}_command")
    parsed = parse(command, COMMANDS[command], module.configure, words[2:])
    if not installed:
        return
    registry = Registry()
    if command == "run":
        settings: Settings = module.settings_of(parsed)
        registry.build("solvers", settings.solver or DEFAULT_SOLVER, settings.solver_args)
        assert INDEX.select(settings.task).tasks
        assert make_executor(settings.executor, settings.executor_args)
        assert all(build_model(spec, registry) for spec in settings.model)
    elif command == "train":
        registry.build("trainers", parsed.trainer, parse_options(parsed.options, "-T"))
    elif command == "optimize":
        registry.build("optimizers", parsed.optimizer, parse_options(parsed.options, "-O"))
        assert parsed.task is None or INDEX.select(parsed.task).tasks
    elif getattr(parsed, "task", None):
        assert INDEX.select(parsed.task).tasks


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Iterator[Path]:
    """An empty folder to work in, with a cache of its own; modules written into it are importable, as for ``python -m``."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARDEVAL_CACHE", str(tmp_path / "cache.sqlite"))
    monkeypatch.setenv("GUARDEVAL_CONFIG", str(tmp_path / ".config"))
    monkeypatch.setenv("OPENAI_API_KEY", "not a key")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))  # where `install` puts packages
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_runs_as_it_stands(page, desk, capsys):
    for block in blocks(page):
        where = f"{page}:{block.line}"
        if "file" in block.info:
            path = desk / block.info["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif "needs" in block.info:
            assert block.info["needs"] in NEEDS, where
            for words in commands(block):
                check_command(words, block.info["needs"] != "install")
        elif block.language == "python":
            exec(compile(block.text, where, "exec"), {"__name__": "page"})
        elif block.language == "sh":
            for words in commands(block):
                assert run_command(words) == 0, f"{where}: {shlex.join(words)}\n{capsys.readouterr().err}"


def test_commands_for_a_server_run_against_one(desk, capsys):
    asked = 0
    with FaultServer("Intent: plain.\nDecision: unharmful\nPolicies: none", models=("my-model", "guard")) as server:
        for page in PAGES:
            for words in (w for b in blocks(page) if b.info.get("needs") == "server" for w in commands(b)):
                if any(LOOPBACK in word for word in words):
                    here = [word.replace(LOOPBACK, server.url) for word in words]
                    small = ["--data", "sample", "--limit", "6"] if here[1] == "run" else []
                    said = run_command([*here, *small])
                    assert said == 0 or here[1] == "validate", capsys.readouterr().err  # this server shows no rendered prompt
                    asked += 1
    assert asked >= 3


def test_the_first_block_of_the_readme_is_the_two_commands():
    assert blocks("README.md")[0].text == "./scripts/demo\n./scripts/test\n"
    for script in ("scripts/demo", "scripts/test"):
        assert os.access(ROOT / script, os.X_OK)
