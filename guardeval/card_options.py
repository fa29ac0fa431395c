"""What a model card may make a program do: choose options, files inside its own folder, and nothing else.

A card may come from anybody. Addresses, keys and code are the user's to give: a card that asks for them is refused, with the
flag that says the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guardeval.errors import ConfigError
from guardeval.policies import VERBOSITIES

__all__ = ["backend_of_card", "inside", "options_of_card", "policies_of_card", "solver_of_card"]

_ONLY_USER = ("trust_remote_code", "base_url", "api_key_env")
_CLASS = re.compile(r"\s*[\w.]+:[\w.]+\s*")
_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def backend_of_card(folder: Path, card: Mapping[str, Any]) -> str:
    """Raises :class:`ConfigError` for anything but the name of an installed backend."""
    name = str(card["backend"])
    if ":" in name or "/" in name:
        raise ConfigError(
            f"{folder}: its card names the backend {name!r}; a card may only name an installed one, for a class would be run. "
            "Ask it with --model package.module:Class -M model=FOLDER if you trust it"
        )
    return name


def options_of_card(folder: Path, card: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """Options for the backend, files by their absolute paths.

    Raises :class:`ConfigError` for one that only the user may give, or that leads out of the folder.
    """
    options = dict(card.get("options") or {})
    for name in _ONLY_USER:
        if options.get(name) not in (None, False, "false"):
            raise ConfigError(
                f"{folder}: its card sets {name}={options[name]!r}, which only you may: take it out of the card, and if you "
                f"trust the model, say -M {name}=…"
            )
    return _with_paths(folder, options, getattr(cls, "path_options", ()), "option")


def solver_of_card(folder: Path, card: Mapping[str, Any], registry: Any) -> tuple[str, dict[str, Any]] | None:
    """The solver that the model was trained for, and its options; None where it names none."""
    name = card.get("solver")
    if name is None:
        return None
    options = dict(card.get("solver_args") or {})
    for said in (name, *_texts(options)):
        if _CLASS.fullmatch(said):
            raise ConfigError(
                f"{folder}: its card names the solver {said!r}, a class, which would be run; if you trust it, say "
                f"--solver {said}"
            )
    return str(name), _solver_paths(folder, str(name), options, registry)


def policies_of_card(folder: Path, card: Mapping[str, Any]) -> str | None:
    """A verbosity, or the absolute path of a folder of policy texts inside ``folder``; None where the card names none."""
    value = card.get("policies")
    if value is None or value in VERBOSITIES:
        return value
    return str(inside(folder, str(value), "policies"))


def _solver_paths(folder: Path, name: str, options: Mapping[str, Any], registry: Any) -> dict[str, Any]:
    """Files named in the options of a solver, and of those that it holds, by absolute paths inside the folder."""
    out = {}
    for key, value in options.items():
        out[key] = value
        if isinstance(value, Mapping) and isinstance(held := value.get("solver"), str):
            out[key] = {"solver": held, **_solver_paths(folder, held, _inner(value), registry)}
    paths = tuple(getattr(registry.load("solvers", name), "path_options", ()))
    dotted = tuple(k for k in out if "." in k and k.rpartition(".")[2] in ("weights", *paths))
    return _with_paths(folder, out, (*paths, *dotted), "solver option")


def _inner(value: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in value.items() if k != "solver"}


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [text for item in items for text in _texts(item)]


def _with_paths(folder: Path, options: Mapping[str, Any], paths: tuple[str, ...], what: str) -> dict[str, Any]:
    out = dict(options)
    for name in paths:
        value = out.get(name)
        if isinstance(value, str) and value:
            hub = _HUB.fullmatch(value) and not (folder / value).exists() and not Path(value).exists()
            out[name] = value if hub else str(inside(folder, value, f"{what} {name}"))
        elif value is not None:
            raise ConfigError(f"{folder}: its card: {what} {name} is {value!r}; a path inside the folder is wanted")
    return out


def inside(folder: Path, value: str, what: str) -> Path:
    """A file or folder that a card names, by its absolute path. Raises :class:`ConfigError` where it is outside or missing."""
    root = folder.expanduser().resolve()
    path = (root / value).resolve()
    if Path(value).is_absolute() or value.startswith("~") or not path.is_relative_to(root):
        raise ConfigError(f"{folder}: its card: {what} is {value!r}, which leads out of the model folder: that is refused")
    if not path.exists():
        raise ConfigError(f"{folder}: its card: {what} is {value!r}, which is not in the folder; copy the model folder again")
    return path
