"""A desk with seeds on it, a small world of models, and the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guardeval.cli import main

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "plugins" / "servers")]  # tests are imported by file; helpers need a place

from small_world import SEEDS, Said, World  # noqa: E402


@pytest.fixture
def world() -> Iterator[World]:
    found = World()
    with found.server:
        yield found


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARDEVAL_CACHE", str(tmp_path / "cache.sqlite"))
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


@pytest.fixture
def seeds(desk: Path) -> Path:
    path = desk / "hard.json"
    path.write_text(json.dumps(SEEDS))
    return path


@pytest.fixture
def command(world: World) -> Callable[..., list[str]]:
    """The words of a synthesis with one writer and some judges."""

    def words(*more: object, judges: int = 1, seeds: object = "hard.json") -> list[str]:
        url = f"base_url={world.server.url}/v1"
        who = ["--model", "openai_compatible/writer", "-M", url, "-M", "price=1,1"]
        for i in range(judges):
            who += ["--verifier", f"openai_compatible/judge{i + 1}", "-M", url, "-M", "price=1,1"]
        return ["synthesize", "--seeds", str(seeds), *who, "-o", "synthetic.json", "--quiet", *map(str, more)]

    return words


@pytest.fixture
def synthesize(desk: Path, command: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*more: object, **options: Any) -> Said:
        capsys.readouterr()
        code = main(command(*more, **options))
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run
