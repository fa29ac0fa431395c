"""Recipes: the options of a training in a YAML file, by a shipped name or a path. Imports nothing heavy.

name: gpt-oss-20b-reasoning-v1
title: what it makes
trainer: rsft
options: {model: openai/gpt-oss-20b, epochs: 3}   # each is a flag of the trainer, and a flag given beside it goes before
base: {licence: apache-2.0, model_type: gpt_oss, config: {…}}   # architecture, for `--dry_run` without the Hub
notes: [what a reader should know]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardeval.errors import ConfigError, did_you_mean
from guardeval.yaml_files import load_yaml

__all__ = ["Facts", "Recipe", "facts_for", "read_recipe", "recipe_names"]

_FOLDER = Path(__file__).parent / "recipes"
_KEYS = ("name", "title", "trainer", "options", "base", "notes")


@dataclass(frozen=True, slots=True)
class Facts:
    """The architecture of a recipe's base, as transformers' configuration names it, and its licence."""

    model_type: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """``options`` are the trainer's, JSON-able."""

    name: str
    title: str
    trainer: str
    options: Mapping[str, Any]
    facts: Facts
    notes: tuple[str, ...]
    path: Path

    def __str__(self) -> str:
        lines = [f"recipe {self.name}: {self.title}"]
        lines.append(f"use it with: guardeval train {self.trainer} --config {self.name} --data FILE --out ./{self.name}")
        lines.append(f"licence of the base: {self.facts.licence or 'not stated'}")
        lines += ["options:", *(f"  {k}: {_shown(v)}" for k, v in self.options.items())]
        return "\n".join([*lines, *(["notes:"] if self.notes else []), *(f"  - {note}" for note in self.notes)])


def recipe_names() -> list[str]:
    """Names of the recipes that ship."""
    return sorted(p.stem for p in _FOLDER.glob("*.yaml") if not p.stem.startswith("_"))


def read_recipe(name: str) -> Recipe:
    """A shipped recipe by name, or a YAML file. Raises :class:`ConfigError` with file, line and the nearest known key."""
    path = Path(name).expanduser()
    if name in recipe_names():
        return _read(_FOLDER / f"{name}.yaml", name)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--config {name}: no recipe of this name{did_you_mean(name, recipe_names())}; or name a .yaml file")
    if not path.is_file():
        raise ConfigError(f"--config {name}: no such file; `guardeval list recipes` shows the names of those that ship")
    return _read(path, str(path))


def facts_for(model: str, recipe: str | None = None) -> tuple[str, Facts] | None:
    """The recipe that states the architecture of a model, and what it states: ``recipe``, else a shipped one.

    Only for the model that the recipe is about: a flag may have named another.
    """
    for name in [*([recipe] if recipe else []), *recipe_names()]:
        found = read_recipe(name)
        if found.facts.model_type and found.options.get("model") == model:
            return found.name, found.facts
    return None


def _read(path: Path, shown: str) -> Recipe:
    file = load_yaml(path, shown)
    spec = file.spec().only(_KEYS)
    trainer = spec.text("trainer")
    if trainer is None:
        raise ConfigError(f"{shown}: says no `trainer`; rsft, hs_dpo or distill, for example")
    base = spec.spec("base").only(("licence", "model_type", "config"))
    facts = Facts(base.text("model_type"), dict(base.spec("config").values), base.text("licence"))
    options = {str(k): v for k, v in spec.spec("options").values.items()}
    name = spec.text("name") or path.stem
    return Recipe(name, spec.text("title") or name, trainer, options, facts, spec.texts("notes"), path)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
