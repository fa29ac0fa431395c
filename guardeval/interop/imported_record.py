"""What an imported run writes down: where it comes from, under the same keys as a run that asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import guardeval
from guardeval.broker.counters import Counters
from guardeval.contamination import UNKNOWN, contacts_of, is_untold
from guardeval.contracts import Scorer
from guardeval.interop.logged import Log
from guardeval.judged import Judgements
from guardeval.party import labelled
from guardeval.registry import configuration
from guardeval.results import model_names
from guardeval.runs import environment
from guardeval.scoring import score_task
from guardeval.task_rows import sha256_of

if TYPE_CHECKING:
    from guardeval.interop.import_samples import Reading

__all__ = ["ImportedTask", "file_identity", "imported_head", "imported_record", "restored_record"]

_NAMED = 5  # unmatched samples that a notice names; run.yaml names all


@dataclass(frozen=True)
class ImportedTask:
    """One task as it was read: ``about`` as ``run.yaml`` has it, ``head`` as the results file's ``configs`` have it."""

    name: str
    about: Mapping[str, Any]
    head: Mapping[str, Any]
    judged: Judgements
    metrics: Mapping[str, Any]
    better: Mapping[str, bool]
    unmatched: Mapping[str, str] = field(default_factory=dict)
    original: int | None = None
    notices: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        return str(self.about["version"])

    @classmethod
    def scored(
        cls,
        title: str,
        about: Mapping[str, Any],
        judged: Judgements,
        scorers: Mapping[str, Scorer],
        head: Mapping[str, Any],
        *,
        name: str,
    ) -> ImportedTask:
        metrics, better = score_task(judged, scorers, is_untold(contacts_of(head)))
        whole = {"name": name, "alias": title, "target": str(judged.target), **metrics}
        about = {**about, "samples": len(judged), "scorers": {n: configuration(s) for n, s in scorers.items()}}
        return cls(name, about, head, judged, whole, better)


def file_identity(files: Sequence[Path]) -> list[dict[str, str]]:
    """What files are, by content."""
    return [{"name": f.name, "sha256": sha256_of(f)} for f in files]


def _origin(log: Log, tasks: Sequence[ImportedTask]) -> dict[str, Any]:
    return {
        "tool": log.tool,
        "files": file_identity(log.files),
        "model": log.model,
        "solver": log.solver,
        **({"run": log.origin.get("run")} if log.origin else {}),
        "unmatched": {t.name: dict(t.unmatched) for t in tasks if t.unmatched},
    }


def _from(log: Log) -> str:
    what = {"inspect": "a log of Inspect", "lm_eval": "output of lm-eval"}[log.tool]
    run = f", written by guardeval run {log.origin.get('run')}" if log.origin else ""
    return f"imported from {what} ({log.path.name}{run}); no model was asked"


def imported_head(log: Log, tasks: Sequence[ImportedTask], reading: Reading) -> dict[str, Any]:
    """The results file's head, as a run that asked has it."""
    solver, name = reading.solver, reading.solver_name
    label = labelled(name, solver) if solver is not None else name
    return {
        "configs": {t.name: _config(t) for t in tasks},
        "versions": {t.name: t.version for t in tasks},
        "n-shot": {t.name: 0 for t in tasks},
        "n-samples": {t.name: _counts(t) for t in tasks},
        "config": {
            "model": log.model,
            "model_args": {},
            "model_notices": [],
            "exposure": {log.model: UNKNOWN},
            "solver": name,
            "solver_args": configuration(solver) if solver is not None else {},
            "solver_label": f"{label} (as logged by {log.tool})",
            "policies": reading.policies.source,
            "limit": None,
            "seed": None,
        },
        "status": log.status,
        "notices": [
            _from(log),
            *log.remarks,
            *(f"left out: {name}, which {why}" for name, why in log.left_out.items()),
            *(f"{t.name}: {n}" for t in tasks for n in _notices(t)),
        ],
        "usage": asdict(Counters()),
        "date": datetime.now().timestamp(),
        "start_time": log.started,
        "end_time": log.ended,
        "total_evaluation_time_seconds": None,
        **model_names(log.model),
        "environment": environment(),
    }


def _config(task: ImportedTask) -> dict[str, Any]:
    failed = int(task.metrics["outcomes"]["failed"])
    return {
        "task": task.name,
        "target": str(task.judged.target),
        "data": task.about["data"],
        "subset": task.about["subset"],
        **task.head,
        "marks": [*task.head["marks"], "imported", *(["provisional"] if failed else [])],
        "metadata": {"version": task.version},
    }


def _counts(task: ImportedTask) -> dict[str, Any]:
    gold = task.judged.gold
    original = len(gold) if task.original is None else task.original
    counts = {"positive": int((gold == 1).sum()), "negative": int((gold == 0).sum())}
    return {"original": original, "effective": len(gold), **counts}


def _notices(task: ImportedTask) -> list[str]:
    out = list(task.notices)
    failed = int(task.metrics["outcomes"]["failed"])
    out += [f"provisional: {failed} samples were never heard, says the log"] if failed else []
    if task.unmatched:
        named = [f"{i} ({why})" for i, why in list(task.unmatched.items())[:_NAMED]]
        more = ", …" if len(task.unmatched) > _NAMED else ""
        out.append(f"{len(task.unmatched)} logged samples were left out: {', '.join(named)}{more}")
    return out


def imported_record(
    log: Log, tasks: Sequence[ImportedTask], reading: Reading, head: Mapping[str, Any], date: str
) -> dict[str, Any]:
    """``run.yaml``: what was read from where; its settings ask the same model live, if guardeval knows one of that name."""
    solver_name, policies = reading.solver_name, reading.policies
    options = configuration(reading.solver) if reading.solver is not None else {}
    record = {
        "guardeval": guardeval.__version__,
        "date": date,
        "status": head["status"],
        "policies": list(policies.names),
        "policies_sha256": hashlib.sha256(policies.text.encode()).hexdigest(),
        "tasks": {t.name: dict(t.about) for t in tasks},
        "groups": [],
        "solver": {"name": solver_name, **options},
        "model": {"name": log.model, "identity": {"backend": log.tool, "logged": log.model}, "classifies": False},
        "imported_from": _origin(log, tasks),
        "head": dict(head),
    }
    settings: dict[str, Any] = {"task": [t.name for t in tasks], "solver": solver_name, "model": log.model}
    settings |= {"policies": policies.source, "data": tasks[0].about["data"]["kind"], "seed": 0}
    plain: dict[str, Any] = json.loads(json.dumps({**settings, "record": record}, default=str))
    return plain


def restored_record(log: Log, tasks: Sequence[ImportedTask], date: str) -> dict[str, Any]:
    """``run.yaml`` of the run that was exported, with what was imported; its tasks are those of the log."""
    run = (log.origin or {})["record"]
    about = run["record"]
    old = about["head"]
    names = [t.name for t in tasks]
    head = {k: {n: v[n] for n in names} if k in _BY_TASK else v for k, v in old.items()}
    head["notices"] = [_from(log), *(n for n in old.get("notices") or () if not n.startswith("imported from "))]
    record = {**about, "date": date, "tasks": {t.name: t.about for t in tasks}, "imported_from": _origin(log, tasks)}
    record |= {"groups": [g for g in about["groups"] if set(g["tasks"]) <= {*names}], "head": head}
    plain: dict[str, Any] = json.loads(json.dumps({**run, "task": names, "record": record}, default=str))
    return plain


_BY_TASK = ("configs", "versions", "n-shot", "n-samples")
