"""Which samples of a run its models have seen in training, and what must be said and scored beside the numbers for it.

A model folder holds fingerprints of the prompts that its model, its parents and its teachers were made from; a card may also
name test tasks that training rows were made from. What a model behind an API has seen is not known: nothing is marked, and
the results file says that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.exposure import Exposure, fingerprint
from guardeval.models import MODEL_FILE

if TYPE_CHECKING:
    from guardeval.contracts import BatchModel, Model
    from guardeval.data import Sample

__all__ = [
    "CONTAMINATED",
    "SEEN",
    "UNKNOWN",
    "Contact",
    "Marker",
    "Seen",
    "contacts_of",
    "contamination_notice",
    "is_contaminated",
    "is_untold",
    "seen_by",
]

CONTAMINATED = "contaminated"  # the mark beside every number of a task
SEEN = "its prompt was seen in training"
UNKNOWN = "what it has seen is not known"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model says that it has seen: prompts, and test tasks that training rows were made from."""

    prompts: Exposure
    tasks: frozenset[str] = frozenset()

    def as_dict(self) -> dict[str, Any]:
        tasks = {"made_from_tasks": sorted(self.tasks)} if self.tasks else {}
        return {"prompts": len(self.prompts), "sha256": self.prompts.digest, **tasks}


def seen_by(folder: Path | None, model: Model | BatchModel) -> Seen | None:
    """Joined over all model folders behind a model: ``folder``, as it was named, those in its options, the one that it ships;
    and over what the backend itself says. None: unknown.

    Raises :class:`ConfigError` for a folder whose fingerprints are missing or not its own.
    """
    from guardeval.model_folder import contaminated_tasks, exposure_of
    from guardeval.models import read_model_folder

    own = getattr(model, "exposure", None)
    known: Exposure | None = own if isinstance(own, Exposure) else None
    tasks: frozenset[str] = frozenset()
    for path in _folders(folder, model):
        tasks |= contaminated_tasks(read_model_folder(path))
        if (found := exposure_of(path)) is not None:
            known = found if known is None else known.joined(found)
    return Seen(known or Exposure(), tasks) if known is not None or tasks else None


def _folders(folder: Path | None, model: Model | BatchModel) -> list[Path]:
    named = [folder, getattr(model, "model_folder", None)]
    named += [getattr(model, option, None) for option in getattr(type(model), "path_options", ())]
    paths = {Path(n).expanduser().resolve() for n in named if isinstance(n, (str, Path)) and str(n)}
    return sorted(p for p in paths if (p / MODEL_FILE).is_file())


@dataclass(frozen=True, slots=True)
class Contact:
    """What one model has seen of a task: how many of the samples judged, and whether rows made from it were trained on."""

    model: str
    samples: int
    task: bool = False

    @property
    def untold(self) -> bool:
        """It was made from the task, and of which samples cannot be told."""
        return self.task and not self.samples

    def as_dict(self) -> dict[str, Any]:
        return {"samples": self.samples, **({"made_from_task": True} if self.task else {})}


class Marker:
    """Tells which samples of one task the models of a run have seen, and counts them by model."""

    def __init__(self, task: str, models: Iterable[tuple[str, Seen | None]]) -> None:
        known = [(name, seen) for name, seen in models if seen is not None]
        self._prompts = [(name, seen.prompts.prompts) for name, seen in known if len(seen.prompts)]
        self._made_from = {name: task in seen.tasks for name, seen in known}
        self._counts = {name: 0 for name, _ in known}

    def __call__(self, sample: Sample) -> bool:
        if not self._prompts:
            return False
        mark, found = fingerprint(sample.prompt), False
        for name, prompts in self._prompts:
            if mark in prompts:
                self._counts[name] += 1
                found = True
        return found

    @property
    def counts(self) -> dict[str, int]:
        """Samples that each model has seen."""
        return dict(self._counts)

    def add(self, counts: Mapping[str, int]) -> None:
        """Count what another part of the run found."""
        for name, n in counts.items():
            self._counts[name] = self._counts.get(name, 0) + n

    @property
    def contacts(self) -> tuple[Contact, ...]:
        """Of the models that have seen anything of the task."""
        told = [Contact(name, n, self._made_from[name]) for name, n in self._counts.items()]
        return tuple(c for c in told if c.samples or c.task)


def contacts_of(config: Mapping[str, Any]) -> tuple[Contact, ...]:
    """As a results file states them under a task's ``config``."""
    said = config.get("contamination") or {}
    return tuple(Contact(str(name), int(c["samples"]), bool(c.get("made_from_task"))) for name, c in said.items())


def is_untold(contacts: Sequence[Contact]) -> bool:
    """No sample can be called clean: a model was made from the task, and of which samples cannot be told."""
    return any(c.untold for c in contacts)


def is_contaminated(contacts: Sequence[Contact], seen: int) -> bool:
    """``seen``: samples that at least one model has."""
    return seen > 0 or any(c.task for c in contacts)


def contamination_notice(contacts: Sequence[Contact], seen: int, of: int, several: bool = False) -> str:
    """Who has seen how much, in words; empty where nobody has. ``several``: of more models than one, so that they are named."""
    if not is_contaminated(contacts, seen):
        return ""
    parts = []
    if seen:
        parts.append(
            f"{_who([c.model for c in contacts if c.samples], several, 'has', 'have')} seen {seen} of {of} prompts in training"
        )
    if made := [c.model for c in contacts if c.task]:
        parts.append(f"{_who(made, several, 'was', 'were')} trained on rows made from this benchmark")
    if is_untold(contacts):
        parts.append("of which samples cannot be told, so none counts as clean")
    elif seen:
        parts.append(f"the clean subset holds the other {of - seen}" if seen < of else "no sample is clean")
    return f"{CONTAMINATED}: {'; '.join(parts)}"


def _who(names: Sequence[str], several: bool, one: str, more: str) -> str:
    return f"{', '.join(names) if several and names else 'the model'} {more if several and len(names) > 1 else one}"
