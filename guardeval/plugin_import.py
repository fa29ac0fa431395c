"""Importing a plugin: what it raises is its own fault and is said with its name, its file and line.

A plugin says which contract it was written for in ``contract_version``, an attribute of its class or of its module
(:data:`guardeval.contracts.CONTRACT_VERSION`); one that says nothing was written for the first.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guardeval.contracts import CONTRACT_VERSION
from guardeval.errors import PluginError
from guardeval.plugin_exit import raised_at

__all__ = ["import_plugin", "newer_contract", "stated_contract"]

_STATED = re.compile(r"^[ \t]*contract_version[ \t]*(?::[^=\n]+)?=[ \t]*(\d{1,9})[ \t]*(?:#.*)?$", re.MULTILINE)


def import_plugin(kind: str, value: str, what: str) -> Any:
    """The object behind ``package.module:Class``; ``what`` names the plugin in errors.

    Raises :class:`PluginError` for one that does not import, is no class, or wants a newer contract than this one.
    """
    module, _, attribute = value.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
    except (Exception, SystemExit) as e:  # whatever a plugin raises while it is imported is the plugin's fault: name it
        from guardeval.task_entries import locate_module

        wanted = stated_contract(locate_module(module), attribute)  # what the newer contract brought may be what it misses
        if wanted > CONTRACT_VERSION:
            raise PluginError(newer_contract(what, wanted)) from e
        where = f"looked for {value}{raised_at(e, __file__)}"
        raise PluginError(f"{what} does not import: {type(e).__name__}: {e} ({where})") from e
    wanted = _contract_of(found, module, what)
    if wanted > CONTRACT_VERSION:
        raise PluginError(newer_contract(what, wanted))
    if kind == "models" and isinstance(found, types.ModuleType) and not attribute:
        return found  # a package that holds a model folder
    if kind != "tasks" and not inspect.isclass(found):
        raise PluginError(f"{what} is {type(found).__name__}, not a class ({value})")
    return found


def newer_contract(what: str, wanted: int) -> str:
    """The sentence about a plugin that was written for a contract of the future."""
    from guardeval import __version__

    return (
        f"{what} was written for version {wanted} of the plugin contract, and guardeval {__version__} has version "
        f"{CONTRACT_VERSION}: upgrade guardeval (pip install --upgrade guardeval), or install an older version of the plugin"
    )


def stated_contract(path: Path | None, attribute: str = "") -> int:
    """The highest contract version that a source file states for ``attribute``, read and not imported; 1 where it states none.

    What another class of the module states is not about this one, as far as this Python can read the file.
    """
    try:
        text = "" if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return 1
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):  # of a newer Python, perhaps
        return max(map(int, _STATED.findall(text)), default=1)
    stated = _stated_in(body)
    for part in attribute.split("."):
        body = next((n.body for n in body if isinstance(n, ast.ClassDef) and n.name == part), [])
        stated += _stated_in(body)
    return max(stated, default=1)


def _stated_in(body: Sequence[ast.stmt]) -> list[int]:
    out = []
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        value = getattr(node, "value", None)
        if any(isinstance(t, ast.Name) and t.id == "contract_version" for t in targets) and isinstance(value, ast.Constant):
            out += [value.value] if isinstance(value.value, int) else []
    return out


def _contract_of(found: Any, module: str, what: str) -> int:
    stated = [getattr(found, "contract_version", None), getattr(sys.modules.get(module), "contract_version", None)]
    for version in stated:
        if version is not None and not isinstance(version, int):
            raise PluginError(f"{what}: contract_version is {version!r}; a whole number is wanted, e.g. {CONTRACT_VERSION}")
    return max((v for v in stated if v is not None), default=1)
