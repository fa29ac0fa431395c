"""Model folders that a user gave a name: ``guardeval models add ./folder --name N``, and ``--model N`` from anywhere.

One JSON file in the user's configuration folder holds the names, each with the folder and the sha256 of its card, so that a
folder that was moved or trained anew is told and never taken for the one that was meant.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from guardeval.errors import ConfigError, did_you_mean

__all__ = ["Registered", "add_model", "config_folder", "registered_models", "remove_model", "valid_name"]

_FILE = "models.json"
_CARD = "guardeval-model.yaml"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Registered:
    """A name, the folder that it stands for, and the sha256 of the card that lay in it then."""

    name: str
    folder: Path
    card_sha256: str

    def checked(self) -> Path:
        """The folder. Raises :class:`ConfigError` where it is gone, or is another model by now."""
        again = f"guardeval models add {quote(str(self.folder))} --name {self.name}"
        if not (self.folder / _CARD).is_file():
            raise ConfigError(
                f"model {self.name!r}: its folder {self.folder} is gone or holds no {_CARD}. Register it where it is now "
                f"(guardeval models add FOLDER --name {self.name}), or forget it: guardeval models remove {self.name}"
            )
        if card_digest(self.folder) != self.card_sha256:
            raise ConfigError(
                f"model {self.name!r}: the card in {self.folder} is not the one that was registered: the folder was written "
                f"anew. If that is the model you mean: {again}"
            )
        return self.folder


def config_folder() -> Path:
    """``$GUARDEVAL_CONFIG``, else ``guardeval`` in the user's configuration folder. Makes nothing."""
    if named := os.environ.get("GUARDEVAL_CONFIG"):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        base = Path("~/Library/Application Support")
    elif sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or "~/AppData/Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config")
    try:
        return base.expanduser() / "guardeval"
    except RuntimeError as e:
        raise ConfigError(f"no home directory to keep names of models in ({e}); set GUARDEVAL_CONFIG to a folder") from e


def registered_models() -> dict[str, Registered]:
    """By name. Raises :class:`ConfigError` for a file that is none of these."""
    path = config_folder() / _FILE
    try:
        found = json.loads(path.read_bytes())
        return {str(n): Registered(str(n), Path(e["folder"]), str(e["card_sha256"])) for n, e in sorted(found.items())}
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror or e}") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise ConfigError(
            f"{path}: is not the list of models that `guardeval models add` writes ({type(e).__name__}: {e}); mend or delete it"
        ) from e


def valid_name(name: str) -> str:
    """The name itself. Raises :class:`ConfigError` for one that could be a path, a class or ``backend/NAME``."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"model name {name!r}: up to 64 letters, digits, '.', '_' and '-' are wanted, e.g. my-guard-v1")
    return name


def add_model(name: str, folder: Path) -> Registered:
    """Register a model folder; one that is registered under this name already is taken as it is now.

    Raises :class:`ConfigError` for a name that stands for another folder.
    """
    folder = folder.expanduser().resolve()
    entry = Registered(valid_name(name), folder, card_digest(folder))
    with _changing() as models:
        known = models.get(name)
        if known is not None and Path(known["folder"]) != folder:
            raise ConfigError(
                f"model name {name!r} stands for {known['folder']} already; choose another name, or first: "
                f"guardeval models remove {name}"
            )
        models[name] = {"folder": str(folder), "card_sha256": entry.card_sha256}
    return entry


def remove_model(name: str) -> Path:
    """Forget a name; the folder stays. Returns it. Raises :class:`ConfigError` for an unknown one."""
    with _changing() as models:
        if name not in models:
            raise ConfigError(f"no registered model {name!r}{did_you_mean(name, models)}; `guardeval models list` shows them")
        return Path(models.pop(name)["folder"])


def card_digest(folder: Path) -> str:
    """sha256 of the card. Raises :class:`ConfigError` where there is none."""
    try:
        return hashlib.sha256((folder / _CARD).read_bytes()).hexdigest()
    except OSError as e:
        raise ConfigError(f"{folder / _CARD}: cannot be read: {e.strerror or e}; `guardeval train` writes model folders") from e


@contextmanager
def _changing() -> Iterator[dict[str, Any]]:
    """The names as plain data, written back at the end; other processes wait."""
    from guardeval.runs import write_atomically

    path = config_folder() / _FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(_FILE + ".lock").open("a")
    except OSError as e:
        raise ConfigError(f"{path.parent}: cannot be written: {e.strerror or e}; set GUARDEVAL_CONFIG to another folder") from e
    with lock:
        _lock(lock.fileno())
        models = {m.name: {"folder": str(m.folder), "card_sha256": m.card_sha256} for m in registered_models().values()}
        before = json.dumps(models)
        yield models
        if json.dumps(models) != before:
            write_atomically(path, _text(models))


def _lock(descriptor: int) -> None:
    """Until the file is closed; where the system has no such locks, the last to write wins."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def _text(models: Mapping[str, Any]) -> bytes:
    return (json.dumps(dict(sorted(models.items())), indent=2, ensure_ascii=False) + "\n").encode()
