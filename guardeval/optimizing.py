"""Making a model smaller or faster, and the check that decides whether what was made may be used.

The folder is made beside its place and moved there when it is whole; until a check passed it says that it is unchecked. The
check asks the model before and after the same questions: :mod:`guardeval.optimizing_check`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardeval.card_options import policies_of_card, solver_of_card
from guardeval.contracts import BatchModel, Model, Optimizer, Solver
from guardeval.data import Sample, Target
from guardeval.errors import ConfigError, DataError
from guardeval.models import MODEL_FILE, ModelSpec, build_model, read_model_folder
from guardeval.optimized import UNCHECKED, read_original
from guardeval.policies import PolicySet, load_policies
from guardeval.registry import Registry, configuration
from guardeval.runs import write_atomically

__all__ = ["Questions", "built", "mark_checked", "optimized", "questions_for", "rows_of_training_file"]

_FULL = ("No space left", "Disk quota", "os error 28")


@dataclass(frozen=True)
class Questions:
    """What both models are asked. ``data`` says where the samples come from, JSON-able."""

    samples: Sequence[Sample]
    target: Target
    solver: Solver
    policies: PolicySet
    data: Mapping[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        name = Registry().name_of("solvers", type(self.solver))
        policies = self.policies.source
        said = {"target": str(self.target), "solver": name, "solver_args": configuration(self.solver), "policies": policies}
        return {**said, "data": dict(self.data), "samples": len(self.samples)}


def optimized(optimizer: Optimizer, folder: Path, out: Path) -> Path:
    """The optimised folder at ``out``, whole or not there at all.

    Raises :class:`ConfigError` for an ``out`` that holds something, or cannot be written; and what the optimizer raises.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"--out {out}: is there already, and nothing is overwritten; name a new folder, or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as e:
        raise _unwritable(out, e) from e
    try:
        optimizer.optimize(folder, staging)
        staging.chmod(0o755 & ~_umask())
        if out.exists():
            out.rmdir()
        staging.rename(out)
    except Exception as e:  # what libraries make of a full disk has many types: it is told apart by its words
        if isinstance(e, OSError) or any(word in str(e) for word in _FULL):
            raise _unwritable(out, e) from e
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out


def _unwritable(out: Path, e: Exception) -> ConfigError:
    said = (e.strerror if isinstance(e, OSError) else None) or str(e).splitlines()[0]
    return ConfigError(f"--out {out}: the model folder cannot be written: {said}; nothing is left of it, name another place")


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


def built(folder: Path, registry: Registry | None = None) -> Model | BatchModel:
    """The model of a folder, guardeval's or transformers' own, an adapter on its base. Loads nothing yet.

    Raises :class:`ConfigError` for one that its own check refused.
    """
    registry = registry or Registry()
    if (folder / MODEL_FILE).is_file():
        return build_model(ModelSpec(str(folder)), registry)
    original = read_original(folder)
    options: dict[str, Any] = {"model": original.transformers.name}
    if original.adapter is not None:
        options["adapter"] = str(original.adapter)
    model: Model | BatchModel = registry.build("models", "hf", options)
    return model


def questions_for(
    folder: Path,
    samples: Sequence[Sample],
    target: Target,
    data: Mapping[str, Any],
    solver: str | None = None,
    policies: str | None = None,
    solver_args: Mapping[str, Any] | None = None,
) -> Questions:
    """The samples as a model is to be asked: by solver and policies given, else its card's, else as in a run."""
    card = read_model_folder(folder) if (folder / MODEL_FILE).is_file() else {}
    registry = Registry()
    name, args = solver_of_card(folder, card, registry) or ("direct", {})
    if solver not in (None, name):
        name, args = str(solver), {}
    found = registry.build("solvers", name, {**args, **(solver_args or {})})
    texts = load_policies(policies or policies_of_card(folder, card) or "minimal")
    return Questions(tuple(samples), target, found, texts, data)


def rows_of_training_file(path: Path, limit: int | None, seed: int) -> tuple[list[Sample], Target, dict[str, Any]]:
    """Labelled samples of a training file: its validation rows, where it has some; a seeded subset of ``limit``.

    Raises :class:`DataError` for a file whose rows ask different questions.
    """
    import random

    from guardeval.training_rows import Split, read_training_file

    found = read_training_file(path)
    rows = found.of(Split.VALIDATION) or tuple(found)
    targets = sorted({row.target for row in rows})
    if len(targets) > 1:
        asked = ", ".join(targets)
        raise DataError(f"{path}: its rows ask {asked}, and a check asks one question; give --task and --data instead")
    if limit is not None and limit < len(rows):
        kept = sorted(random.Random(seed).sample(range(len(rows)), limit))
        rows = tuple(rows[i] for i in kept)
    split = str(rows[0].split)
    about = {"file": path.name, "sha256": found.digest, "split": split, "rows": len(rows)}
    return [row.sample for row in rows], targets[0], about


def mark_checked(folder: Path, check: Mapping[str, Any], usable: bool) -> None:
    """Write the outcome of a check into the card of ``folder``. Raises :class:`ConfigError` where it cannot be written."""
    import yaml

    card = read_model_folder(folder)
    notices = [n for n in card.pop("notices", ()) if n != UNCHECKED]
    card |= {"check": dict(check), **({"notices": notices} if notices else {})}
    card.pop("usable", None)
    if not usable:
        card["usable"] = False
    text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120)
    head = "# written by guardeval; `--model ./this-folder` runs it\n"
    try:
        write_atomically(folder / MODEL_FILE, (head + text).encode("utf-8"))
    except OSError as e:
        raise ConfigError(f"{folder / MODEL_FILE}: the check cannot be written into it: {e.strerror or e}") from e
