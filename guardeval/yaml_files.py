"""YAML files, read safely: ``include`` as in lm-eval, ``!function`` as a name that is looked up only when used.

Every value remembers the line it stands on, so that an error can say ``tasks/wildguard.yaml:12``.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from guardeval.errors import ConfigError, PluginError, did_you_mean

__all__ = ["FunctionRef", "Spec", "SpecError", "YamlFile", "load_yaml", "plain_values"]

Keys = tuple[str | int, ...]
_NOT_INHERITED = ("task_list",)  # lm-eval: it defines tasks of the included file only


class SpecError(ConfigError):
    """What is wrong with one key of a YAML file; ``keys`` lead to it, ``column`` is where it stands in its line, from 1."""

    def __init__(self, message: str, keys: Keys = (), column: int | None = None) -> None:
        super().__init__(message, keys, column)
        self.keys = keys
        self.column = column

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class FunctionRef:
    """``!function module.attr`` before anybody has asked for it: nothing is imported by reading a file."""

    name: str
    folder: Path  # of the YAML file it stands in
    where: str

    def resolve(self, trusted: Iterable[Path], packages: Iterable[str]) -> Callable[..., Any]:
        """The function: from ``module.py`` beside the YAML if its folder is trusted, else from an installed plugin package.

        ``trusted`` holds folders that the user named or that installed plugins own; ``packages`` the importable
        packages of installed plugins. Raises :class:`ConfigError` for any other place, :class:`PluginError` for one
        that does not import.
        """
        module_name, _, attribute = self.name.rpartition(".")
        if not module_name or not all(part.isidentifier() for part in self.name.split(".")):
            raise ConfigError(f"{self.where}: !function {self.name!r}: module.function is wanted")
        beside = self.folder.joinpath(*module_name.split(".")).with_suffix(".py")
        try:
            if beside.is_file():
                self._check_trust(trusted)
                module = _module_from(beside)
            elif any(module_name == p or module_name.startswith(p + ".") for p in packages):
                module = importlib.import_module(module_name)
            else:
                raise ConfigError(
                    f"{self.where}: !function {self.name}: no {beside.name} beside the file, and {module_name!r} is not part "
                    "of an installed plugin"
                )
        except ConfigError:
            raise
        except Exception as e:  # whatever a plugin raises while it is imported is the plugin's fault: name it
            raise PluginError(f"{self.where}: !function {self.name} does not import: {type(e).__name__}: {e}") from e
        found = getattr(module, attribute, None)
        if not callable(found):
            known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            raise ConfigError(f"{self.where}: {module_name} has no function {attribute!r}{did_you_mean(attribute, known)}")
        return found  # type: ignore[no-any-return]

    def _check_trust(self, trusted: Iterable[Path]) -> None:
        folder = self.folder.resolve()
        if not any(folder.is_relative_to(t.resolve()) for t in trusted):
            raise ConfigError(
                f"{self.where}: !function {self.name} would run code from {folder}; name that folder with --include_path "
                "if you trust it"
            )


def _module_from(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"_guardeval_task_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True)
class YamlFile:
    """What a file says, its includes merged in. ``where(keys)`` is the file and line of a key or list item."""

    path: Path
    values: dict[str, Any]
    lines: Mapping[Keys, str] = field(default_factory=dict)
    columns: Mapping[Keys, int] = field(default_factory=dict)

    def where(self, *keys: str | int) -> str:
        """``file:line`` of the nearest thing known on the way to ``keys``."""
        known = self.known(keys)
        return self.lines[known] if known else str(self.path)

    def known(self, keys: Keys) -> Keys:
        """The longest beginning of ``keys`` that stands in the file."""
        return next((keys[:end] for end in range(len(keys), 0, -1) if keys[:end] in self.lines), ())

    def spec(self, *keys: str | int) -> Spec:
        """The map at ``keys`` (empty where there is none), to read with good errors."""
        value: Any = self.values
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            value = {}
        if not isinstance(value, dict):
            said = f"{self.where(*keys)}: `{'.'.join(map(str, keys))}` is {_kind(value)}; a map is wanted"
            raise SpecError(said, keys, self.columns.get(self.known(keys)))
        return Spec(self, keys, value)


@dataclass(frozen=True, slots=True)
class Spec:
    """One map of a YAML file, read key by key; what is asked for is checked, what nobody knows is an error."""

    file: YamlFile
    keys: Keys
    values: Mapping[str, Any]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __bool__(self) -> bool:
        return bool(self.values)

    def error(self, message: str, *keys: str | int) -> ConfigError:
        at = (*self.keys, *keys)
        return SpecError(f"{self.file.where(*at)}: {message}", at, self.file.columns.get(self.file.known(at)))

    def only(self, known: Iterable[str]) -> Spec:
        """This map, after a check that it has no other keys than ``known``."""
        names = list(known)
        for key in self.values:
            if key not in names:
                inside = f" in `{'.'.join(map(str, self.keys))}`" if self.keys else ""
                raise self.error(f"unknown key {key!r}{inside}{did_you_mean(str(key), names, 40)}", key)
        return self

    def spec(self, key: str) -> Spec:
        value = self.values.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise self.error(f"`{key}` is {_kind(value)}; a map is wanted", key)
        return Spec(self.file, (*self.keys, key), value or {})

    def text(self, key: str, default: str | None = None) -> str | None:
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool | Mapping | Sequence) and not isinstance(value, str):
            raise self.error(f"`{key}` is {_kind(value)}; a text is wanted", key)
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A text or a list of texts."""
        value = self.values.get(key)
        items = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(i, str) and i for i in items):
            raise self.error(f"`{key}` is {_kind(value)}; a text or a list of texts is wanted", key)
        return tuple(items)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.error(f"`{key}` is {value!r}; true or false is wanted", key)
        return value

    def one_of(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        value = self.values.get(key, default)
        if value not in choices:
            said = "is missing" if value is None else f"is {value!r}"
            raise self.error(f"`{key}` {said}; one of {', '.join(choices)} is wanted", key)
        return str(value)


def _kind(value: Any) -> str:
    names = {dict: "a map", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(path: Path, shown: str | None = None) -> YamlFile:
    """The file with its includes. ``metadata`` merges key by key (and its ``shapes`` by name), all else is replaced.

    Raises :class:`ConfigError` naming file and line: not there, not YAML, not a map, a key twice, an include cycle.
    """
    return _load(path, (), shown)


def _load(path: Path, above: tuple[Path, ...], shown: str | None = None) -> YamlFile:
    real = path.resolve()
    if real in above:
        chain = " → ".join(p.name for p in (*above[above.index(real) :], real))
        raise ConfigError(f"{above[-1]}: include cycle: {chain}")
    own = _parse(path, shown or str(path))
    values, lines = own.values, own.lines
    include = values.pop("include", None)
    includes = [] if include is None else include if isinstance(include, list) else [include]
    merged: dict[str, Any] = {}
    merged_lines: dict[Keys, str] = {}
    merged_columns: dict[Keys, int] = {}
    for name in includes:
        if not isinstance(name, str):
            raise ConfigError(f"{own.where('include')}: include {name!r}: a file name is wanted")
        target = path.parent / name
        if not target.is_file():
            raise ConfigError(f"{own.where('include')}: include {name!r}: there is no file {target}")
        included = _load(target, (*above, real))
        for key in _NOT_INHERITED:
            included.values.pop(key, None)
        _merge(merged, included.values)
        merged_lines |= included.lines
        merged_columns |= included.columns
    _merge(merged, values)
    return YamlFile(path, merged, {**merged_lines, **lines}, {**merged_columns, **own.columns})


def _merge(into: dict[str, Any], over: Mapping[str, Any], depth: tuple[str, ...] = ()) -> None:
    for key, value in over.items():
        old = into.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and (*depth, key) in {("metadata",), ("metadata", "shapes")}:
            into[key] = dict(old)
            _merge(into[key], value, (*depth, key))
        else:
            into[key] = value


def _parse(path: Path, shown: str) -> YamlFile:
    try:
        raw = path.read_bytes()
    except OSError as e:
        raise ConfigError(f"{shown}: cannot be read: {e.strerror or e}") from e

    class Loader(_Safe):  # type: ignore[misc]
        """A safe loader that knows where this file lies."""

    def function(loader: Any, node: Any) -> FunctionRef:
        if not isinstance(node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "!function wants module.function", node.start_mark)
        return FunctionRef(str(node.value).strip(), path.parent, f"{shown}:{node.start_mark.line + 1}")

    Loader.add_constructor("!function", function)
    values, lines, columns = _read(Loader, raw, shown)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{shown}: holds {_kind(values)}; a map of keys is wanted")
    return YamlFile(path, values, lines, columns)


def plain_values(raw: bytes, shown: str) -> Any:
    """What a file of plain YAML holds, without includes and functions; None for an empty one.

    Raises :class:`ConfigError` with file and line where it is no YAML, or a key stands twice in one map.
    """
    return _read(yaml.SafeLoader, raw, shown)[0]  # libyaml's takes no escapes of names that are not UTF-8


def _read(kind: Any, raw: bytes, shown: str) -> tuple[Any, dict[Keys, str], dict[Keys, int]]:
    """The values, and where each stands."""
    lines: dict[Keys, str] = {}
    columns: dict[Keys, int] = {}
    try:
        loader = kind(raw)
        try:
            node = loader.get_single_node()
            _note_places(node, (), (lines, columns), shown, set())
            values = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as e:
        raise ConfigError(f"{_place(shown, e)}: not valid YAML: {_problem(e)}") from e
    except RecursionError as e:
        raise ConfigError(f"{shown}: nested too deeply") from e
    return values, lines, columns


_Places = tuple[dict[Keys, str], dict[Keys, int]]  # of keys: file and line, column


def _note_places(node: Any, keys: Keys, places: _Places, shown: str, done: set[int]) -> None:
    """Where every key stands; a key that stands twice in one map is an error, where YAML would take the last."""
    if id(node) in done:  # an alias: walking it again would let a few lines of a stranger's file take for ever
        return
    done.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{shown}:{key_node.start_mark.line + 1}: a key is {_kind(key)}; a text is wanted")
            _note(key_node, (*keys, key), places, shown)
            if key in seen and key != "<<":
                line, column = places[0][(*keys, key)], places[1][(*keys, key)]
                raise SpecError(f"{line}: the key {key!r} stands here twice", (*keys, key), column)
            seen.add(key)
            _note_places(value_node, (*keys, key), places, shown, done)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            _note(item, (*keys, i), places, shown)
            _note_places(item, (*keys, i), places, shown, done)


def _note(node: Any, keys: Keys, places: _Places, shown: str) -> None:
    places[0][keys] = f"{shown}:{node.start_mark.line + 1}"
    places[1][keys] = node.start_mark.column + 1


def _place(shown: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark is not None else shown


def _problem(error: yaml.YAMLError) -> str:
    parts = [getattr(error, "context", None), getattr(error, "problem", None)]
    return " ".join(str(p) for p in parts if p) or str(error).splitlines()[0]
