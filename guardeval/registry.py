"""Plugins by name: entry points listed without importing anything, loaded when named, built from ``key=value`` options.

A registry is an object: tests make their own. The same line registers a built-in plugin and anybody else's.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from guardeval.contracts import Solver
from guardeval.errors import ConfigError, GuardevalError, PluginError, did_you_mean
from guardeval.plugin_exit import exited, raised_at
from guardeval.plugin_import import import_plugin

__all__ = ["KINDS", "Registry", "build", "changed_options", "configuration", "owner", "parse_options", "solver_field"]

KINDS = ("tasks", "solvers", "scorers", "models", "trainers", "optimizers")


class Registry:
    """What is installed, by kind and name. ``entry_points`` defaults to those of the running environment.

    What is wrong with one plugin hides no other: a name that two distributions claim can be listed and not be loaded.
    """

    def __init__(self, entry_points: Iterable[EntryPoint] | None = None) -> None:
        self._given = None if entry_points is None else list(entry_points)
        self._by_kind: dict[str, dict[str, tuple[EntryPoint, ...]]] = {}
        self._unreadable: dict[str, str] = {}  # distribution → what is wrong with its list of entry points
        self._class_paths = True

    def for_files(self) -> Registry:
        """The same plugins, for names that stand in records, logs and rows: these may come from anybody.

        A class path among them is refused, with whatever it would import, make and run; the user may give it by a flag.
        """
        out = Registry(self._given)
        out._class_paths = False
        return out

    def __getstate__(self) -> dict[str, Any]:
        """In another process it collects anew what is installed there."""
        return {"_given": self._given, "_by_kind": {}, "_unreadable": {}, "_class_paths": self._class_paths}

    def entries(self, kind: str) -> dict[str, EntryPoint]:
        """Name → entry point, sorted by name; of a name that is claimed twice the first: see :meth:`clashes`."""
        return {name: claims[0] for name, claims in self._claims(kind).items()}

    def all_entries(self, kind: str) -> list[EntryPoint]:
        """Every entry point, those of one name one after the other."""
        return [entry for claims in self._claims(kind).values() for entry in claims]

    def clashes(self, kind: str) -> dict[str, str]:
        """Name → who claims it, for each that is registered for different objects; a sentence each."""
        return {
            name: f"{kind[:-1]} {name!r} is registered twice, by {' and '.join(map(owner, claims))}: uninstall one"
            for name, claims in self._claims(kind).items()
            if len(claims) > 1
        }

    def unreadable(self) -> list[str]:
        """Distributions whose entry points cannot be read, a sentence each."""
        for kind in KINDS:
            self._claims(kind)
        return list(self._unreadable.values())

    def _claims(self, kind: str) -> dict[str, tuple[EntryPoint, ...]]:
        if kind not in self._by_kind:
            self._by_kind[kind] = self._collect(kind)
        return self._by_kind[kind]

    def _collect(self, kind: str) -> dict[str, tuple[EntryPoint, ...]]:
        group = f"guardeval.{kind}"
        found = self._installed(group) if self._given is None else [e for e in self._given if e.group == group]
        out: dict[str, tuple[EntryPoint, ...]] = {}
        for entry in sorted(found, key=lambda e: (e.name, not e.value.startswith("guardeval."), e.value)):
            known = out.get(entry.name, ())
            if all(other.value != entry.value for other in known):
                out[entry.name] = (*known, entry)
        return out

    def _installed(self, group: str) -> list[EntryPoint]:
        from importlib.metadata import distributions, entry_points

        try:
            return list(entry_points(group=group))
        except Exception:  # noqa: BLE001 - one damaged entry_points.txt: read them one by one, and say whose it is
            out: list[EntryPoint] = []
            seen: set[str] = set()
            for dist in distributions():
                if dist.name in seen:
                    continue  # hidden by one that stands before it on the path
                seen.add(dist.name)
                try:
                    out += [e for e in dist.entry_points if e.group == group]
                except Exception as e:  # noqa: BLE001 - whatever a damaged file makes of the reader
                    said = f"{dist.name} {dist.version}: its entry points cannot be read ({type(e).__name__}: {e})"
                    self._unreadable[str(dist.name)] = f"{said}; reinstall or uninstall it"
            return out

    def load(self, kind: str, name: str) -> Any:
        """The class behind a name or ``package.module:Class``; for tasks a package, and for models one that holds a folder.

        Raises :class:`PluginError` for a name that is unknown or claimed twice, and for a plugin that does not import or
        was written for a newer contract.
        """
        if ":" in name and "/" not in name:
            if not self._class_paths:
                said = f"{kind[:-1]} {name!r} is a class that a file names, and a file may come from anybody"
                raise PluginError(
                    f"{said}: only installed plugins are run from there; if you trust it, say --{kind[:-1]} {name}"
                )
            return import_plugin(kind, name, f"{kind[:-1]} {name!r}")
        clash = self.clashes(kind).get(name)
        if clash is not None:
            raise PluginError(clash)
        entry = self.entries(kind).get(name)
        if entry is None:
            raise PluginError(f"unknown {kind[:-1]} {name!r}{did_you_mean(name, self.entries(kind))}")
        return import_plugin(kind, entry.value, f"{kind[:-1]} {name!r} of {owner(entry)}")

    def build(self, kind: str, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """An instance of the plugin, its constructor fed with ``options`` (text values are read by annotation)."""
        return build(self.load(kind, name), options or {}, f"{kind[:-1]} {name!r}", self)

    def name_of(self, kind: str, cls: type) -> str:
        """The name that a class is registered under, else ``package.module:Class``, which means the same."""
        value = f"{cls.__module__}:{cls.__qualname__}"
        claims = self._claims(kind).items()
        return next((name for name, (entry, *others) in claims if entry.value == value and not others), value)


def solver_field(name: str) -> Any:
    """The default of a solver's field that holds another solver, by name: plugins do not import each other."""
    return dataclasses.field(default_factory=partial(_installed_solver, name))


def _installed_solver(name: str) -> Any:
    return Registry().build("solvers", name)


def owner(entry: EntryPoint) -> str:
    """Who registered it: the distribution, its version, and the object."""
    dist = entry.dist
    return f"{dist.name} {dist.version} ({entry.value})" if dist is not None else entry.value


def build(cls: Callable[..., Any], options: Mapping[str, Any], what: str, registry: Registry | None = None) -> Any:
    """``cls(**options)`` with text values converted by the constructor's annotations.

    An option annotated ``Solver`` takes a solver's name, or a mapping with ``solver:`` and its options;
    ``inner.skip=intent`` is an option of the solver in ``inner``. A class whose options are another tool's names the field
    that holds them in ``open_options``: what it does not know itself goes there, as it was given.
    Raises :class:`ConfigError` that names the option, what it takes, and the nearest known name; :class:`PluginError` where
    the constructor itself breaks.
    """
    parameters = inspect.signature(cls).parameters
    hints = typing.get_type_hints(cls if dataclasses.is_dataclass(cls) else cls.__dict__.get("__init__", cls))
    registry = registry or Registry()
    opened: str | None = getattr(cls, "open_options", None)
    kwargs: dict[str, Any] = {}
    for key, value in _nested(cls, options, what).items():
        name = key.replace("-", "_")
        if name not in parameters and opened is not None:
            kwargs[opened] = {**kwargs.get(opened, {}), key: value}
            continue
        if name not in parameters:
            raise ConfigError(f"{what} has no option {key!r}{did_you_mean(name, parameters)}")
        hint, option = hints.get(name, str), f"{what}: option {key}={value!r}"
        kwargs[name] = _solver(value, option, registry) if hint is Solver else _convert(value, hint, option)
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in kwargs]
    if missing:
        raise ConfigError(f"{what} needs {', '.join(f'{n}=…' for n in missing)}")
    try:
        return cls(**kwargs)
    except GuardevalError:
        raise
    except (TypeError, ValueError) as e:
        raise ConfigError(f"{what}: {e}") from e
    except SystemExit as e:
        raise exited(f"{what}: its constructor", e) from e
    except Exception as e:  # whatever a constructor raises is the plugin's fault: name it
        raise PluginError(f"{what} cannot be made: {type(e).__name__}: {e}{raised_at(e, __file__)}") from e


def _nested(cls: Callable[..., Any], options: Mapping[str, Any], what: str) -> dict[str, Any]:
    """``inner=a, inner.b=c`` → ``inner={"solver": "a", "b": "c"}``; the default's name where no inner solver is named."""
    out = {key: value for key, value in options.items() if "." not in key}
    for key, value in options.items():
        name, dot, rest = key.partition(".")
        if not dot:
            continue
        outer = name.replace("-", "_")
        held = out.get(outer, _default_solver(cls, outer))
        if held is None:
            raise ConfigError(f"{what} has no option {key!r}: {name!r} holds no solver, so it has no options of its own")
        held = {"solver": held} if isinstance(held, str) else dict(held)
        out[outer] = {**held, rest: value}
    return out


def _default_solver(cls: Callable[..., Any], name: str) -> str | None:
    fields = {f.name: f for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    made = getattr(fields.get(name), "default_factory", None)
    return str(made.args[0]) if isinstance(made, partial) and made.func is _installed_solver else None


def _solver(value: Any, what: str, registry: Registry) -> Any:
    if isinstance(value, str):
        return registry.build("solvers", value)
    if isinstance(value, Mapping):
        if not isinstance(value.get("solver"), str):
            raise ConfigError(f"{what}: a solver's name, or a mapping with `solver:` and its options, is wanted")
        return registry.build("solvers", value["solver"], {k: v for k, v in value.items() if k != "solver"})
    if isinstance(value, Solver):
        return value
    raise ConfigError(f"{what}: a solver's name, or a mapping with `solver:` and its options, is wanted")


def _convert(value: Any, hint: Any, what: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() in {"none", "null"} and type(None) in arguments):
            return None
        return _first_that_fits(value, [a for a in arguments if a is not type(None)], what)
    if origin is typing.Literal:
        for choice in arguments:
            if value == choice or str(choice) == str(value):
                return choice
        raise ConfigError(f"{what}: one of {', '.join(map(str, arguments))} is wanted")
    if origin in (tuple, list, frozenset, set):
        items = value.split(",") if isinstance(value, str) else list(value)
        inner = arguments[0] if arguments else str
        return origin(_convert(i.strip() if isinstance(i, str) else i, inner, what) for i in items if i != "")
    if origin is not None:
        return value
    return _scalar(value, hint, what)


def _first_that_fits(value: Any, hints: list[Any], what: str) -> Any:
    problem: ConfigError | None = None
    for hint in sorted(hints, key=lambda h: h is str):  # text fits everything, so it is tried last
        try:
            return _convert(value, hint, what)
        except ConfigError as e:
            problem = e
    raise problem or ConfigError(what)


_BOOLS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _scalar(value: Any, hint: Any, what: str) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() not in _BOOLS:
            raise ConfigError(f"{what}: true or false is wanted")
        return _BOOLS[str(value).lower()]
    if hint in (int, float):
        if isinstance(value, bool):
            raise ConfigError(f"{what}: a number is wanted")
        number: type[int] | type[float] = hint
        try:
            found = number(value)
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(f"{what}: {'a whole number' if hint is int else 'a number'} is wanted") from None
        if hint is int and abs(found) >= 2**63:
            raise ConfigError(f"{what}: a whole number below 2^63 is wanted")
        return found
    if inspect.isclass(hint) and issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            raise ConfigError(f"{what}: one of {', '.join(str(m.value) for m in hint)} is wanted") from None
    if hint is str:
        return str(value)
    return Path(value) if hint is Path and isinstance(value, str) else value


def configuration(plugin: object) -> dict[str, Any]:
    """Constructor fields of a plugin as JSON-able values, for ``run.yaml``; ``build(cls, configuration(x))`` equals x."""
    if dataclasses.is_dataclass(plugin) and not isinstance(plugin, type):
        names = [f.name for f in dataclasses.fields(plugin) if f.init]
    else:
        names = [n for n in inspect.signature(type(plugin)).parameters if hasattr(plugin, n)]
    return {n: _plain(getattr(plugin, n)) for n in names}


def changed_options(plugin: object) -> dict[str, Any]:
    """Those of :func:`configuration` that are not at their defaults."""
    usual = {n: p.default for n, p in inspect.signature(type(plugin)).parameters.items()}
    if dataclasses.is_dataclass(plugin):
        made = {f.name: f.default_factory for f in dataclasses.fields(plugin)}
        usual |= {n: make() for n, make in made.items() if make is not dataclasses.MISSING}
    return {n: v for n, v in configuration(plugin).items() if n not in usual or v != _plain(usual[n])}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list, set, frozenset)):
        items = [_plain(v) for v in value]
        return sorted(items) if isinstance(value, (set, frozenset)) else items
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Solver) and not isinstance(value, type):
        return {"solver": Registry().name_of("solvers", type(value)), **configuration(value)}
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def parse_options(pairs: Iterable[str], flag: str) -> dict[str, Any]:
    """``["k=v", "a=1,b=2"]`` → ``{"k": "v", "a": "1", "b": "2"}``; a value that starts as JSON list or object is read as such.

    A comma starts a new pair only where a ``name=`` follows, so that ``skip=intent,harms`` stays one value.
    """
    out: dict[str, Any] = {}
    for pair in pairs:
        for part in _split(pair):
            key, equals, value = part.partition("=")
            if not equals or not key.strip():
                raise ConfigError(f"{flag} {pair!r}: key=value is wanted")
            out[key.strip()] = _json(value.strip())
    return out


def _split(pair: str) -> list[str]:
    parts: list[str] = []
    for piece in pair.split(","):
        key, equals, _ = piece.partition("=")
        if parts and not (equals and key.strip().replace("-", "_").replace(".", "_").isidentifier()):
            parts[-1] += "," + piece
        else:
            parts.append(piece)
    return parts


def _json(value: str) -> Any:
    if value[:1] in "[{":
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value
