"""What a run writes down: the results file under lm-eval's keys, and the record in ``run.yaml``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import guardeval
from guardeval.contamination import CONTAMINATED, contamination_notice
from guardeval.contracts import Solver
from guardeval.data import Outcome
from guardeval.judged import OUTCOMES, Judgements
from guardeval.models import MODEL_FILE, ModelSpec
from guardeval.party import Party
from guardeval.policies import VERBOSITIES
from guardeval.registry import configuration
from guardeval.runs import StoredRun, environment
from guardeval.scoring import GroupSpec, group_results
from guardeval.sealed import reads_gold
from guardeval.settings import Settings
from guardeval.voting import Combiner

if TYPE_CHECKING:
    from guardeval.broker import Counters
    from guardeval.pipeline import Plan, TaskRun

__all__ = [
    "assemble_head",
    "assemble_results",
    "assemble_run_record",
    "group_specs",
    "groups_of",
    "settings_from_anywhere",
    "unscored_head",
]

_MOST_ERROR = 300  # characters of an error that a notice shows
_LOOK = 5  # samples whose notes are looked at


def assemble_results(
    head: Mapping[str, Any], groups: Sequence[GroupSpec], metrics: Mapping[str, Any], better: Mapping[str, Any]
) -> dict[str, Any]:
    """The results file: metrics by task and group, and ``head``, all that scoring does not change.

    Undefined numbers are nan here and null in the file.
    """
    return {
        "results": {name: dict(m) for name, m in metrics.items()},
        "groups": group_results(groups, metrics),
        "group_subtasks": {g.name: list(g.tasks) for g in groups},
        "higher_is_better": {name: dict(b) for name, b in better.items()},
        **head,
    }


def assemble_head(
    plan: Plan,
    party: Party,
    runs: Mapping[str, TaskRun],
    counters: Counters,
    status: str,
    started: datetime,
    ended: datetime,
) -> dict[str, Any]:
    """What was asked of whom, on which data, when; under lm-eval's keys."""
    settings = plan.settings
    return {
        "configs": {name: _config(r, status) for name, r in runs.items()},
        "versions": {name: r.task.version for name, r in runs.items()},
        "n-shot": dict.fromkeys(runs, 0),
        "n-samples": {name: _counts(r) for name, r in runs.items()},
        "config": {
            **party.config(),
            "policies": plan.policies.source,
            "limit": settings.limit,
            "seed": settings.seed,
        },
        "status": status,
        "notices": notices(plan, party, runs, status),
        "usage": asdict(counters),
        "date": started.timestamp(),
        "start_time": started.isoformat(),
        "end_time": ended.isoformat(),
        "total_evaluation_time_seconds": (ended - started).total_seconds(),
        **model_names(party.name),
        "environment": environment(),
    }


def unscored_head(head: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The head of a run whose scoring was interrupted; what ``run.yaml`` says of the asking stays as it is."""
    said = f"interrupted before it was scored: `guardeval score {quote(str(folder))}` scores it, without a model"
    configs = {
        name: {**config, "marks": list(dict.fromkeys(["interrupted", *config["marks"]]))}
        for name, config in head["configs"].items()
    }
    return {**head, "status": "interrupted", "notices": [said, *head["notices"]], "configs": configs}


def group_specs(plan: Plan) -> list[GroupSpec]:
    return [GroupSpec(g.name, g.title, tuple(g.tasks), dict(g.paper_sizes)) for g in plan.selection.groups]


def model_names(name: str) -> dict[str, str]:
    """lm-eval's three keys for the model's name."""
    return {"model_source": name.partition("/")[0], "model_name": name, "model_name_sanitized": name.replace("/", "__")}


def _config(run: TaskRun, status: str) -> dict[str, Any]:
    task, rows = run.task, run.rows
    return {
        "task": task.name,
        "output_type": "generate_until",  # as lm-eval's tools ask for it, and what each line of the samples file is scored by
        "metric_list": [{"metric": "accuracy", "aggregation": "mean", "higher_is_better": True}],
        "target": str(task.target),
        "data": {"kind": rows.kind, "source": rows.source, **rows.identity},
        "subset": rows.subset,
        "skipped_unlabelled": rows.skipped,
        "licence": task.licence,
        "marks": _marks(run, status),
        **({"contamination": {c.model: c.as_dict() for c in run.contacts}} if run.contacts else {}),
        "metadata": {"version": task.version},
    }


def _marks(run: TaskRun, status: str) -> list[str]:
    """What stands beside every number of a task, in a word or two: notices say it in full."""
    marks = ["sample rows"] if run.rows.kind == "sample" else []
    marks += ["mined rows"] if "mined_from" in run.rows.identity else []
    marks += ["subset"] if run.rows.subset else []
    marks += [CONTAMINATED] if run.contacts else []
    marks += [status] if status != "complete" else []
    marks += ["provisional"] if run.metrics["outcomes"]["failed"] or run.lost.samples else []
    return [*marks, *_common_notes(run)]


def _counts(run: TaskRun) -> dict[str, Any]:
    """lm-eval's two counts, and how the labels fall."""
    gold = run.judged.gold
    original = run.rows.subset["of"] if run.rows.subset else run.rows.count()
    return {
        "original": original if original is not None else len(gold),
        "effective": len(gold),
        "positive": int((gold == 1).sum()),
        "negative": int((gold == 0).sum()),
    }


def notices(plan: Plan, party: Party, runs: Mapping[str, TaskRun], status: str) -> list[str]:
    """What a reader must know before believing a number; shown above every table."""
    out = []
    waiting = [t.name for t in plan.selection.tasks if t.name not in runs]
    left = f". Not begun: {', '.join(waiting)}" if waiting else ""
    if status == "interrupted":
        out.append(f"interrupted: the numbers cover the samples heard so far; the same command goes on from there{left}")
    if status == "stopped":
        out.append(
            f"stopped at --max_cost: the numbers cover the samples heard so far; a higher limit goes on from there{left}"
        )
    if party.classifies:
        models = "the models only classify: their" if len(party.seats) > 1 else "the model only classifies: its"
        out.append(
            f"{models} verdicts do not depend on the prompt of solver {party.solver_name!r}, "
            "so a contrast of prompts on it is not applicable"
        )
    if reads_gold(party.solver):
        out.append(f"solver {party.solver_name!r} is shown the gold labels: its verdicts measure no guard")
    out.extend(party.notices)
    out.extend(party.remarks)
    for name, r in runs.items():
        out.extend(_task_notices(name, r, party.combined))
        out.extend(f"{name}: {notice}" for notice in [r.lost.notice(plan.settings.redact)] if notice)
        out.extend(f"{name}: {notice}" for notice in solver_notices(party.solver, r.judged))
    return out


def solver_notices(solver: Solver, judged: Judgements) -> list[str]:
    """What a solver that combines has to say about its numbers."""
    return list(solver.notices(judged)) if isinstance(solver, Combiner) else []


def _task_notices(name: str, run: TaskRun, several: bool) -> list[str]:
    rows, outcomes = run.rows, run.metrics["outcomes"]
    out = [f"{name}: {rows.notice}"] if rows.notice else []
    if "mined_from" in rows.identity:
        out.append(f"{name}: mined rows: chosen from {rows.identity['mined_from']} for what was said about them, no benchmark")
    if rows.subset:
        subset = rows.subset
        how = f"drawn with seed {subset['seed']}, by {subset['stratified']}" if "seed" in subset else "chosen by id"
        out.append(f"{name}: a subset: {subset['n']} of {subset['of']} samples, {how}")
    if told := contamination_notice(run.contacts, int((run.judged.seen != 0).sum()), len(run.judged), several):
        out.append(f"{name}: {told}")
    if rows.skipped:
        out.append(f"{name}: {rows.skipped} rows carry no label for {run.task.target} and were left out")
    if outcomes["failed"]:
        heard = f"{outcomes['failed']} samples were never heard; the same command asks them again"
        out.append(f"{name}: provisional: {heard}{_first_error(run)}")
    out.extend(f"{name}: verdicts are marked: {note}" for note in _common_notes(run))
    return out


def _common_notes(run: TaskRun) -> list[str]:
    """Notes that a model's verdicts all carry for this target, told from a few of them that were understood.

    What stands on one alone (why it could not be read, say) is about that sample.
    """
    parsed = (run.judged.outcome == OUTCOMES.index(Outcome.PARSED)).nonzero()[0]
    some = {int(parsed[i * (len(parsed) - 1) // (_LOOK - 1)]) for i in range(_LOOK)} if len(parsed) else set()
    notes = [set(run.judged[i].verdict.notes) for i in sorted(some)]
    return sorted(set.intersection(*notes)) if notes else []


def _first_error(run: TaskRun) -> str:
    """Why the first of the failed samples was not heard; nothing of a redacted run, for an error may quote the row."""
    failed = run.judged.outcome == OUTCOMES.index(Outcome.FAILED)
    said = " ".join(run.judged[int(failed.argmax())].verdict.raw.split())
    return f". The first: {said if len(said) <= _MOST_ERROR else said[:_MOST_ERROR] + '…'}" if said else ""


def assemble_run_record(
    plan: Plan, party: Party, runs: Mapping[str, TaskRun], head: Mapping[str, Any], date: str
) -> dict[str, Any]:
    """``run.yaml``: the settings under their flags' names, and a ``record`` of what ran that ``--config`` passes over."""
    settings = settings_from_anywhere(plan.settings, party)
    record = {
        "guardeval": guardeval.__version__,
        "date": date,
        "status": head["status"],
        "policies": list(plan.policies.names),
        "policies_sha256": hashlib.sha256(plan.policies.text.encode()).hexdigest(),
        "tasks": {name: _task_record(plan, name, r) for name, r in runs.items()},
        "groups": [{**asdict(g), "tasks": list(g.tasks)} for g in group_specs(plan)],
        **recorded_party(party),
        "head": dict(head),
    }
    plain: dict[str, Any] = json.loads(json.dumps({**settings, "record": record}, default=str))
    return plain


def recorded_party(party: Party) -> dict[str, Any]:
    """Who was asked, as ``record`` states it."""
    return {
        "solver": {"name": party.solver_name, **configuration(party.solver)},
        "model": {"name": party.name, "identity": party.identity, "classifies": party.classifies},
    }


def settings_from_anywhere(settings: Settings, party: Party) -> dict[str, Any]:
    """Settings that mean the same in any working directory: files and folders that were named become absolute paths."""
    out = settings.to_mapping()
    if out["data"] not in ("hub", "sample"):
        whole = Path(out["data"]).expanduser()
        parts = [out["data"]] if whole.exists() else out["data"].split(",")
        out["data"] = ",".join(_absolute(p.strip()) for p in parts)
    if "include_path" in out:
        out["include_path"] = [_absolute(p) for p in out["include_path"]]
    out["policies"] = out["policies"] if out["policies"] in VERBOSITIES else _absolute(out["policies"])
    out["task"] = [_absolute(t) if t.endswith((".yaml", ".yml")) else t for t in out["task"]]
    out |= party_settings(party)
    return out


def party_settings(party: Party) -> dict[str, Any]:
    """``solver``, ``solver_args`` and ``model`` as settings that mean the same in any working directory."""
    models = [_model_setting(seat.spec, type(seat.model), seat.solver) for seat in party.seats]
    own = party.seats[0].spec.solver if not party.combined else None  # a single model's own solver stands with it
    options = absolute_options(party.solver) if own is None else {}
    usual = {"solver": party.solver_name} if own is None else {}
    return {**usual, **({"solver_args": options} if options else {}), "model": models if party.combined else models[0]}


def _absolute(path: str) -> str:
    """As it is where no such file is: names stay names."""
    found = Path(path).expanduser()
    return str(found.absolute()) if found.exists() else path


def absolute_options(plugin: object) -> dict[str, Any]:
    """A plugin's options; files that it declares in ``path_options`` by absolute paths."""
    paths = getattr(type(plugin), "path_options", ())
    return {k: _absolute(v) if k in paths and isinstance(v, str) else v for k, v in configuration(plugin).items()}


def _model_setting(spec: ModelSpec, backend: type, solver: Solver | None) -> str | dict[str, Any]:
    """Name and options; a model folder, and what a backend declares in ``path_options``, by absolute paths."""
    paths: Sequence[str] = getattr(backend, "path_options", ())
    name, args = spec.name, {k: _absolute(v) if k in paths and isinstance(v, str) else v for k, v in spec.args.items()}
    if (Path(name).expanduser() / MODEL_FILE).is_file():
        name = _absolute(name)
    elif "/" in name and "model" in paths and name.partition("/")[2] not in getattr(backend, "shipped", ()):
        name = f"{name.partition('/')[0]}/{_absolute(name.partition('/')[2])}"
    own = {} if solver is None else {"solver": spec.solver, "solver_args": configuration(solver)}
    written = {"name": name, **({"args": args} if args else {}), **own}
    return written if len(written) > 1 else name


def _task_record(plan: Plan, name: str, run: TaskRun) -> dict[str, Any]:
    return {
        "target": str(run.task.target),
        "title": run.task.title,
        "version": run.task.version,
        "data": {"kind": run.rows.kind, "source": run.rows.source, **run.rows.identity},
        "subset": run.rows.subset,
        "samples": len(run.judged),
        "scorers": {n: configuration(s) for n, s in plan.scorers[name].items()},
    }


def groups_of(run: StoredRun) -> list[GroupSpec]:
    """The groups that a stored run averages."""
    stored = run.record["record"]["groups"]
    return [GroupSpec(g["name"], g["title"], tuple(g["tasks"]), g["paper_sizes"]) for g in stored]
