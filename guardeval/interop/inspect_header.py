"""What stands at the head of an exported Inspect log: what was evaluated, our metrics, and where the log comes from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import guardeval
from guardeval.interop.inspect_samples import KEY, PROBABILITY, VERDICT
from guardeval.run_facts import head_of
from guardeval.runs import StoredRun, TaskRecord

if TYPE_CHECKING:
    from inspect_ai.log import EvalPlan, EvalResults, EvalScore, EvalSpec, EvalStats, EvalStatus
    from inspect_ai.model import ModelUsage

__all__ = ["Tally", "eval_plan", "eval_results", "eval_spec", "eval_stats", "eval_status", "log_name", "logged_model"]

_OF_SCORES = ("auroc", "auprc", "recall_at_5_overflagging", "ece", "brier")  # metrics of the probability, not of the label
_ACCOUNTED = "strict"  # under this accounting every sample counts once
_FIRST = ("accuracy", "f1", "precision", "recall", "overflagging", "underflagging")  # viewers show the first few


class Tally:
    """How many samples carry a value of each score; counted while they are written."""

    def __init__(self) -> None:
        self.total = self.failed = 0
        self.scored = {VERDICT: 0, PROBABILITY: 0}

    def add(self, scores: Mapping[str, Any], failed: bool) -> None:
        self.total += 1
        self.failed += failed
        for name, score in scores.items():
            self.scored[name] += not (isinstance(score.value, float) and math.isnan(score.value))


def _digest(*parts: str) -> str:
    """22 characters, as long as the ids that Inspect gives; the same for the same run."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:22]


def log_name(run: StoredRun, task: TaskRecord) -> str:
    """A file's name in Inspect's manner: when, which task, which log."""
    return f"{run.date[:19]}_{task.name.replace('_', '-')}_{_digest(run.name, task.name)}.eval"


def _when(moment: Any) -> str:
    """A time of the run, which states none of a zone: local."""
    return datetime.fromisoformat(str(moment)).astimezone().isoformat()


def eval_spec(run: StoredRun, task: TaskRecord, ids: Sequence[str]) -> EvalSpec:
    """``ids``: of all samples, as the log names them; readers that stream go by them."""
    from inspect_ai.log import EvalConfig, EvalDataset, EvalSpec

    head, about = head_of(run), task.about
    config, data = head["config"], about["data"]
    where = ", ".join(f"{h['path']}@{h['revision']}" for h in data.get("hub") or ()) or data.get("source")
    return EvalSpec(
        eval_id=_digest("eval", run.name, task.name),
        run_id=_digest("run", run.name),
        created=_when(head["start_time"]),
        task=task.name,
        task_id=_digest("task", run.name, task.name),
        task_version=str(about["version"]),
        task_display_name=str(about["title"]),
        task_args={"target": str(task.target), "policies": config.get("policies"), "data": data["kind"]},
        solver=str(config["solver"]),
        solver_args=dict(config.get("solver_args") or {}),
        tags=["guardeval", *_marks(head, task)],
        dataset=EvalDataset(name=task.name, location=where, samples=len(ids), sample_ids=list(ids), shuffled=False),
        model=logged_model(run),
        config=EvalConfig(limit=config.get("limit"), epochs=1),
        packages={"guardeval": str(run.record["record"].get("guardeval", guardeval.__version__))},
        metadata=_origin(run, task),
    )


def logged_model(run: StoredRun) -> str:
    """The model's name; Inspect refuses to score logs whose model has no provider before its name."""
    name = str(head_of(run)["config"]["model"])
    return name if "/" in name.strip("/") else f"guardeval/{name}"


def _marks(head: Mapping[str, Any], task: TaskRecord) -> list[str]:
    return [str(m) for m in head["configs"][task.name].get("marks") or ()]


def _origin(run: StoredRun, task: TaskRecord) -> dict[str, Any]:
    """What a reader of the log must know, in plain words; and under ``guardeval`` the record that an import gives back."""
    head = head_of(run)
    others = tuple(f"{t.name}: " for t in run.tasks if t is not task)
    redacted = {"redacted": "no text is kept: ids, hashes, labels and numbers stand for it"}
    return {
        "source": f"exported from guardeval run {run.name}",
        "target": str(task.target),
        "model_args": dict(head["config"].get("model_args") or {}),  # Inspect would hand its own to a provider of its own
        "marks": _marks(head, task),
        "notices": [n for n in head.get("notices") or () if not (others and n.startswith(others))],
        **(redacted if run.record.get("redact") else {}),
        KEY: {"run": run.name, "record": _of_task(run.record, task.name)},
    }


def _of_task(record: Mapping[str, Any], task: str) -> dict[str, Any]:
    """``run.yaml`` as it would be had only this task run."""
    about = record["record"]
    head = {k: {task: v[task]} if k in _BY_TASK else v for k, v in (about.get("head") or {}).items()}
    kept = {**about, "tasks": {task: about["tasks"][task]}, "groups": [], "head": head}
    return {**record, "task": [task], "record": kept}


_BY_TASK = ("configs", "versions", "n-shot", "n-samples")


def eval_plan(run: StoredRun) -> EvalPlan:
    from inspect_ai.log import EvalPlan, EvalPlanStep

    config = head_of(run)["config"]
    options = dict(config.get("solver_args") or {})
    return EvalPlan(steps=[EvalPlanStep(solver=str(config["solver"]), params=options, params_passed=options)])


def eval_status(run: StoredRun) -> EvalStatus:
    """Inspect has no word for a run that stopped at its money limit."""
    return "success" if head_of(run).get("status") == "complete" else "cancelled"


def eval_stats(run: StoredRun, usage: ModelUsage | None) -> EvalStats:
    from inspect_ai.log import EvalStats

    head = head_of(run)
    by_model = {} if usage is None else {logged_model(run): usage}
    return EvalStats(started_at=_when(head["start_time"]), completed_at=_when(head["end_time"]), model_usage=by_model)


def eval_results(metrics: Mapping[str, Any], better: Mapping[str, bool], tally: Tally) -> EvalResults:
    """Our metrics, an entry an accounting, each with its interval and n; undefined ones are named, not written as numbers.

    What Inspect calls unscored are the samples without a verdict, under every accounting.
    """
    from inspect_ai.log import EvalResults

    accountings = dict.fromkeys(k.partition(",")[2] for k in metrics if "," in k)
    first = [_ACCOUNTED] if _ACCOUNTED in accountings else []
    scores = []
    for accounting in (*first, *(a for a in accountings if a not in first)):
        own = (k for k in metrics if k.endswith(f",{accounting}") and k.partition(",")[0] not in _OF_SCORES)
        keys = sorted(own, key=lambda k: _FIRST.index(m) if (m := k.partition(",")[0]) in _FIRST else len(_FIRST))
        scores.append(_score(accounting, VERDICT, keys, metrics, better, tally))
    if tally.scored[PROBABILITY]:
        keys = [k for k in metrics if k.partition(",")[0] in _OF_SCORES]
        scores.append(_score(PROBABILITY, PROBABILITY, keys, metrics, better, tally))
    known = {k: metrics[k] for k in ("coverage", "outcomes", "contamination") if k in metrics}
    return EvalResults(total_samples=tally.total, completed_samples=tally.total - tally.failed, scores=scores, metadata=known)


def _score(
    name: str, scorer: str, keys: Sequence[str], metrics: Mapping[str, Any], better: Mapping[str, bool], tally: Tally
) -> EvalScore:
    from inspect_ai.log import EvalMetric, EvalScore

    found, undefined = {}, []
    for key in keys:
        metric, _, accounting = key.partition(",")
        stem = metric.removesuffix("_ci").removesuffix("_n")
        if stem != metric and f"{stem},{accounting}" in metrics:
            continue
        value = metrics[key]
        if not isinstance(value, (int, float)) or math.isnan(value):
            undefined.append(metric)
            continue
        about = {"accounting": accounting, "ci_95": metrics.get(f"{metric}_ci,{accounting}")}
        about |= {"n": metrics.get(f"{metric}_n,{accounting}"), "higher_is_better": better.get(metric)}
        found[metric] = EvalMetric(name=metric, value=value, metadata={k: v for k, v in about.items() if v is not None})
    scored = tally.scored[scorer]
    return EvalScore(
        name=name,
        scorer=scorer,
        scored_samples=scored,
        unscored_samples=tally.total - scored,
        metrics=found,
        metadata={"undefined": undefined} if undefined else None,
    )
