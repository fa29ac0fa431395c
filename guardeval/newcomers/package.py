"""Writing the package: names that can be used, files from templates, whole or not at all."""

from __future__ import annotations

import builtins
import keyword
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import yaml

import guardeval
from guardeval.errors import ConfigError, did_you_mean
from guardeval.newcomers.kinds import KINDS
from guardeval.registry import Registry, owner

__all__ = ["Names", "Written", "names_of", "render", "write_package"]

_SLOT = re.compile(r"\[\[(\w+)\]\]")
_NAME = re.compile(r"[a-z](?:[a-z0-9_]{0,48}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Names:
    """What a plugin and its package are called: ``my_solver``, ``MySolver``, ``guardeval_solver_my_solver``, …"""

    kind: str
    name: str

    @property
    def class_name(self) -> str:
        """``MySolver``; with the kind after it where that is a word of Python's own, or one that the files use themselves."""
        name = "".join(part.capitalize() for part in self.name.split("_"))
        return name if _is_free(name, self.kind) else f"{name}{self.kind.capitalize()}"

    @property
    def module(self) -> str:
        return f"guardeval_{self.kind}_{self.name}"

    @property
    def distribution(self) -> str:
        return re.sub(r"_+", "-", self.module)

    @property
    def slots(self) -> dict[str, str]:
        """What stands in the templates, by slot."""
        own = {"name": self.name, "class": self.class_name, "module": self.module, "distribution": self.distribution}
        kind = KINDS[self.kind]
        known = {
            **own,
            "yaml": _as_yaml(self.name),
            "title": self.name.replace("_", " "),
            "kind": self.kind,
            "guardeval": guardeval.__version__,
        }
        about, data = _filled(kind.about, known), ", ".join(f'"{pattern}"' for pattern in kind.package_data)
        entries = [
            f'[project.entry-points."guardeval.{g}"]\n{self.name} = "{_filled(o, known)}"' for g, o in kind.entries.items()
        ]
        return {
            **known,
            "about": about,
            "summary": f"The {self.kind} {self.name} for guardeval",
            "try": _filled(kind.trial, known),
            "entry_points": "\n\n".join(entries),
            "package_data": f"\n[tool.setuptools.package-data]\n{self.module} = [{data}]\n" if data else "",
        }


@dataclass(frozen=True, slots=True)
class Written:
    """``files`` are relative to ``folder``; ``trial`` is a command that uses the plugin once it is installed."""

    names: Names
    folder: Path
    files: tuple[str, ...]
    trial: str


def names_of(kind: str, given: str) -> Names:
    """Raises :class:`ConfigError` for a kind that there is not, and for what cannot be the name of a plugin and a module."""
    if kind not in KINDS:
        raise ConfigError(f"guardeval new: unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
    name = re.sub(r"[-.\s]+", "_", given.strip()).lower()
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or "__" in name:
        raise ConfigError(
            f"guardeval new {kind}: {given!r} is no name for a plugin: a-z, 0-9 and _ are possible, at most 50, a letter "
            "first, and no word of Python's own"
        )
    return Names(kind, name)


def write_package(kind: str, name: str, out: Path | None = None, registry: Registry | None = None) -> Written:
    """Write the package into ``out`` (a new or empty folder, by default named like the distribution) and return it.

    Raises :class:`ConfigError` for a name that is taken, with its owner, and a folder that holds something.
    """
    names = names_of(kind, name)
    _check_free(names, registry or Registry())
    folder = Path(names.distribution) if out is None else out.expanduser()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"guardeval new: {folder}: is there already, and nothing is overwritten; name another with -o")
    texts = render(names)
    try:
        _write(folder, texts)
    except OSError as e:
        raise ConfigError(f"guardeval new: {folder}: cannot be written: {e.strerror or e}; name another place with -o") from e
    return Written(names, folder, tuple(sorted(texts)), names.slots["try"])


def render(names: Names) -> dict[str, str]:
    """Path in the package → its text."""
    templates, slots = files("guardeval.newcomers") / "templates", names.slots
    return {
        _filled(place, slots): _filled(templates.joinpath(template).read_text(encoding="utf-8"), slots)
        for template, place in KINDS[names.kind].files.items()
    }


@lru_cache(maxsize=32)
def _words(kind: str) -> frozenset[str]:
    """All words of the kind's Python files that are no slots."""
    templates = files("guardeval.newcomers") / "templates"
    texts = [templates.joinpath(name).read_text(encoding="utf-8") for name in KINDS[kind].files if name.endswith(".py.txt")]
    return frozenset(re.findall(r"\w+", _SLOT.sub(" ", " ".join(texts))))


def _is_free(name: str, kind: str) -> bool:
    """A trainer brings a second class, its backend."""
    taken = _words(kind)
    return not keyword.iskeyword(name) and not hasattr(builtins, name) and not taken & {name, f"{name}Model", f"Test{name}"}


def _as_yaml(name: str) -> str:
    """A text in YAML, also where the bare word means something else: ``yes``, ``on``, ``null``."""
    return name if yaml.safe_load(name) == name else f'"{name}"'


def _filled(text: str, slots: Mapping[str, str]) -> str:
    return _SLOT.sub(lambda slot: slots[slot[1]], text)


def _check_free(names: Names, registry: Registry) -> None:
    for group in KINDS[names.kind].entries:
        entry = registry.entries(group).get(names.name) if group != "tasks" else None
        if entry is not None:
            raise _taken(names, group[:-1], owner(entry))
    if names.kind == "task":
        from guardeval.task import TaskIndex

        task = TaskIndex((), registry).entries().get(names.name)
        if task is not None:
            raise _taken(names, task.kind, task.owner or "a tag of installed tasks")
    if "models" in KINDS[names.kind].entries:
        from guardeval.registered_models import registered_models

        known = registered_models().get(names.name)
        if known is not None:
            raise _taken(names, "model", f"`guardeval models add` ({known.folder})")


def _taken(names: Names, kind: str, whose: str) -> ConfigError:
    return ConfigError(
        f"guardeval new {names.kind}: the {kind} {names.name!r} is there already, of {whose}; choose another name"
    )


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """All files, in a folder of their own that is moved to its place when it is whole; into one that is there, part by part."""
    folder = Path(os.path.realpath(folder))  # `.` has no name, and what a link leads to may lie elsewhere
    there = folder.is_dir()
    (folder if there else folder.parent).mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder if there else folder.parent))
    try:
        whole = staging / "package"
        for place, text in texts.items():
            (whole / place).parent.mkdir(parents=True, exist_ok=True)
            (whole / place).write_text(text, encoding="utf-8", newline="\n")
        if not there:
            whole.rename(folder)
            return
        for part in sorted(whole.iterdir()):
            part.rename(folder / part.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
