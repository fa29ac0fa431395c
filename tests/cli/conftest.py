"""The command line in an empty folder of one's own, with a cache of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from guardeval.cli import main


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """An empty working folder; what is written into it is importable, as for ``python -m``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARDEVAL_CACHE", str(tmp_path / "cache.sqlite"))
    monkeypatch.setenv("GUARDEVAL_CONFIG", str(tmp_path / ".config"))
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def cli(desk, capsys) -> Callable[..., Said]:
    """Run a command in this process."""

    def run(*words: object) -> Said:
        capsys.readouterr()
        code = main([str(w) for w in words])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def guard_run(cli) -> Callable[..., Path]:
    """``guardeval run`` on sample rows; the folder that it wrote."""

    def run(*words: object, task: str = "wildguard") -> Path:
        done = cli("run", "--task", task, "--data", "sample", "--no_cache", "--quiet", *words)
        assert done.code == 0, done.err
        return Path(done.out.rpartition("run folder: ")[2].splitlines()[0]).resolve()

    return run


@pytest.fixture
def shell(desk) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A line of shell in which ``guardeval`` is this interpreter's."""

    def run(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
        script = f'guardeval() {{ "{sys.executable}" -m guardeval "$@"; }}\nset -o pipefail\n{line}'
        known = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR") and not k.startswith("PYTHON")}
        known |= {"OMP_NUM_THREADS": "1", **environment}
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=known, timeout=120, check=False)

    return run


@pytest.fixture
def results_of() -> Callable[[Path], dict[str, Any]]:
    def read(run: Path) -> dict[str, Any]:
        return dict(json.loads(next(run.glob("results_*.json")).read_bytes()))

    return read


@pytest.fixture
def my_task(desk) -> Path:
    """A folder with a task of one's own, ``mine``, and rows for it."""
    folder = desk / "my tasks"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "# mine.yaml - rows of my own\ntask: mine\ndataset_path: json\n"
        "dataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\nmetadata:\n  version: 1.0\n"
        "  target: prompt_harmfulness\n  fields: {prompt: text}\n  label: {column: label, positive: 1, negative: 0}\n"
    )
    rows = [{"text": f"hello {i}", "label": i % 2} for i in range(8)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder
