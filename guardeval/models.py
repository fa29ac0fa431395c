"""Models by name: ``backend/NAME`` with its options, a model folder, a registered or packaged one, or a class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from guardeval.card_options import backend_of_card, options_of_card
from guardeval.contracts import BatchModel, Model
from guardeval.errors import ConfigError, PluginError, did_you_mean
from guardeval.registered_models import registered_models
from guardeval.registry import Registry, build, owner

__all__ = ["MODEL_FILE", "FoundModel", "ModelSpec", "build_model", "find_model", "packaged_folder", "read_model_folder"]

MODEL_FILE = "guardeval-model.yaml"
_LARGEST_CARD = 1 << 20  # bytes; a card of many thousand sources takes a tenth of it


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as the user names it: ``embedded/char``, ``openai_compatible/qwen3``, ``./folder``; and its ``-M`` options.

    ``solver``: a way of its own to be asked, with its options; None where it is asked as the others are.
    """

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    solver: str | None = None
    solver_args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundModel:
    """What a name stands for: a model folder, or a backend and how that calls the model (``rest``, may be empty)."""

    backend: str
    rest: str = ""
    folder: Path | None = None
    card: Mapping[str, Any] = field(default_factory=dict)


def find_model(name: str, registry: Registry) -> FoundModel:
    """A folder by its path, a registered one by its name, one in an installed package by its, else ``backend/NAME``.

    Raises :class:`ConfigError` or :class:`PluginError` with the nearest known name.
    """
    folder = Path(name).expanduser()
    if (folder / MODEL_FILE).is_file():
        return _of_folder(folder)
    if name.startswith((".", "/", "~")):
        raise ConfigError(f"--model {name}: no {MODEL_FILE} in it; a model folder is what `guardeval train` writes")
    backend, _, rest = name.partition("/")  # of ``package.module:Class/NAME`` at the first slash after the colon
    if ":" in backend:
        return FoundModel(backend, rest)
    entry, registered = registry.entries("models").get(backend), registered_models()
    if name in registered:
        if entry is not None:
            raise ConfigError(
                f"model {name!r} is registered for {registered[name].folder}, and installed by {owner(entry)}: forget the "
                f"first (guardeval models remove {name}), or uninstall the other"
            )
        return _of_folder(registered[name].checked())
    if entry is None:
        raise PluginError(f"unknown model {backend!r}{did_you_mean(backend, [*registry.entries('models'), *registered])}")
    if ":" in entry.value:
        return FoundModel(backend, rest)
    found = registry.load("models", backend)
    if not isinstance(found, ModuleType):
        return FoundModel(backend, rest)
    if rest:
        raise ConfigError(f"--model {name}: {backend!r} is a packaged model, which has no models of its own: --model {backend}")
    return _of_folder(packaged_folder(found))


def packaged_folder(module: ModuleType) -> Path:
    """The model folder in a package: ``model`` in it. Raises :class:`PluginError` where there is none."""
    for place in map(Path, getattr(module, "__path__", ())):
        if (place / "model" / MODEL_FILE).is_file():
            return place / "model"
    raise PluginError(f"package {module.__name__}: holds no model/{MODEL_FILE}: install it again (as files, not zipped)")


def _of_folder(folder: Path) -> FoundModel:
    card = read_model_folder(folder)
    return FoundModel(backend_of_card(folder, card), "", folder, card)


def build_model(spec: ModelSpec, registry: Registry) -> Model | BatchModel:
    """The backend instance. Raises :class:`ConfigError` or :class:`PluginError` with the nearest known name."""
    found, args = find_model(spec.name, registry), dict(spec.args)
    cls = registry.load("models", found.backend)
    if isinstance(cls, ModuleType):
        raise ConfigError(f"{found.folder}: its card names {found.backend!r} as its backend, which is a packaged model")
    if found.folder is not None:
        _check_usable(found.folder, found.card)
        args = {**options_of_card(found.folder, found.card, cls), **args, "model": str(found.folder)}
    elif found.rest:
        args[getattr(cls, "name_option", "model")] = found.rest
    if "pretrained" in args and "model" in inspect.signature(cls).parameters:  # as lm-eval's `--model hf` spells it
        args.setdefault("model", args.pop("pretrained"))
    model: Model | BatchModel = build(cls, args, f"model {found.backend!r}")
    if not any(callable(getattr(cls, name, None)) for name in ("generate", "generate_batch")):  # isinstance would read identity
        raise PluginError(
            f"model {found.backend!r} ({cls.__module__}:{cls.__qualname__}) has neither generate nor generate_batch"
        )
    return model


def _check_usable(folder: Path, card: Mapping[str, Any]) -> None:
    """Raises :class:`ConfigError` for a model that its own check refused."""
    if card.get("usable", True) is not True:
        why = (card.get("check") or {}).get("verdict") or "its check refused it"
        raise ConfigError(
            f"{folder}: is marked as not usable: {why}. Make it again with other options, or, to use it all the same, set "
            f"`usable: true` in {folder / MODEL_FILE}"
        )


_TYPES: Mapping[str, tuple[type, str]] = {
    "options": (Mapping, "a mapping of options to values"),
    "solver": (str, "a solver's name"),
    "solver_args": (Mapping, "a mapping of options to values"),
    "policies": (str, "a verbosity, or a folder in the model folder"),
    "usable": (bool, "true or false"),
    "check": (Mapping, "a mapping"),
    "parent": (Mapping, "a mapping"),
    "data": (Mapping, "a mapping"),
    "notices": (list, "a list of texts"),
}


def read_model_folder(folder: Path) -> dict[str, Any]:
    """The content of ``guardeval-model.yaml``, checked for what is needed to run it."""
    import yaml

    path = folder / MODEL_FILE
    try:
        if path.stat().st_size > _LARGEST_CARD:
            raise ConfigError(f"{path}: is larger than {_LARGEST_CARD:,} bytes: that is no model card")
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    if not isinstance(card, dict) or not isinstance(card.get("backend"), str):
        raise ConfigError(f"{path}: says no backend; `guardeval train` writes `backend: <name>` into it")
    for key, (kind, wanted) in _TYPES.items():
        if card.get(key) is not None and not isinstance(card[key], kind):
            raise ConfigError(f"{path}: {key} is {card[key]!r:.80}; {wanted} is wanted")
    return card
