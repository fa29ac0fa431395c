"""A model folder: weights, ``guardeval-model.yaml`` that says what they are, and fingerprints of what they have seen.

The card is what ``--model ./folder`` reads and what a reader needs: backend, base model and parent, the solver that it was
trained for, data with hashes and licences, parameters, metrics. Trainers and optimizers write it last: a folder without
it is unfinished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from guardeval.errors import ConfigError
from guardeval.exposure import EXPOSURE_FILE, Exposure
from guardeval.models import MODEL_FILE, read_model_folder

__all__ = ["ModelCard", "exposure_of", "notices_of", "parent_of", "weights_of", "write_model_folder"]

_WEIGHTS = (".safetensors", ".onnx", ".data", ".gguf")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What ``guardeval-model.yaml`` holds, JSON-able throughout.

    ``backend`` and ``options``: how ``--model ./folder`` runs it; the folder itself is the backend's ``model``.
    ``solver``, ``solver_args`` and ``policies``: what it was trained for, None where it reads no prompt.
    ``parent``: of a model that was made from another folder, its name, the sha256 of its card, and what it was.
    ``usable`` is False where a check refused it: then ``--model`` does so too, with ``check`` as the reason.
    """

    backend: str
    kind: str
    base_model: str | None = None
    parent: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    solver: str | None = None
    solver_args: Mapping[str, Any] = field(default_factory=dict)
    policies: str | None = None
    licence: str | None = None
    command: str = ""
    trainer: Mapping[str, Any] = field(default_factory=dict)  # name and options
    data: Mapping[str, Any] = field(default_factory=dict)  # files with hashes, rows, sources with licences
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    check: Mapping[str, Any] = field(default_factory=dict)
    usable: bool = True
    notices: tuple[str, ...] = ()  # what every table must say about the model
    made_with: Mapping[str, str] = field(default_factory=dict)  # package → version

    def to_mapping(self) -> dict[str, Any]:
        """Without what is empty, in the order of the fields; ``usable`` only where it is not."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: _plain(v) for k, v in kept.items() if (v is not True if k == "usable" else v not in (None, (), {}, ""))}


def write_model_folder(folder: Path, card: ModelCard, exposure: Exposure, weights: Sequence[Path] | None = None) -> Path:
    """Write fingerprints, then the card, into a folder that holds the weights already; returns it.

    ``weights``: files of the folder that are the model, by default all of the known kinds, directly in it.
    Raises :class:`ConfigError` where the folder cannot be written.
    """
    import yaml

    from guardeval.runs import write_atomically

    try:
        exposure.write(folder / EXPOSURE_FILE)
        facts = {
            **card.to_mapping(),
            "exposure": {"file": EXPOSURE_FILE, "prompts": len(exposure), "sha256": exposure.digest},
            "weights": [_about(p, folder) for p in (weights_of(folder) if weights is None else weights)],
        }
        text = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=120)
        head = "# written by guardeval; `--model ./this-folder` runs it\n"
        write_atomically(folder / MODEL_FILE, (head + text).encode("utf-8"))
    except OSError as e:
        raise ConfigError(f"{folder}: the model folder cannot be written: {e.strerror or e}; name another with --out") from e
    return folder


def weights_of(folder: Path) -> list[Path]:
    """Weight files directly in the folder, by name."""
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in _WEIGHTS)


def _about(path: Path, folder: Path) -> dict[str, Any]:
    with path.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    return {"file": str(path.relative_to(folder)), "bytes": path.stat().st_size, "sha256": digest}


def exposure_of(folder: Path) -> Exposure | None:
    """What the model in a folder has seen; None where its card does not say.

    Raises :class:`ConfigError` where the fingerprints are missing or are not those that the card names.
    """
    said = read_model_folder(folder).get("exposure")
    if not isinstance(said, Mapping):
        return None
    found = Exposure.read(folder / EXPOSURE_FILE)
    if found.digest != said.get("sha256"):
        raise ConfigError(f"{folder / EXPOSURE_FILE}: is not what {MODEL_FILE} names (sha256); copy the model folder again")
    return found


def notices_of(folder: Path) -> tuple[str, ...]:
    """What every table must say of the model in a folder; nothing where there is no card."""
    if not (folder / MODEL_FILE).is_file():
        return ()
    said = read_model_folder(folder).get("notices")
    return tuple(str(notice) for notice in said) if isinstance(said, list) else ()


def parent_of(folder: Path) -> dict[str, Any]:
    """What a card says of the model folder that its model was made from."""
    card = read_model_folder(folder)
    digest = hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
    kept = {k: card[k] for k in ("kind", "base_model", "command") if card.get(k)}
    return {"name": folder.resolve().name, "sha256": digest, **kept}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    item = getattr(value, "item", None)  # numbers of numpy and torch
    return item() if callable(item) else str(value)
