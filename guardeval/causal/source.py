"""Where a model's files are, a folder or a repository at one commit, and what names their content. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guardeval.errors import ModelUnusable, needs_extra

__all__ = ["Source", "base_of_adapter", "digest", "find", "find_adapter", "holds_adapter"]

_PARTS = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.py")  # files of a folder that can change an answer
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class Source:
    """A model: its folder or repository, as ``from_pretrained`` takes it, and for a repository the commit."""

    name: str
    commit: str | None = None

    @property
    def content(self) -> str:
        """The commit, or ``sha256:`` of the folder's files; reads them all."""
        return self.commit or digest(Path(self.name))

    @property
    def folder(self) -> Path:
        """Where the files lie: the folder, or the commit's snapshot in the Hub's cache."""
        return Path(self.name) if self.commit is None else _fetched(self.name, "config.json", self.commit).parent


def find(model: str, revision: str | None = None) -> Source:
    """The folder, else the repository, pinned to the commit that ``revision`` (default: its main branch) points to now.

    Offline, the commit is the one in the local cache. Raises :class:`ModelUnusable` with the remedy.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        _check_folder(folder, revision)
        return Source(str(folder))
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ModelUnusable(f"hf/{model}: there is no such folder; name an existing one, or a repository as OWNER/NAME")
    config = _fetched(model, "config.json", revision)
    return Source(model, config.parent.name)


def _check_folder(folder: Path, revision: str | None) -> None:
    if revision is not None:
        raise ModelUnusable(f"-M revision={revision}: {folder} is a folder, which has no revisions; leave it out")
    if not (folder / "config.json").is_file():
        if (folder / _ADAPTER[0]).is_file():
            raise ModelUnusable(f"{folder} is an adapter, not a model: --model hf/BASE -M adapter={folder}")
        raise ModelUnusable(f"{folder} holds no config.json, so it is no transformers model; name the folder that holds it")


def holds_adapter(folder: Path) -> bool:
    """Whether a folder is an adapter without its base model."""
    return (folder / _ADAPTER[0]).is_file() and not (folder / "config.json").is_file()


def base_of_adapter(folder: Path) -> Source:
    """The base model that an adapter folder names: a folder, also relative to it, or a repository at a commit.

    Raises :class:`ModelUnusable` where it names none, or one that is not there.
    """
    path = folder / _ADAPTER[0]
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        name, revision = str(said.get("base_model_name_or_path") or ""), said.get("revision")
    except (OSError, ValueError, AttributeError) as e:
        raise ModelUnusable(f"{path}: cannot be read as PEFT's settings of an adapter: {type(e).__name__}: {e}") from e
    beside = folder / name
    if not name:
        raise ModelUnusable(f"{path} names no base model: --model hf/BASE -M adapter={folder}")
    if beside.is_dir():
        return find(str(beside))
    try:
        return find(name, revision)
    except ModelUnusable as e:
        raise ModelUnusable(f"{folder} is an adapter of {name}: {e} (or: --model hf/BASE -M adapter={folder})") from e


def find_adapter(adapter: str) -> Path:
    """The folder of a PEFT adapter with safetensors weights, fetched from the Hub where ``adapter`` is no folder."""
    folder = Path(adapter).expanduser()
    if not folder.is_dir():
        config, _ = (_fetched(adapter, name, None) for name in _ADAPTER)
        return config.parent
    for name in _ADAPTER:
        if not (folder / name).is_file():
            raise ModelUnusable(f"-M adapter={adapter}: holds no {name}; name the folder that PEFT's save_pretrained wrote")
    return folder


def digest(folder: Path, parts: Sequence[str] = _PARTS) -> str:
    """``sha256:…`` over names and contents of all files that can change an answer; the folder's own name stays out."""
    whole = hashlib.sha256()
    for path in sorted({p for part in parts for p in folder.glob(part) if p.is_file()}):
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _fetched(repo: str, name: str, revision: str | None) -> Path:
    with needs_extra("hf"):
        import huggingface_hub
        from huggingface_hub import errors
    at = repo if revision is None else f"{repo} at revision {revision}"
    try:
        return Path(huggingface_hub.hf_hub_download(repo, name, revision=revision))
    except errors.GatedRepoError as e:
        why = f"is gated: accept its terms at https://huggingface.co/{repo}, then log in (huggingface-cli login, or HF_TOKEN)"
        raise ModelUnusable(f"{at} {why}") from e
    except errors.RevisionNotFoundError as e:
        raise ModelUnusable(f"{at}: the repository has no such revision; give a branch, tag or commit of it") from e
    except errors.RepositoryNotFoundError as e:
        why = "is neither a folder here nor a public repository; check the name, and for a private one log in (HF_TOKEN)"
        raise ModelUnusable(f"{at} {why}") from e
    except errors.LocalEntryNotFoundError as e:
        why = "is neither a folder here nor in the local cache, and the Hub cannot be reached (or HF_HUB_OFFLINE is set)"
        raise ModelUnusable(f"{at} {why}; go online once, or name a folder") from e
    except errors.EntryNotFoundError as e:
        raise ModelUnusable(
            f"{at} holds no {name}, so it cannot be loaded; name a repository in the transformers format"
        ) from e
    except errors.HFValidationError as e:
        raise ModelUnusable(f"hf/{repo}: no folder and no repository name; a repository is OWNER/NAME") from e
    except (errors.HfHubHTTPError, OSError) as e:
        raise ModelUnusable(f"{at} cannot be fetched: {str(e).splitlines()[0]}; try again, or name a folder") from e
