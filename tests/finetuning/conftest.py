"""What the tests of trainers share: rows on disk, tiny models made once a file, the command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "plugins" / "servers")]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with ``traces.json`` (200 rows, 20 for validation) and short ``policies``."""
    from training_support import short_policies, trace_file

    folder = tmp_path_factory.mktemp("training")
    trace_file(folder / "traces.json", 200, 20)
    short_policies(folder / "policies")
    return folder


@pytest.fixture(scope="module")
def blank(place) -> Path:
    """A tiny model of transformers' that has learned nothing."""
    from training_support import made_traces

    from guardeval.finetuning.scratch import make_scratch
    from guardeval.finetuning.supervised import answer_texts
    from guardeval.policies import load_policies
    from guardeval.registry import Registry

    solver, policies = Registry().build("solvers", "multistep"), load_policies(place / "policies")
    texts = answer_texts(made_traces(60), solver, policies)
    return make_scratch(place / "blank", texts, width=32, depth=1, context=2048, seed=0)


@pytest.fixture(scope="module")
def guardeval(place) -> Callable[..., subprocess.Popen[str]]:
    """``guardeval …`` begun in the folder, in a process of its own, on one thread."""

    def begin(
        *words: object, start: tuple[str, ...] = (sys.executable, "-m", "guardeval"), **env: str
    ) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GUARDEVAL_CACHE": str(place / "cache.sqlite"), **env}
        command = [*start, *map(str, words)]
        return subprocess.Popen(
            command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )

    return begin


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def here(place, monkeypatch, capsys) -> Callable[..., Said]:
    """``guardeval …`` in the folder, in this process."""
    import torch

    torch.set_num_threads(1)
    monkeypatch.chdir(place)
    monkeypatch.setenv("GUARDEVAL_CACHE", str(place / "cache.sqlite"))

    def run(*words: object) -> Said:
        from guardeval.cli import main

        capsys.readouterr()
        code = main([str(w) for w in words])
        return Said(code, *capsys.readouterr())

    return run
