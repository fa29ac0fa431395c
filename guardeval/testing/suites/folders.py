"""Folders before and after: what was written, and what was touched that should not have been."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Elsewhere", "contents", "watched"]


def contents(folder: Path) -> dict[str, str]:
    """Path under the folder → sha256, of every file."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


class Elsewhere:
    """``written``: files that appeared in the working folder and under the home folder, both empty before.

    What packages keep in ``~/.cache`` does not count: it may go at any time.
    """

    def __init__(self) -> None:
        self.written: list[str] = []


@contextmanager
def watched(place: Path) -> Iterator[Elsewhere]:
    """An empty working folder and an empty home folder for a while."""
    cwd, home = place / "cwd", place / "home"
    cwd.mkdir()
    home.mkdir()
    names = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME", "GUARDEVAL_CACHE")
    before, was = {name: os.environ.get(name) for name in names}, Path.cwd()
    found = Elsewhere()
    try:
        os.chdir(cwd)
        for name in names:
            os.environ.pop(name, None)
        os.environ["HOME"] = str(home)
        yield found
    finally:
        os.chdir(was)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        found.written = [f"./{p}" for p in contents(cwd)] + [f"~/{p}" for p in contents(home) if not p.startswith(".cache/")]
