"""What can be told of a plugin without importing it: where its file is, and what is plainly wrong with it.

``guardeval list`` imports nothing, and yet names what cannot work; what only an import shows, `guardeval validate` finds.
"""

from __future__ import annotations

import ast
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

from guardeval.contracts import CONTRACT_VERSION
from guardeval.plugin_import import newer_contract, stated_contract
from guardeval.registry import owner
from guardeval.task_entries import locate_module, locate_package

__all__ = ["plain_problem"]


def plain_problem(kind: str, entry: EntryPoint) -> str | None:
    """A sentence about a plugin that cannot be used, None where the source shows no reason."""
    what = f"{kind[:-1]} {entry.name!r} of {owner(entry)}"
    module, _, attribute = entry.value.partition(":")
    path = _file(module)
    if path is None:
        return f"{what}: there is no module {module!r}; reinstall or uninstall it"
    if path.suffix != ".py":
        return None  # compiled: nothing to read
    wanted = stated_contract(path, attribute)
    if wanted > CONTRACT_VERSION:
        return newer_contract(what, wanted)
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (OSError, ValueError) as e:
        return f"{what} cannot be read: {e} ({path})"
    except SyntaxError as e:
        return f"{what} does not import: SyntaxError: {e.msg}, at {path}:{e.lineno}"
    return next((f"{what} does not import: {said}, at {path}:{line}" for line, said in _missing(tree)), None)


def _file(module: str) -> Path | None:
    path = locate_module(module)
    folders = locate_package(module) if path is None else ()
    return path if path is not None else Path(folders[0]) if folders else None  # a package without __init__.py


def _missing(tree: ast.Module) -> list[tuple[int, str]]:
    """Packages that the module imports at its top level, whatever happens, and that are not installed."""
    out = []
    for node in tree.body:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module]
        out += [(node.lineno, f"no package {top!r} is installed") for n in names if not _is_there(top := n.partition(".")[0])]
    return out


def _is_there(top: str) -> bool:
    try:
        return find_spec(top) is not None
    except (ImportError, ValueError, AttributeError):  # `__main__` and the like: not for us to say
        return True
