"""A folder and a cache of one's own, benchmark rows made up here, and loopback servers with planted abilities."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SERVERS = Path(__file__).resolve().parent.parent / "plugins" / "servers"
sys.path.insert(0, str(SERVERS))  # tests are imported by file, so their helpers need a place to be found


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARDEVAL_CACHE", str(tmp_path / "cache.sqlite"))
    return tmp_path


@pytest.fixture
def made_rows(home) -> Callable[[int], tuple[Path, dict[str, bool]]]:
    """A file of n WildGuard rows that are no benchmark, two in five harmful, and the label of each prompt."""

    def make(n: int) -> tuple[Path, dict[str, bool]]:
        gold = {f"made-up request number {i}": i % 5 < 2 for i in range(n)}
        rows = [
            {"content": text, "labels": ["violence"] if bad else [], "source": "wildguardmix_others"}
            for text, bad in gold.items()
        ]
        path = home / "rows.json"
        path.write_text(json.dumps(rows))
        return path, gold

    return make
