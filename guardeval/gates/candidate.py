"""Runs of one model, read as what a gate compares: tasks with their samples and the facts that must be equal on both sides."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guardeval.contamination import contacts_of, is_contaminated, is_untold
from guardeval.errors import ConfigError, DataError, GuardevalError
from guardeval.gates.packing import Verdicts
from guardeval.mined_rows import data_text
from guardeval.run_facts import head_of
from guardeval.run_names import model_text
from guardeval.runs import StoredRun, TaskRecord, open_run

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = ["Candidate", "TaskSide", "read_candidate"]

TRAINING = "guardeval_train"  # tag of tasks that are for training and mining only


@dataclass(frozen=True, eq=False)
class TaskSide:
    """One task of a run. ``facts`` must be equal on both sides, name → value as a person reads it."""

    name: str
    facts: Mapping[str, str]
    verdicts: Verdicts
    judged: Judgements
    run: StoredRun
    contaminated: bool  # a model of the run has seen samples of it, or was made from it
    untold: bool  # of which samples cannot be told


@dataclass(frozen=True, eq=False)
class Candidate:
    """One model's runs together."""

    tasks: Mapping[str, TaskSide]
    policy_names: tuple[str, ...]
    policies_sha256: str
    model: str
    identity: Mapping[str, Any]
    solver: Mapping[str, Any]
    runs: Sequence[StoredRun]
    unfinished: Sequence[str] = field(default_factory=tuple)  # what keeps runs from being whole, one sentence each


def read_candidate(folders: Iterable[Path | str], only: Sequence[str] = ()) -> Candidate:
    """Run folders of one model as one. ``only``: these tasks, empty for all.

    Raises :class:`DataError` where they are of several models, solvers or policies, or hold a task twice;
    :class:`ConfigError` for a task that is for training.
    """
    runs = [open_run(f) for f in folders]
    if not runs:
        raise ConfigError("no run: name the folder of one, `guardeval run` prints it")
    _check_one_model(runs)
    tasks: dict[str, TaskSide] = {}
    for run in runs:
        _refuse_training(run, only)
        for record in run.tasks:
            if only and record.name not in only:
                continue
            if record.name in tasks:
                raise DataError(
                    f"task {record.name!r} stands in two of the runs ({tasks[record.name].run.path}, {run.path}): name one"
                )
            tasks[record.name] = _side(run, record)
    about = runs[0].record["record"]
    return Candidate(
        tasks,
        tuple(about["policies"]),
        str(about.get("policies_sha256", "")),
        model_text(head_of(runs[0]).get("config") or {"model": about["model"]["name"]}),
        dict(about["model"].get("identity") or {}),
        dict(about.get("solver") or {}),
        runs,
        tuple(_unfinished(runs, tasks.values())),
    )


def _check_one_model(runs: Sequence[StoredRun]) -> None:
    first = runs[0].record["record"]
    for run in runs[1:]:
        other = run.record["record"]
        for what, mine, theirs in (
            ("model", first["model"].get("identity"), other["model"].get("identity")),
            ("solver", first.get("solver"), other.get("solver")),
            ("policies", first.get("policies_sha256"), other.get("policies_sha256")),
        ):
            if mine != theirs:
                raise DataError(
                    f"{run.path}: its {what} is {theirs!r}, that of {runs[0].path} {mine!r}: a gate is passed by one model, "
                    "asked in one way; check the others on their own"
                )


def _side(run: StoredRun, record: TaskRecord) -> TaskSide:
    judged = record.judgements()
    told = contacts_of((head_of(run).get("configs") or {}).get(record.name) or {})
    verdicts = Verdicts.of(judged, record.name)
    seen = int((judged.seen != 0).sum())
    return TaskSide(record.name, _facts(record, judged), verdicts, judged, run, is_contaminated(told, seen), is_untold(told))


def _facts(record: TaskRecord, judged: Judgements) -> dict[str, str]:
    return {
        "target": str(record.about["target"]),
        "task version": str(record.about["version"]),
        "data": data_text(record.about["data"]),
        "rows": _digest(judged, labels=False),
        "labels": _digest(judged, labels=True),
    }


def _digest(judged: Judgements, labels: bool) -> str:
    """Over ids and prompts, or ids and what the label map made of each row; in the order of ids."""
    out = hashlib.sha256()
    for i in sorted(range(len(judged)), key=lambda i: judged.ids[i]):
        said: tuple[object, ...] = (int(judged.cluster[i]),)
        if labels:
            known = [int(c[i]) for c in (judged.gold, judged.gold_policies, judged.known_policies)]
            said = (*known, judged.categories[i])
        out.update(repr((judged.ids[i], *said)).encode("utf-8", "surrogatepass"))
    return out.hexdigest()[:32]


def _unfinished(runs: Sequence[StoredRun], tasks: Iterable[TaskSide]) -> list[str]:
    out = []
    for run in runs:
        status = str(run.record["record"].get("status", "complete"))
        if status != "complete":
            out.append(f"{run.name} was {status}: it covers the samples heard so far")
    for task in tasks:
        failed = int((task.verdicts.outcome == 3).sum())
        if failed:
            out.append(f"{task.name} is provisional: {failed} samples were never heard")
    return out


def _refuse_training(run: StoredRun, only: Sequence[str]) -> None:
    from guardeval.registry import Registry
    from guardeval.task_entries import scan

    given = [p for p in run.record.get("include_path") or () if Path(p).exists()]
    try:
        known = scan(given, Registry()).entries
    except GuardevalError:  # a broken task file elsewhere is no reason not to check these
        known = {}
    for record in run.tasks:
        entry = known.get(record.name)
        if entry is not None and TRAINING in entry.tags and (not only or record.name in only):
            raise ConfigError(
                f"{run.path}: {record.name} is a training split (tag {TRAINING}), for training and mining only: a gate on it "
                "would reward what was learnt by heart; check tasks of the tag guardeval"
            )


def family_of(task: str) -> str:
    """The letters a task's name begins with: wildguard of wildguard_response, aegis of aegis2."""
    found = re.match(r"[a-z]+", task.lower())
    return found[0] if found else task.lower()


def made_from(candidate: Candidate, tasks: Iterable[str]) -> tuple[str, ...]:
    """Tasks among these that the model was made from, as far as runs and its card say: contaminated ones, and those of a family
    whose name a training source bears."""
    sources = _card_sources(candidate)
    return tuple(
        t
        for t in tasks
        if (t in candidate.tasks and candidate.tasks[t].contaminated) or any(family_of(t) in source for source in sources)
    )


def _card_sources(candidate: Candidate) -> set[str]:
    from guardeval.models import MODEL_FILE, read_model_folder

    out: set[str] = set()
    for run in candidate.runs:
        models = run.record.get("model")
        for model in models if isinstance(models, list) else [models]:
            name = str(model.get("name") if isinstance(model, Mapping) else model)
            if not (Path(name) / MODEL_FILE).is_file():
                continue
            data = read_model_folder(Path(name)).get("data")
            sources = data.get("sources") if isinstance(data, Mapping) else None
            names = [s.get("name", s.get("source", "")) if isinstance(s, Mapping) else s for s in sources or ()]
            out |= {re.sub(r"[^a-z0-9]", "", str(n).lower()) for n in names if n}
    return out


def heard_share(judged: Judgements) -> tuple[float, int]:
    """Parse rate: answers that were understood, of those that came; and how many came."""
    labelled = judged.gold >= 0
    came = int((labelled & (judged.outcome != 3)).sum())
    parsed = int((labelled & (judged.outcome == 0)).sum())
    return (parsed / came if came else float(np.nan)), came
