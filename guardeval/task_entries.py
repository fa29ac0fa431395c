"""What tasks there are: a quick look at the top of each YAML file, which parses nothing and imports nothing."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from itertools import accumulate
from pathlib import Path
from typing import Any

from guardeval.contracts import CONTRACT_VERSION
from guardeval.errors import ConfigError
from guardeval.plugin_import import newer_contract, stated_contract
from guardeval.registry import Registry

__all__ = ["Scan", "TaskEntry", "locate_module", "locate_package", "scan", "scan_file"]

_KEY = re.compile(r"^(task|group|task_alias|group_alias|tag|include|class)[ \t]*:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_NAME = re.compile(r"\w[\w.+-]{0,99}")
_ITEM = re.compile(r"[ \t]*-[ \t]+(.*?)[ \t]*$")
_NO_TASKS = {"run.yaml", "guardeval-model.yaml"}  # of run folders and model folders, which may lie beside tasks
_SKIPPED = {"__pycache__", ".ipynb_checkpoints", "samples", "taxonomies"}


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """A name that ``--task`` takes. ``kind`` is ``task``, ``group`` or ``tag``; a tag has no file of its own."""

    name: str
    kind: str
    path: Path | None
    owner: str  # distribution and version, or the folder that was named
    tags: tuple[str, ...] = ()
    title: str = ""  # the file's first comment, or its alias
    package: str | None = None  # importable package it belongs to, None for a folder that was named


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look at all files found. ``unusable``: name → why. ``problems``: what is wrong in installed packages, each a
    sentence, unusable names among them; they concern nobody who does not name what they are about.
    """

    entries: dict[str, TaskEntry]
    unusable: dict[str, str]
    problems: tuple[str, ...]


def scan(include_path: Sequence[Path | str], registry: Registry) -> Scan:
    """Tasks and groups of installed packages and named folders, tags after them.

    Raises :class:`ConfigError` for what is wrong in a folder that the user named: a name that stands in two files, a folder
    that is not there, a file that is neither task nor group. What is wrong in an installed package is one of the problems.
    """
    problems = [*registry.unreadable(), *registry.clashes("tasks").values()]
    found: dict[str, TaskEntry] = {}
    unusable: dict[str, str] = {}
    clashes: dict[str, str] = {}
    newer: dict[str, str] = {}
    for entry in (*_installed(registry, problems, newer), *_named(include_path)):
        other = found.get(entry.name)
        if entry.package in newer:
            unusable.setdefault(entry.name, newer[entry.package])
        if other is None:
            found[entry.name] = entry
        elif not _same(other.path, entry.path):
            said = (
                f"{entry.kind} {entry.name!r} stands in two files: {other.path} ({other.owner}) and {entry.path} "
                f"({entry.owner}); rename one of them"
            )
            if entry.package is None:
                raise ConfigError(said)
            clashes.setdefault(entry.name, said.replace("; rename one of them", "; uninstall one of them"))
    found |= _tags_of(found, problems)
    return Scan(found, unusable | clashes, (*problems, *newer.values(), *clashes.values()))


def _tags_of(found: dict[str, TaskEntry], problems: list[str]) -> dict[str, TaskEntry]:
    """An entry for each tag. One that is also a name is refused, or a problem where an installed package has it."""
    tags: dict[str, list[TaskEntry]] = {}
    for entry in found.values():
        for tag in entry.tags:
            tags.setdefault(tag, []).append(entry)
    out = {}
    for tag, entries in tags.items():
        if tag not in found:
            out[tag] = TaskEntry(tag, "tag", None, "", title=f"{len(entries)} tasks")
            continue
        said = (
            f"{entries[0].path}: the tag {tag!r} is also the name of a {found[tag].kind} ({found[tag].path}), which "
            "it would hide in lm-eval; rename one of them"
        )
        if any(e.package is None for e in (*entries, found[tag])):
            raise ConfigError(said)
        problems.append(said)
    return out


def _same(a: Path | None, b: Path | None) -> bool:
    return a is not None and b is not None and (a == b or a.resolve() == b.resolve())


def _installed(registry: Registry, problems: list[str], newer: dict[str, str]) -> Iterator[TaskEntry]:
    """Entries of installed packages, our own first; what cannot be read is added to ``problems``, and to ``newer`` by its
    name each package that was written for a newer contract.
    """
    for plugin in sorted(registry.all_entries("tasks"), key=lambda e: not e.value.startswith("guardeval.")):
        package = plugin.value.partition(":")[0]
        owner = f"{plugin.dist.name} {plugin.dist.version}" if plugin.dist is not None else package
        folders = locate_package(package)
        if not folders:
            problems.append(f"tasks {plugin.name!r} of {owner}: there is no package {package!r}; reinstall or uninstall it")
        for folder in map(Path, folders):
            wanted = stated_contract(folder / "__init__.py")
            if wanted > CONTRACT_VERSION:
                newer[package] = newer_contract(f"tasks {plugin.name!r} of {owner}", wanted)
            yield from _in_folder(folder, owner, package, problems)


def _named(include_path: Sequence[Path | str]) -> Iterator[TaskEntry]:
    """Entries of folders and files that the user named. Raises :class:`ConfigError` for what cannot be read."""
    for given in include_path:
        path = Path(given)
        if path.is_file():
            entry = scan_file(path, str(path.parent))
            if entry is not None:
                yield entry
        elif path.is_dir():
            yield from _in_folder(path, str(path), None, None)
        else:
            raise ConfigError(f"--include_path {given}: there is no such folder or file")


def _in_folder(folder: Path, owner: str, package: str | None, problems: list[str] | None) -> Iterator[TaskEntry]:
    """Entries of a folder's files; a file that is none is added to ``problems``, or raised where there are none to add to."""
    try:
        paths = sorted(_yaml_files(str(folder)))
    except OSError as e:
        if problems is None:
            raise
        problems.append(f"{folder} ({owner}): cannot be read: {e.strerror or e}; reinstall or uninstall it")
        return
    for path in paths:
        try:
            entry = scan_file(Path(path), owner, package)
        except ConfigError as e:
            if problems is None:
                raise
            problems.append(str(e))
            continue
        if entry is not None:
            yield entry


def _yaml_files(folder: str) -> Iterator[str]:
    with os.scandir(folder) as items:
        for item in items:
            if item.name.endswith((".yaml", ".yml")) and item.name not in _NO_TASKS:
                yield item.path
            elif item.name not in _SKIPPED and not item.name.startswith(".") and item.is_dir(follow_symlinks=False):
                yield from _yaml_files(item.path)


def scan_file(path: Path, owner: str, package: str | None = None) -> TaskEntry | None:
    """The entry of one file; None for a file that others include (its name starts with ``_``)."""
    if path.name.startswith("_"):
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path} ({owner}): cannot be read as UTF-8 text: {e}") from e
    keys: dict[str, tuple[str, int]] = {}
    for match in _KEY.finditer(text):
        keys.setdefault(match[1], (_plain(match[2]), match.end()))
    kind = "group" if "group" in keys else "task"
    name = keys.get(kind, ("", 0))[0]
    if not name:
        raise ConfigError(
            f"{path} ({owner}): has no line `task: NAME` or `group: NAME` at its left margin; add one, or let the file name "
            "start with _ if it is only included"
        )
    if not _NAME.fullmatch(name):
        line = text.count("\n", 0, keys[kind][1]) + 1
        raise ConfigError(
            f"{path}:{line} ({owner}): {name[:100]!r} is no name of a {kind}: it becomes part of file names, so letters, "
            "digits and _ . + - are possible, at most 100, a letter or digit first"
        )
    tags = _tags(text, *keys["tag"]) if "tag" in keys else ()
    return TaskEntry(name, kind, path, owner, tags, _title(text) or keys.get(f"{kind}_alias", ("", 0))[0], package)


def _plain(value: str) -> str:
    """A scalar as it stands in the line: without a comment, without quotes."""
    value = re.sub(r"(^|\s)#.*$", "", value).strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _tags(text: str, value: str, end: int) -> tuple[str, ...]:
    if value.startswith("["):
        inside = text[text.rindex("[", 0, end) :]
        return tuple(t for part in inside[1:].partition("]")[0].split(",") if (t := _plain(part.strip())))
    if value:
        return (value,)
    out = []
    for line in text[end:].lstrip("\r\n").splitlines():
        item = _ITEM.match(line)
        if item is None:
            break
        out.append(_plain(item[1]))
    return tuple(out)


def _title(text: str) -> str:
    first = text.partition("\n")[0]
    return first.partition(" - ")[2].strip() if first.startswith("#") else ""


# ---- where a package lies, without importing it ----


def locate_package(name: str) -> tuple[str, ...]:
    """Folders of a package, empty if there is none. Its parents are not imported, only asked where they lie."""
    path: Iterable[str] | None = None
    for prefix in accumulate(name.split("."), lambda a, b: f"{a}.{b}"):
        loaded = sys.modules.get(prefix)
        if loaded is not None:
            path = list(getattr(loaded, "__path__", None) or ())
        else:
            spec = _find(prefix, path)
            path = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not path:
            return ()
    return tuple(path or ())


def locate_module(name: str) -> Path | None:
    """File of a module, None if there is none. Nothing is imported."""
    parent = name.rpartition(".")[0]
    folders = locate_package(parent) if parent else None
    spec = None if folders == () else _find(name, folders)
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _find(name: str, path: Iterable[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find_spec: Any = getattr(finder, "find_spec", None)
        try:
            spec: ModuleSpec | None = None if find_spec is None else find_spec(name, path, None)
        except Exception:  # noqa: BLE001 - a name that is none, a finder that breaks: it finds nothing
            spec = None
        if spec is not None:
            return spec
    return None
