"""``guardeval doctor``: this installation, what is optional and there, and where files go. Opens no connection."""

from __future__ import annotations

import argparse
import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from guardeval.cli.parser import Parser

__all__ = ["configure", "execute"]

_KEYS = ("OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "HF_TOKEN")
_FOR_DEVELOPERS = {"all", "dev"}


def configure(parser: Parser) -> None:
    parser.epilog = "Exit code 1 when something that is installed does not work."


def execute(args: argparse.Namespace) -> int:
    from guardeval import __version__
    from guardeval.task import TaskIndex
    from guardeval.validation import validate_plugins

    print(f"guardeval {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for extra, packages in _requirements().items():
        _print_extra(extra, packages)
    for key in _KEYS:
        print(f"  {key}: {'set' if os.environ.get(key) else 'not set'}")
    installed = [*validate_plugins(make=False).found, *TaskIndex().problems]
    problems = [*_cache(), *dict.fromkeys(installed), *_registered()]
    for problem in problems:
        print(f"problem: {problem}")
    print("all is well" if not problems else f"{len(problems)} problem{'s' if len(problems) > 1 else ''}")
    return 1 if problems else 0


def _registered() -> Iterator[str]:
    """Names of models whose folders are gone or other ones by now."""
    from guardeval.errors import GuardevalError
    from guardeval.registered_models import config_folder, registered_models

    try:
        found = registered_models()
        print(f"  registered models: {len(found)}, in {config_folder()}")
    except GuardevalError as e:
        yield str(e)
        return
    for entry in found.values():
        try:
            entry.checked()
        except GuardevalError as e:
            yield str(e)


def _requirements() -> dict[str, list[str]]:
    """Extra → packages that it brings, as the installed distribution states them; ``""``: what is always needed."""
    out: dict[str, list[str]] = {}
    for line in requires("guardeval") or ():
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == ['\"]([^'\"]+)", line)
        key = extra[1] if extra else ""
        if name and key not in _FOR_DEVELOPERS:
            out.setdefault(key, []).append(name[0])
    return out


def _print_extra(extra: str, packages: list[str]) -> None:
    found = {p: _version(p) for p in packages}
    shown = ", ".join(f"{p} {v or 'not installed'}" for p, v in found.items())
    remedy = f": pip install 'guardeval[{extra}]'" if extra and not all(found.values()) else ""
    print(f"  {f'[{extra}] ' if extra else ''}{shown}{remedy}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cache() -> Iterator[str]:
    from guardeval.broker import default_cache_path
    from guardeval.cli.cache_command import cache_lines
    from guardeval.errors import GuardevalError

    path = default_cache_path()
    folder = next((p for p in (path.parent, *path.parents) if p.exists()), Path("/"))
    if not os.access(folder, os.W_OK):
        yield f"{folder} is not writable: set GUARDEVAL_CACHE to a file that is, or run with --no_cache"
        return
    try:
        print(f"  cache of answers: {cache_lines(path)[0]}")
    except GuardevalError as e:
        yield str(e)
