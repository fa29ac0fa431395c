"""What a plugin does while it is imported and made, watched in a process of its own: ``look(cls, options)``.

A fresh process tells what the running one cannot: which packages an import brings, and what is touched on the way. Reading
files counts against a constructor, not against an import, for many packages read their own data then.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["HEAVY", "Facts", "look"]

HEAVY = frozenset(
    "torch transformers datasets onnxruntime onnx optimum trl peft accelerate bitsandbytes sklearn pandas pyarrow matplotlib "
    "xllamacpp gguf ray inspect_ai lm_eval openai ollama aiohttp httpx vllm tensorflow jax anthropic".split()
)
_OWN = f"{Path(__file__).resolve().parent.parent}{os.sep}"  # taxonomies, prompts: guardeval's own data are as its code
_READING = {"open", "os.listdir", "os.scandir"}
_TOUCHING = (
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.fork"),
    *("os.putenv", "os.unsetenv", "os.chdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink"),
    *("shutil.rmtree", "shutil.copyfile", "shutil.move", "tempfile.mkdtemp", "tempfile.mkstemp", "sqlite3.connect"),
)


@dataclass(frozen=True)
class Facts:
    """What was seen. ``error`` is empty unless the class could not be found, made or unpickled there."""

    error: str = ""
    heavy: tuple[str, ...] = ()  # packages that importing the module and making the plugin brought
    on_import: tuple[str, ...] = ()  # what the import touched, in words
    on_making: tuple[str, ...] = ()  # what the constructor touched or read
    changed: tuple[str, ...] = ()  # state of the process that was other afterwards
    travelled: str = ""  # why a pickled plugin could not be used there, empty if it could


def look(cls: type[Any], configuration: Mapping[str, Any], pickled: bytes = b"") -> Facts:
    """Import the class's module and make the plugin from its configuration in a new process. Some 0.3 s, once each."""
    return _look(f"{cls.__module__}:{cls.__qualname__}", json.dumps(configuration, sort_keys=True), pickled)


@lru_cache(maxsize=256)
def _look(value: str, configuration: str, pickled: bytes) -> Facts:
    order = {"value": value, "configuration": json.loads(configuration), "path": sys.path}
    order["pickled"] = base64.b64encode(pickled).decode()
    done = subprocess.run(
        [sys.executable, "-m", "guardeval.testing.clean_room"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    if done.returncode:
        return Facts(error=done.stderr.strip()[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    told: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    return Facts(**told)


# ── in the new process ──────────────────────────────────────────────────────────────────────────────────────────────


class _Watch:
    """Events of the interpreter between ``begin`` and ``end``; those of the import system itself are left out."""

    def __init__(self) -> None:
        self._seen: list[str] | None = None
        self._reading = False
        sys.addaudithook(self._hear)

    def begin(self, reading: bool) -> None:
        self._seen, self._reading = [], reading

    def end(self) -> list[str]:
        seen, self._seen = self._seen or [], None
        return list(dict.fromkeys(seen))

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._seen is None or not self._counts(event, arguments) or _importing(sys._getframe(1)):
            return
        self._seen.append(f"{event} {arguments[0]!r}" if arguments else event)

    def _counts(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event.startswith(_TOUCHING):
            return True
        if event not in _READING:
            return False
        if event == "open" and _writes(arguments):
            return True
        return self._reading and not str(arguments[0]).startswith(_OWN)


def _writes(arguments: tuple[Any, ...]) -> bool:
    mode, flags = arguments[1], arguments[2]
    if isinstance(mode, str):
        return any(c in mode for c in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_filename.startswith("<frozen importlib") or name.startswith("importlib.metadata"):
            return True
        frame = frame.f_back
    return False


def _state() -> dict[str, Any]:
    root = logging.getLogger()
    return {
        "environment variables": dict(os.environ),
        "the working directory": str(Path.cwd()),
        "filters of warnings": [repr(f) for f in warnings.filters],
        "logging": (root.level, len(root.handlers), logging.root.manager.disable),
        "random's state": hash(random.getstate()),
    }


def _main() -> None:
    order = json.load(sys.stdin)
    sys.path[:] = order["path"]
    import numpy  # noqa: F401  a package of the core, whose import adds filters of warnings

    from guardeval.registry import Registry, build, configuration

    watch = _Watch()
    out, before = sys.stdout, _state()
    sys.stdout = sys.stderr  # what a plugin prints is no fact
    facts: dict[str, Any] = {}
    cls = _watched(watch, facts, "on_import", False, lambda: _load(order["value"]))
    before_making = _state()
    facts["changed"] = _differ(before, before_making, "the import")
    registry = Registry()
    made = _watched(watch, facts, "on_making", True, lambda: build(cls, order["configuration"], order["value"], registry))
    facts["changed"] += _differ(before_making, _state(), "the constructor")
    facts["heavy"] = sorted(HEAVY & set(sys.modules))
    facts["travelled"] = _travelled(order["pickled"], lambda plugin: configuration(plugin) == configuration(made))
    print(json.dumps(facts), file=out)


def _watched(watch: _Watch, facts: dict[str, Any], name: str, reading: bool, act: Callable[[], Any]) -> Any:
    watch.begin(reading)
    try:
        return act()
    finally:
        facts[name] = watch.end()


def _load(value: str) -> Any:
    import importlib

    module, _, attribute = value.partition(":")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _differ(before: Mapping[str, Any], after: Mapping[str, Any], who: str) -> list[str]:
    return [f"{who} changed {name}" for name in before if before[name] != after[name]]


def _travelled(pickled: str, same: Callable[[Any], bool]) -> str:
    if not pickled:
        return ""
    try:
        plugin = pickle.loads(base64.b64decode(pickled))  # noqa: S301  made by the parent process
        return "" if same(plugin) else "it arrived with another configuration"
    except Exception as e:  # noqa: BLE001  whatever a plugin raises when it is unpickled is the answer
        return f"{type(e).__name__}: {e}"


if __name__ == "__main__":
    _main()
