"""A working folder of one's own, with a cache and a list of registered models of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARDEVAL_CACHE", str(tmp_path / "cache.sqlite"))
    monkeypatch.setenv("GUARDEVAL_CONFIG", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def cli_main(desk):
    """Run a command in this process; its exit code."""
    from guardeval.cli import main

    return lambda *words: main([str(w) for w in words])
