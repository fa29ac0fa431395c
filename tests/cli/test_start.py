"""Starting: what is imported before anything is asked for, and how words become commands."""

from __future__ import annotations

import subprocess
import sys

import pytest

from guardeval.cli import COMMANDS, main
from guardeval.registry import KINDS

HEAVY = (
    "numpy",
    "datasets",
    "openai",
    "torch",
    "transformers",
    "trl",
    "peft",
    "onnxruntime",
    "datasketch",
    "aiohttp",
    "sklearn",
    "pyarrow",
    "pandas",
    "ollama",
    "lm_eval",
    "inspect_ai",
)


def imported_after(*words: str) -> set[str]:
    code = (
        "import sys\nfrom guardeval.cli import main\n"
        f"code = main({list(words)!r})\n"
        f"print('IMPORTED', code, *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    _, code, *modules = out[out.rindex("IMPORTED") :].split()
    assert code == "0", out
    return set(modules)


@pytest.mark.parametrize(
    "words",
    [("--help",), ("--version",), ("run", "--help"), *(("list", kind) for kind in KINDS)],
    ids=" ".join,
)
def test_asking_what_there_is_imports_nothing_heavy(words):
    assert imported_after(*words) == set()


def test_importing_guardeval_imports_nothing_heavy():
    code = f"import sys, guardeval\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"usage: guardeval {command}" in capsys.readouterr().out


def test_flags_are_accepted_in_snake_and_kebab_case(capsys):
    for flag in ("--dry_run", "--dry-run"):
        assert main(["run", "--task", "wildguard", "--data", "sample", flag, "--model", "dummy"]) == 0
        assert "nothing was sent" in capsys.readouterr().out


def test_flags_alone_mean_run(capsys):
    assert main(["--tasks", "wildguard", "--data", "sample", "--dry_run", "--model", "dummy"]) == 0
    assert "nothing was sent" in capsys.readouterr().out
