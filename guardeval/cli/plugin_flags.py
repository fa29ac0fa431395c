"""Options of the plugin that a command runs, given as flags: ``--epochs 3 --full`` means ``-T epochs=3 -T full=true``."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

from guardeval.cli.parser import Parser
from guardeval.errors import PluginError, did_you_mean
from guardeval.registry import Registry

__all__ = ["as_options", "has_option"]


def as_options(words: Sequence[str], parser: Parser, kind: str, short: str) -> list[str]:
    """The words, with flags that are options of the plugin named first turned into ``short`` pairs; others stay as they are.

    A yes-or-no option needs no value. Raises :class:`PluginError` for an unknown plugin or flag, with the nearest known one.
    """
    named = next((w for w in words if not w.startswith("-")), None)
    own = set(parser.flags())
    if named is None or words[0] != named:
        return list(words)
    types = _types(Registry().load(kind, named))
    out, rest = [named], list(words[1:])
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        name = flag[2:].replace("-", "_")
        if not word.startswith("--") or "--" + name in own:
            out.append(word)
            continue
        if name not in types:
            known = [*own, *(f"--{t}" for t in types)]
            raise PluginError(f"{kind[:-1]} {named!r} has no option {flag!r}{did_you_mean('--' + name, known)}")
        if not equals:
            alone = types[name] is bool and (not rest or rest[0].startswith("-") or rest[0].lower() not in _SAID)
            value = "true" if alone else _next(rest, flag)
        out += [short, f"{name}={value}"]
    return out


_SAID = ("true", "false", "yes", "no", "on", "off", "1", "0")


def _next(rest: list[str], flag: str) -> str:
    if not rest:
        raise PluginError(f"{flag} needs a value")
    return rest.pop(0)


def has_option(cls: type, name: str) -> bool:
    """Whether a plugin's constructor takes an option of this name."""
    return name in _types(cls)


def _types(cls: type) -> dict[str, Any]:
    if not dataclasses.is_dataclass(cls):
        return {}
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}
