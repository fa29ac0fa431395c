"""A model folder as an installable Python package: ``pip install`` its wheel anywhere, and ``--model NAME`` runs it.

The project holds the folder as package data, one entry point in ``guardeval.models`` that names the package, a README made
from the card, and no code. Only files of known kinds enter, none by a link, and no pickle.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import guardeval
from guardeval.card_options import backend_of_card, inside, options_of_card
from guardeval.errors import ConfigError
from guardeval.exposure import EXPOSURE_FILE
from guardeval.model_folder import exposure_of
from guardeval.models import MODEL_FILE, read_model_folder
from guardeval.registered_models import valid_name
from guardeval.registry import Registry

__all__ = ["Packaged", "build_wheel", "write_project"]

_KINDS = (
    ".safetensors", ".onnx", ".onnx_data", ".data", ".gguf", ".json", ".txt", ".jinja", ".model", ".tiktoken", ".md",
    ".yaml", ".svg",
)  # fmt: skip
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".msgpack")
_ADAPTER = "adapter_config.json"
_BASE = "base"  # folder in the model folder, for a base model that travels with its adapter
_HUB = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?")
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")


@dataclass(frozen=True, slots=True)
class Packaged:
    """``project``: the folder to build from. ``left_out``: files and folders of the model folder that did not enter."""

    name: str
    project: Path
    left_out: tuple[str, ...]

    @property
    def distribution(self) -> str:
        return f"guardeval-model-{re.sub(r'[-_.]+', '-', self.name).lower()}"


def write_project(folder: Path, name: str, out: Path, version: str = "1.0", with_base: bool = False) -> Packaged:
    """Write the project into ``out`` (made where it is not there; must be empty) and return it.

    Raises :class:`ConfigError` for a name that is taken, a card or file that a package must not hold, and an adapter whose
    base model lies on this machine, unless ``with_base`` takes that along.
    """
    folder = folder.expanduser().resolve()
    registry = Registry()
    valid_name(name)
    if name in registry.entries("models"):
        raise ConfigError(f"model name {name!r} is one of an installed backend or model; choose another with --name")
    if not _VERSION.fullmatch(version):
        raise ConfigError(f"--version {version}: a version such as 1.0 or 2.1.3rc1 is wanted")
    card = _checked_card(folder, registry)
    base = _base_of(folder, with_base)
    files, left_out = _files(folder, card)
    _check_weights(folder, card, files)
    packaged = Packaged(name, out.expanduser(), tuple(left_out))
    module = packaged.distribution.replace("-", "_")
    try:
        if packaged.project.exists() and any(packaged.project.iterdir()):
            raise ConfigError(f"{out}: is not empty; name a folder that is, or that is not there yet, with -o")
        target = packaged.project / module / "model"
        _copy(folder, files, target)
        if base is not None:
            _copy(base, _files(base, {})[0], target / _BASE)
            _rename_base(target / _ADAPTER)
        _write_texts(packaged, module, card, version)
    except OSError as e:
        raise ConfigError(f"{out}: the project cannot be written: {e.strerror or e}; name another folder with -o") from e
    return packaged


def _checked_card(folder: Path, registry: Registry) -> dict[str, Any]:
    card = read_model_folder(folder)
    if card.get("usable", True) is not True:
        raise ConfigError(f"{folder}: is marked as not usable by its own check; what nobody may run is not packaged")
    backend = backend_of_card(folder, card)
    for name, value in (options_of_card(folder, card, registry.load("models", backend))).items():
        if isinstance(value, str) and Path(value).is_absolute() and not Path(value).is_relative_to(folder):
            raise ConfigError(f"{folder}: its card: option {name}={value!r} is a path of this machine; take it out of the card")
    if card.get("policies") not in (None, "minimal", "medium", "verbose"):
        inside(folder, str(card["policies"]), "policies")
    exposure_of(folder)  # missing or foreign fingerprints are told now, not to whoever installs it
    return card


# ---- files ----


def _files(folder: Path, card: Mapping[str, Any]) -> tuple[list[Path], list[str]]:
    """Files that enter, relative to the folder, and names of those that do not. Raises for links, special files, pickles."""
    kept: list[Path] = []
    left_out: list[str] = []
    wanted = _folders(folder, card)
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__":
            left_out.append(path.name)
        elif path.is_dir() and not path.is_symlink():
            if path.name in wanted:
                kept += [p.relative_to(folder) for p in _within(path)]
            else:
                left_out.append(path.name + "/")
        elif _enters(path):
            kept.append(path.relative_to(folder))
        else:
            left_out.append(path.name)
    return kept, left_out


def _folders(folder: Path, card: Mapping[str, Any]) -> set[str]:
    """Folders of the model: what its card names; a training's own (checkpoints, logs) are no part of it."""
    options = [v for v in (card.get("options") or {}).values() if isinstance(v, str)]
    named = [Path(n) for n in (str(card.get("policies") or ""), *options, _BASE) if n]
    return {n.parts[0] for n in named if n.parts and not n.is_absolute() and (folder / n).exists()} - {"..", "."}


def _within(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from _within(path)
        elif not path.name.startswith(".") and _enters(path):
            yield path


def _enters(path: Path) -> bool:
    if path.is_symlink():
        raise ConfigError(f"{path}: is a link, and may lead anywhere: copy the file itself into the model folder")
    if not path.is_file():
        raise ConfigError(f"{path}: is no plain file; take it out of the model folder")
    if path.suffix.lower() in _PICKLES and path.name != EXPOSURE_FILE:
        raise ConfigError(
            f"{path}: may be a pickle, which runs code when it is read: a packaged model holds safetensors, ONNX or GGUF; "
            "convert it, or take it out of the model folder"
        )
    return path.name == EXPOSURE_FILE or path.suffix.lower() in _KINDS


def _copy(folder: Path, files: list[Path], target: Path) -> None:
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target / name, follow_symlinks=False)


def _check_weights(folder: Path, card: Mapping[str, Any], files: list[Path]) -> None:
    """The files that the card names are there, and are those. Raises :class:`ConfigError`."""
    said = card.get("weights") or []
    for one in said if isinstance(said, list) else [said]:
        name = one.get("file") if isinstance(one, Mapping) else None
        if not isinstance(name, str) or Path(name) not in files:
            raise ConfigError(
                f"{folder}: its card names the weights {name!r}, which are not among its files; make the model again"
            )
        with (folder / name).open("rb") as f:
            if one.get("sha256") and hashlib.file_digest(f, "sha256").hexdigest() != one["sha256"]:
                raise ConfigError(f"{folder / name}: is not the file that {MODEL_FILE} names (sha256); make the model again")


# ---- the base of an adapter ----


def _base_of(folder: Path, with_base: bool) -> Path | None:
    """The folder of a base model to take along; None where there is no adapter, or its base is on the Hub or inside already."""
    path = folder / _ADAPTER
    if not path.is_file() or (folder / "config.json").is_file():
        return None
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"]
        if not isinstance(name, str) or not name:
            raise TypeError("base_model_name_or_path is no text")
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise ConfigError(f"{path}: names no base model ({e}): the adapter cannot be used without one") from e
    local = next((p for p in (folder / name, Path(name).expanduser()) if p.is_dir()), None)
    if local is None:
        if _HUB.fullmatch(name) and ".." not in name:
            return None
        raise ConfigError(f"{path}: its base model {name!r} is neither a folder here nor OWNER/NAME on the Hub")
    local = local.resolve()
    if local.is_relative_to(folder):
        if local != folder / _BASE:
            raise ConfigError(
                f"{path}: its base model lies in {name!r}; of folders inside the model folder only {_BASE!r} travels"
            )
        return None
    if not with_base:
        raise ConfigError(
            f"{path}: its base model is a folder of this machine ({name}), which whoever installs the package does not have: "
            "take it along with --with_base, or merge it first: guardeval optimize merge"
        )
    return local


def _rename_base(path: Path) -> None:
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings |= {"base_model_name_or_path": _BASE, "revision": None}
    path.write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")


# ---- the texts of the project ----


def _write_texts(packaged: Packaged, module: str, card: Mapping[str, Any], version: str) -> None:
    project, package = packaged.project, packaged.project / module
    texts = {
        package / "__init__.py": f'"""The model {packaged.name} for guardeval: `--model {packaged.name}`. Holds no code."""\n',
        project / "pyproject.toml": _pyproject(packaged, module, card, version),
        project / "README.md": _readme(packaged, card),
    }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")


def _pyproject(packaged: Packaged, module: str, card: Mapping[str, Any], version: str) -> str:
    licence = card.get("licence")
    lines = [
        "[build-system]", 'requires = ["setuptools>=64"]', 'build-backend = "setuptools.build_meta"', "",
        "[project]",
        f"name = {_toml(packaged.distribution)}",
        f"version = {_toml(version)}",
        f"description = {_toml(f'The guard {packaged.name}: a model for guardeval')}",
        'readme = "README.md"',
        *([f"license = {{text = {_toml(str(licence))}}}"] if licence else []),
        f"dependencies = [{_toml(_needs(str(card['backend'])))}]", "",
        '[project.entry-points."guardeval.models"]',
        f"{_toml(packaged.name)} = {_toml(module)}", "",
        "[tool.setuptools]",
        f"packages = [{_toml(module)}]",
        "include-package-data = false", "",
        "[tool.setuptools.package-data]",
        f'{module} = ["model/**"]', "",
    ]  # fmt: skip
    return "\n".join(lines)


def _toml(text: str) -> str:
    """A basic string of TOML, on one line: JSON's escapes are among its own."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False).replace("\x7f", "")


def _needs(backend: str) -> str:
    """guardeval, with the extra that the backend needs."""
    from importlib.metadata import metadata

    extras = metadata("guardeval").get_all("Provides-Extra") or []
    return f"guardeval{f'[{backend}]' if backend in extras else ''}>={guardeval.__version__}"


def _readme(packaged: Packaged, card: Mapping[str, Any]) -> str:
    from dataclasses import replace

    from guardeval.report.markdown import markdown_tables
    from guardeval.report.model_tables import model_tables

    folder = packaged.project / packaged.distribution.replace("-", "_") / "model"
    tables = model_tables(packaged.name, folder)
    about = [t for t in tables[0].rows if t[0] != "folder"]  # where it lies here says nothing elsewhere
    notices = [str(n) for n in card.get("notices") or ()]
    text = markdown_tables([replace(tables[0], title="", rows=tuple(about)), *tables[1:]], notices)
    use = f"    pip install {packaged.distribution}\n    guardeval run --task wildguard --model {packaged.name}\n"
    return f"# {packaged.name}\n\nA guard model for guardeval.\n\n{use}\n{text}"


# ---- the wheel ----


def build_wheel(packaged: Packaged) -> Path:
    """Build the project and return the wheel, in ``dist`` beside it. Raises :class:`ConfigError` with what to do instead."""
    dist = packaged.project / "dist"
    place = f"{packaged.project}{os.sep}"  # without the separator pip takes a bare word for the name of a package
    words = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(dist), place]
    missing = [name for name in ("pip", "setuptools") if importlib.util.find_spec(name) is None]
    by_hand = (
        f"the project is written: `pip wheel --no-deps -w {dist} {place}` builds it where pip and setuptools are, "
        "or any builder that reads pyproject.toml"
    )
    if missing:
        raise ConfigError(f"no wheel: {' and '.join(missing)} not installed in this environment; {by_hand}")
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    wheels = sorted(dist.glob("*.whl")) if dist.is_dir() else []
    if done.returncode or not wheels:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["pip said nothing"]
        raise ConfigError(f"no wheel: pip failed: {said[0]}; {by_hand}")
    for leftover in (packaged.project / "build", *packaged.project.glob("*.egg-info")):
        shutil.rmtree(leftover, ignore_errors=True)
    return wheels[-1]
