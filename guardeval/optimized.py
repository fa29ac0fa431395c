"""What an optimizer is given, and the card of what it makes: a transformers model, an adapter, or a folder of guardeval's.

Weights, tokenizer and exposure pass from a model to what is made of it, and so do its solver, policies and licence.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.card_options import policies_of_card
from guardeval.causal.source import Source, digest, find, find_adapter
from guardeval.errors import ConfigError, ModelUnusable
from guardeval.exposure import Exposure
from guardeval.model_folder import ModelCard, exposure_of, parent_of, write_model_folder
from guardeval.models import MODEL_FILE, read_model_folder
from guardeval.policies import VERBOSITIES
from guardeval.registry import Registry, changed_options

if TYPE_CHECKING:
    from guardeval.causal.loading import Loaded

__all__ = ["UNCHECKED", "Original", "load_whole", "read_original", "save_ends", "save_tokenizer", "write_optimized"]

UNCHECKED = "unchecked: not compared with the model it was made from"
_KEPT = ("solver", "solver_args", "policies", "licence", "targets", "data")  # of a parent's card, true of the child, too
_ANSWERING = ("thinking", "max_length")  # options of a backend that another backend takes, too


@dataclass(frozen=True)
class Original:
    """A model to be optimised. ``card`` is empty where guardeval did not write the folder; then what it has seen is unknown."""

    folder: Path
    card: Mapping[str, Any]
    source: Source | None  # of the transformers model; None for another backend's folder
    adapter: Path | None = None

    @property
    def backend(self) -> str:
        return str(self.card.get("backend", "hf"))

    @property
    def exposure(self) -> Exposure | None:
        return exposure_of(self.folder) if self.card else None

    @property
    def parent(self) -> dict[str, Any]:
        if self.card:
            return parent_of(self.folder)
        return {
            "name": self.folder.resolve().name,
            "sha256": digest(self.folder).removeprefix("sha256:"),
            "kind": "transformers",
        }

    @property
    def transformers(self) -> Source:
        """Raises :class:`ConfigError` for a folder of another backend."""
        if self.source is None:
            raise ConfigError(
                f"{self.folder}: is a folder for the {self.backend!r} backend, and a transformers model is wanted here: a "
                "folder with config.json and safetensors, or an adapter; name the model that this one was made from"
            )
        return self.source

    @property
    def tokenizer_folder(self) -> Path | None:
        """An adapter may bring a tokenizer of its own."""
        return self.adapter if self.adapter is not None and (self.adapter / "tokenizer_config.json").is_file() else None

    def config(self) -> dict[str, Any]:
        """The ``config.json`` of the transformers model."""
        from guardeval.causal.file_tokenizer import read_json

        source = self.transformers
        if source.commit is None:
            return read_json(Path(source.name) / "config.json")
        import transformers

        found: dict[str, Any] = transformers.AutoConfig.from_pretrained(source.name, revision=source.commit).to_dict()
        return found


def read_original(folder: Path) -> Original:
    """Raises :class:`ConfigError` for what is no model folder, with what is missing in it."""
    if not folder.is_dir():
        raise ConfigError(f"--model {folder}: no such folder; a model folder, a transformers model or an adapter is wanted")
    card = read_model_folder(folder) if (folder / MODEL_FILE).is_file() else {}
    if card and card["backend"] != "hf":
        return Original(folder, card, None)
    if (folder / "config.json").is_file():
        return Original(folder, card, find(str(folder)), _given_adapter(folder, card))
    if (folder / "adapter_config.json").is_file():
        return Original(folder, card, _base_of(folder), find_adapter(str(folder)))
    raise ConfigError(
        f"--model {folder}: holds neither config.json nor adapter_config.json, so it is no transformers model and no adapter"
    )


def _given_adapter(folder: Path, card: Mapping[str, Any]) -> Path | None:
    """An adapter that a card names among the options of its backend, also relative to the folder."""
    named = (card.get("options") or {}).get("adapter")
    if not isinstance(named, str):
        return None
    return find_adapter(str(folder / named if (folder / named).is_dir() else named))


def _base_of(folder: Path) -> Source:
    path = folder / "adapter_config.json"
    try:
        name = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as e:
        raise ConfigError(f"{path}: cannot be read as the settings of an adapter: {e}") from e
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{path}: names no base model (base_model_name_or_path), so there is nothing to merge it into")
    return find(str(folder / name) if (folder / name).is_dir() else name)


def load_whole(original: Original, dtype: str = "float32") -> Loaded:
    """The model on the CPU with its adapter merged in. Raises :class:`ModelUnusable` for an encoder-decoder."""
    from guardeval.causal.loading import load

    config = original.config()
    if config.get("is_encoder_decoder"):
        kind = config.get("model_type", "this model")
        raise ModelUnusable(f"{original.folder}: {kind} is an encoder-decoder, and optimizers take causal language models only")
    loaded = load(
        original.transformers, device="cpu", dtype=dtype, adapter=original.adapter, trust_remote_code=False, max_length=None
    )
    if original.tokenizer_folder is None:
        return loaded
    from dataclasses import replace

    import transformers

    auto: Any = transformers.AutoTokenizer
    return replace(loaded, tokenizer=auto.from_pretrained(str(original.tokenizer_folder)))


def save_tokenizer(tokenizer: Any, out: Path, original: Original) -> None:
    """Tokenizer and chat template, as a folder without transformers needs them: ``tokenizer.json`` among them."""
    if not getattr(tokenizer, "is_fast", False):
        raise ModelUnusable(
            f"{original.folder}: its tokenizer ({type(tokenizer).__name__}) has no fast form (tokenizer.json), without which "
            "nothing but transformers can read texts; convert it first"
        )
    tokenizer.save_pretrained(str(out))


def save_ends(loaded: Loaded, out: Path) -> None:
    """What ends an answer of the model: a tokenizer may name more than the model's own settings."""
    settings: Any = loaded.model.generation_config
    settings.eos_token_id = sorted(loaded.ends)
    settings.save_pretrained(str(out))


def write_optimized(
    out: Path,
    original: Original,
    optimizer: object,
    *,
    backend: str,
    kind: str,
    options: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    packages: Sequence[str] = (),
    weights: Sequence[Path] | None = None,
) -> Path:
    """The card of a model made of ``original``, unchecked so far; returns ``out``."""
    name = Registry().name_of("optimizers", type(optimizer))
    _keep_policies(original, out)
    said, given = original.card, changed_options(optimizer)
    kept = {k: v for k, v in (said.get("options") or {}).items() if k in _ANSWERING}
    inherited: dict[str, Any] = {k: tuple(v) if k == "targets" else v for k in _KEPT if (v := said.get(k))}
    card = ModelCard(
        backend=backend,
        kind=kind,
        base_model=said.get("base_model") or _base_name(original),
        parent=original.parent,
        options={**kept, **(options or {})},
        command=" ".join([f"guardeval optimize {name} --model FOLDER --out DIR", *(f"--{k} {v}" for k, v in given.items())]),
        trainer={"name": name, "kind": "optimizer", **given},
        parameters=parameters or {},
        notices=(*_notices(said), UNCHECKED),
        made_with={p: v for p in packages if (v := _version(p))},
        **inherited,
    )
    return write_model_folder(out, card, original.exposure, weights)


def _keep_policies(original: Original, out: Path) -> None:
    """Policy texts of its own travel with a model, under the name that its card gives them."""
    named = original.card.get("policies")
    where = policies_of_card(original.folder, original.card)
    if where is not None and where not in VERBOSITIES:
        (out / str(named)).mkdir(parents=True, exist_ok=True)
        for text in sorted(Path(where).glob("*.txt")):
            shutil.copyfile(text, out / str(named) / text.name)


def _base_name(original: Original) -> str | None:
    """The repository that a model or an adapter comes from; a folder's name says nothing to others."""
    source = original.source
    return source.name if source is not None and source.commit is not None else None


def _notices(card: Mapping[str, Any]) -> list[str]:
    return [str(n) for n in card.get("notices") or () if not str(n).startswith("unchecked")]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
