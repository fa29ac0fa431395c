"""Models by name: ``backend/NAME`` with its options, a model folder, or a class, made ready to be asked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardeval.contracts import BatchModel, Model
from guardeval.errors import ConfigError, PluginError
from guardeval.registry import Registry, build

__all__ = ["MODEL_FILE", "ModelSpec", "build_model", "read_model_folder"]

MODEL_FILE = "guardeval-model.yaml"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as the user names it: ``embedded/char``, ``openai_compatible/qwen3``, ``./folder``; and its ``-M`` options.

    ``solver``: a way of its own to be asked, with its options; None where it is asked as the others are.
    """

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    solver: str | None = None
    solver_args: Mapping[str, Any] = field(default_factory=dict)


def build_model(spec: ModelSpec, registry: Registry) -> Model | BatchModel:
    """The backend instance. Raises :class:`ConfigError` or :class:`PluginError` with the nearest known name."""
    name, args = spec.name, dict(spec.args)
    folder = Path(name).expanduser()
    if (folder / MODEL_FILE).is_file():
        card = read_model_folder(folder)
        _check_usable(folder, card)
        backend, args = str(card["backend"]), {**dict(card.get("options") or {}), **args, "model": str(folder)}
    elif name.startswith((".", "/", "~")):
        raise ConfigError(f"--model {name}: no {MODEL_FILE} in it; a model folder is what `guardeval train` writes")
    else:
        backend, _, rest = _split(name)
        if rest:
            args["model"] = rest
    cls = registry.load("models", backend)
    if "pretrained" in args and "model" in inspect.signature(cls).parameters:  # as lm-eval's `--model hf` spells it
        args.setdefault("model", args.pop("pretrained"))
    model: Model | BatchModel = build(cls, args, f"model {backend!r}")
    if not any(callable(getattr(cls, name, None)) for name in ("generate", "generate_batch")):  # isinstance would read identity
        raise PluginError(f"model {backend!r} ({cls.__module__}:{cls.__qualname__}) has neither generate nor generate_batch")
    return model


def _check_usable(folder: Path, card: Mapping[str, Any]) -> None:
    """Raises :class:`ConfigError` for a model that its own check refused."""
    if card.get("usable", True) is not True:
        why = (card.get("check") or {}).get("verdict") or "its check refused it"
        raise ConfigError(
            f"{folder}: is marked as not usable: {why}. Make it again with other options, or, to use it all the same, set "
            f"`usable: true` in {folder / MODEL_FILE}"
        )


def _split(name: str) -> tuple[str, str, str]:
    """Backend and NAME at the first slash; of ``package.module:Class/NAME`` at the first slash after the colon."""
    return name.partition("/")


def read_model_folder(folder: Path) -> dict[str, Any]:
    """The content of ``guardeval-model.yaml``, checked for what is needed to run it."""
    import yaml

    path = folder / MODEL_FILE
    try:
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    if not isinstance(card, dict) or not isinstance(card.get("backend"), str):
        raise ConfigError(f"{path}: says no backend; `guardeval train` writes `backend: <name>` into it")
    return card
