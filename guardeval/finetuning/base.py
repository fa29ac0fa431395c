"""Where a training starts: a model of transformers', a model folder of guardeval's, or one made from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardeval.causal.source import Source, base_of_adapter, find, holds_adapter
from guardeval.errors import ConfigError
from guardeval.exposure import Exposure
from guardeval.finetuning.options import FineTuning
from guardeval.model_folder import exposure_of, parent_of
from guardeval.models import MODEL_FILE, read_model_folder

__all__ = ["Base", "find_base"]


@dataclass(frozen=True, slots=True)
class Base:
    """The weights to start from.

    ``name``: as a model card gives it, no path. ``adapter``: the parent's own, trained on as it is. ``parent``: what its card
    says. ``exposure``: what it has seen, as far as known.
    """

    source: Source
    name: str
    tokenizer: str  # folder or repository
    adapter: Path | None = None
    parent: Mapping[str, Any] | None = None
    exposure: Exposure = field(default_factory=Exposure)
    licence: str | None = None
    notices: tuple[str, ...] = ()
    scratch: bool = False

    @property
    def is_repository(self) -> bool:
        return self.source.commit is not None

    @property
    def identity(self) -> dict[str, Any]:
        """By content: what a training that goes on must find again."""
        from guardeval.causal.source import digest

        own = {} if self.adapter is None else {"adapter": digest(self.adapter)}
        return {"model": self.name, "content": self.source.content, **own}


def find_base(options: FineTuning) -> Base:
    """Raises :class:`ConfigError` for a folder that cannot be trained on, ``ModelUnusable`` where nothing is found."""
    folder = Path(options.model).expanduser()
    if (folder / MODEL_FILE).is_file():
        return _parent(folder)
    if holds_adapter(folder):
        source = base_of_adapter(folder)
        return Base(source, _name(source), _tokenizer(folder, source), folder)
    source = find(options.model, options.revision)
    return Base(source, _name(source), source.name)


def _parent(folder: Path) -> Base:
    card = read_model_folder(folder)
    if card["backend"] != "hf":
        kind = card.get("kind") or card["backend"]
        raise ConfigError(
            f"{folder}: is a model of kind {kind!r} (backend {card['backend']}), whose weights cannot be fine-tuned; name the "
            "model that it was made from"
        )
    seen = exposure_of(folder)
    notices = [n for n in card.get("notices") or () if isinstance(n, str)]
    if seen is None:
        notices.append(f"what the parent {folder.resolve().name} has seen in training is not known")
    adapter = folder if holds_adapter(folder) else None
    source = base_of_adapter(folder) if adapter else find(str(folder))
    return Base(
        source,
        str(card.get("base_model") or _name(source)),
        _tokenizer(folder, source),
        adapter,
        parent_of(folder),
        seen or Exposure(),
        card.get("licence"),
        tuple(notices),
        bool((card.get("parameters") or {}).get("scratch")),
    )


def _tokenizer(folder: Path, source: Source) -> str:
    return str(folder) if (folder / "tokenizer_config.json").is_file() else source.name


def _name(source: Source) -> str:
    return source.name if source.commit else Path(source.name).resolve().name
