"""What a combined run writes down: whose verdicts it is made of, under the same keys as a run that asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import guardeval
from guardeval.broker.counters import Counters
from guardeval.contamination import CONTAMINATED, Contact, contacts_of, contamination_notice, is_contaminated
from guardeval.judged import Judgements
from guardeval.lost_votes import LostVotes
from guardeval.party import labelled, without_solvers
from guardeval.registry import configuration
from guardeval.results import absolute_options, model_names, solver_notices
from guardeval.run_facts import head_of, notices_of
from guardeval.run_names import run_names
from guardeval.runs import StoredRun, environment
from guardeval.voting import Combiner

if TYPE_CHECKING:
    from guardeval.combine import Gathered

__all__ = ["CombinedHead", "combined_contacts", "combined_head", "combined_record", "member_configs"]

_WHO = ("model", "model_args", "solver", "solver_label")
_PROMPTS = "a contrast of prompts on it is not applicable"  # how a notice of a classifier's run ends


def combined_contacts(runs: Sequence[StoredRun], members: Sequence[str], task: str) -> tuple[Contact, ...]:
    """What the members have seen of a task, as their own runs say it; by the members' names."""
    found = []
    for run, name in zip(runs, members, strict=False):
        told = contacts_of((head_of(run).get("configs") or {}).get(task) or {})
        found += [c if len(runs) == 1 else replace(c, model=name if len(told) == 1 else f"{name}: {c.model}") for c in told]
    return tuple(found)


def member_configs(runs: Sequence[StoredRun]) -> list[dict[str, Any]]:
    """Who was asked in each run, with a name that tells it from the others; the same as a live run's members."""
    configs = [{k: v for k, v in (head_of(r).get("config") or {}).items() if k in _WHO} for r in runs]
    return [{"name": name, **config} for name, config in zip(run_names(configs), configs, strict=True)]


@dataclass(frozen=True)
class CombinedHead:
    """What is known before the samples are read; :meth:`finish` makes the results file's head of it."""

    runs: tuple[StoredRun, ...]
    members: tuple[str, ...]
    solver_name: str
    solver: Combiner
    policies: tuple[str, ...]
    started: datetime
    samples: Sequence[str] | None = None

    @property
    def name(self) -> str:
        return " + ".join(self.members)

    @property
    def redact(self) -> bool:
        """Texts that one of the runs left out are not written by another."""
        return any(bool(run.record.get("redact")) for run in self.runs)

    def finish(
        self,
        judged: Mapping[str, Judgements],
        metrics: Mapping[str, Any],
        solver: Combiner,
        left_out: Mapping[str, int],
        lost: Mapping[str, LostVotes],
    ) -> dict[str, Any]:
        first = head_of(self.runs[0])
        status = next((s for s in (head_of(r).get("status") for r in self.runs) if s != "complete"), "complete")
        ended = datetime.now()
        return {
            "configs": {name: self._task_config(first, name, metrics[name], left_out[name], lost[name]) for name in judged},
            "versions": {name: first["versions"][name] for name in judged},
            "n-shot": dict.fromkeys(judged, 0),
            "n-samples": {name: _counts(first, name, j) for name, j in judged.items()},
            "config": self._config(first),
            "status": status,
            "notices": self._notices(judged, solver, left_out, lost),
            "usage": asdict(Counters()),
            "date": self.started.timestamp(),
            "start_time": self.started.isoformat(),
            "end_time": ended.isoformat(),
            "total_evaluation_time_seconds": (ended - self.started).total_seconds(),
            **model_names(self.name),
            "environment": environment(),
        }

    def _config(self, first: Mapping[str, Any]) -> dict[str, Any]:
        configs = [head_of(r).get("config") or {} for r in self.runs]
        policies = list(dict.fromkeys(str(c.get("policies")) for c in configs))
        return {
            "model": self.name,
            "model_args": {},
            "members": member_configs(self.runs) if len(self.runs) > 1 else first["config"].get("members", []),
            "model_notices": list(dict.fromkeys(n for c in configs for n in c.get("model_notices") or ())),
            "exposure": {name: told for c in configs for name, told in (c.get("exposure") or {}).items()},
            "solver": self.solver_name,
            "solver_args": configuration(self.solver),
            "solver_label": labelled(self.solver_name, self.solver),
            "policies": ", ".join(policies),
            "limit": first["config"].get("limit"),
            "seed": first["config"].get("seed"),
        }

    def _task_config(
        self, first: Mapping[str, Any], task: str, metrics: Mapping[str, Any], left_out: int, lost: LostVotes
    ) -> dict[str, Any]:
        about = dict(first["configs"][task])
        chosen = self.samples is not None or left_out > 0
        contacts = combined_contacts(self.runs, self.members, task)
        marks = [m for m in about.get("marks") or () if m not in ("provisional", "subset", CONTAMINATED)]
        marks += ["subset"] if chosen or about.get("subset") else []
        seen = (metrics.get("contamination") or {}).get("samples", 0)
        marks += [CONTAMINATED] if is_contaminated(contacts, seen) else []
        marks += ["provisional"] if metrics["outcomes"]["failed"] or lost.samples else []
        told = {"contamination": {c.model: c.as_dict() for c in contacts}} if contacts else {}
        return {**about, "marks": marks, **told}

    def _notices(
        self, judged: Mapping[str, Judgements], solver: Combiner, left_out: Mapping[str, int], lost: Mapping[str, LostVotes]
    ) -> list[str]:
        names = self.members if len(self.runs) > 1 else [self.runs[0].name]
        found = [n for n in notices_of(self.runs, names, list(judged)) if not n.endswith(_PROMPTS)]
        what = f"{len(self.runs)} finished runs" if len(self.runs) > 1 else "the votes of a finished run"
        out = [f"combined from {what} ({', '.join(r.name for r in self.runs)}); no model was asked"]
        policies = {str((head_of(r).get("config") or {}).get("policies")) for r in self.runs}
        if len(policies) > 1:
            out.append(f"the members were asked about different policies: {', '.join(sorted(policies))}")
        for task, one in judged.items():
            if told := lost[task].notice(self.redact, "their own runs' commands ask"):
                out.append(f"{task}: {told}")
            if left_out[task]:
                out.append(f"{task}: up to {left_out[task]} samples a run were left out: not all runs hold them")
            if self.samples is not None:
                out.append(f"{task}: {len(one)} chosen samples")
            contacts = combined_contacts(self.runs, self.members, task)
            if told := contamination_notice(contacts, int((one.seen != 0).sum()), len(one), len(self.members) > 1):
                out.append(f"{task}: {told}")
            out += [f"{task}: {notice}" for notice in solver_notices(solver, one)]
        return [*out, *(n for n in found if not any(f"{task}: {CONTAMINATED}: " in n for task in judged))]


def combined_head(runs: Sequence[StoredRun], members: Sequence[str], solver_name: str, solver: Combiner) -> CombinedHead:
    named = [tuple(run.record["record"].get("policies") or ()) for run in runs]
    policies = tuple(dict.fromkeys(name for of in named for name in of))
    return CombinedHead(tuple(runs), tuple(members), solver_name, solver, policies, datetime.now())


def _counts(first: Mapping[str, Any], task: str, judged: Judgements) -> dict[str, Any]:
    return {
        "original": first["n-samples"][task]["original"],
        "effective": len(judged),
        "positive": int((judged.gold == 1).sum()),
        "negative": int((judged.gold == 0).sum()),
    }


def combined_record(
    runs: Sequence[StoredRun],
    gathered: Sequence[Gathered],
    head: CombinedHead,
    finished: Mapping[str, Any],
    judged: Mapping[str, Judgements],
    date: str,
) -> dict[str, Any]:
    """``run.yaml``: settings that would ask the same members live, and the ``record`` of what was combined."""
    first = runs[0].record
    models = [r.record["record"]["model"] for r in runs]
    tasks = {g.task: {**g.records[0].about, "samples": len(judged[g.task])} for g in gathered}
    record = {
        "guardeval": guardeval.__version__,
        "date": date,
        "status": finished["status"],
        "policies": list(head.policies),
        "policies_sha256": first["record"].get("policies_sha256"),
        "tasks": tasks,
        "groups": [g for g in first["record"]["groups"] if all(t in tasks for t in g["tasks"])],
        "solver": {"name": head.solver_name, **configuration(head.solver)},
        "model": {
            "name": head.name,
            "identity": _identity(models, head),
            "classifies": all(bool(m.get("classifies")) for m in models),
        },
        "combined_from": [str(r.path.absolute()) for r in runs],
        "of_combined_runs": _of_combined_runs(runs),  # no settings of one live run say that
        "head": dict(finished),
    }
    settings = {k: first[k] for k in ("policies", "data", "seed", "limit", "samples", "include_path", "redact") if k in first}
    settings |= {"task": [g.task for g in gathered], "solver": head.solver_name}
    settings |= {"solver_args": absolute_options(head.solver), "model": _live_models(runs)}
    plain: dict[str, Any] = json.loads(json.dumps({**settings, "record": record}, default=str))
    return plain


def _identity(models: Sequence[Mapping[str, Any]], head: CombinedHead) -> dict[str, Any]:
    members = [m.get("identity") for m in models]
    return {"members": members, "solver": head.solver_name, **without_solvers(configuration(head.solver))}


def _of_combined_runs(runs: Sequence[StoredRun]) -> bool:
    """Whether a member is an ensemble itself."""
    return len(runs) > 1 and any(isinstance(m := r.record.get("model"), list) and len(m) > 1 for r in runs)


def _live_models(runs: Sequence[StoredRun]) -> list[Any]:
    """The members as ``model:`` settings, each with the solver that it was asked by."""
    if len(runs) == 1:  # its own votes, combined anew: its members as they are
        found = runs[0].record.get("model")
        return list(found) if isinstance(found, list) else [found]
    if _of_combined_runs(runs):
        return [str(head_of(r)["config"]["model"]) for r in runs]
    out: list[Any] = []
    for run in runs:
        model = run.record.get("model")
        model = model[0] if isinstance(model, list) and len(model) == 1 else model
        entry = (
            {"name": model} if isinstance(model, str) else dict(model) if isinstance(model, Mapping) else {"name": str(model)}
        )
        own = {"solver": run.record.get("solver", "direct"), "solver_args": run.record.get("solver_args") or {}}
        out.append({**{k: v for k, v in own.items() if v}, **entry})
    return out
