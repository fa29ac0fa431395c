"""``guardeval check`` as a function: runs and a baseline in, a report out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import guardeval
from guardeval.errors import ConfigError, did_you_mean
from guardeval.gates.baseline import Baseline, open_baseline
from guardeval.gates.bounds import bounds
from guardeval.gates.candidate import Candidate, made_from, read_candidate
from guardeval.gates.cohort import match
from guardeval.gates.decisions import decide
from guardeval.gates.findings import GateReport
from guardeval.gates.limits import ANY, Key
from guardeval.gates.measures import CATEGORY, POLICY, Measure, measures_of
from guardeval.gates.pairs import TaskPair
from guardeval.gates.settings import GateSettings

__all__ = ["check"]

AUTO = "auto"


def check(runs: Sequence[Path | str], baseline: Path | str | Baseline, settings: GateSettings | None = None) -> GateReport:
    """Hold runs of one model against a baseline: a file of :func:`write_baseline`, or a run folder.

    Raises :class:`DataError` for what may not be compared, :class:`ConfigError` for settings that name what is not there.
    """
    start = time.perf_counter()
    settings = settings or GateSettings()
    base = baseline if isinstance(baseline, Baseline) else open_baseline(baseline, settings.accounting)
    candidate = read_candidate(runs, settings.task)
    _check_names(settings, base, candidate)
    cohort = match(candidate, base, settings)
    _check_parts(settings, cohort.pairs)
    empty = _check_tested(settings, cohort.pairs)
    family, told = _family(settings, candidate, [p.name for p in cohort.pairs])
    findings, beside = decide(cohort.pairs, settings, family)
    findings += bounds(candidate, base, [p.name for p in cohort.pairs], settings)
    about = {
        "guardeval": guardeval.__version__,
        "baseline": {k: base.about.get(k) for k in ("guardeval", "date", "runs", "model", "solver")},
        "run": {"date": max(r.date for r in candidate.runs), "solver": dict(candidate.solver)},
        "accounting": settings.accounting,
        "tasks": {p.name: {**candidate.tasks[p.name].facts, "compared": len(p)} for p in cohort.pairs},
        "in_family": None if family is None else list(family),
        "permutations": settings.permutations,
        "seed": settings.seed,
    }
    return GateReport(
        findings,
        base.name,
        tuple(str(r) for r in runs),
        candidate.model,
        base.model,
        settings.alpha,
        time.perf_counter() - start,
        (*cohort.notes, *told, *empty, *beside),
        about,
    )


def _check_names(settings: GateSettings, baseline: Baseline, candidate: Candidate) -> None:
    """Tasks that a limit or the family names must be there: a misspelt one would hold nothing."""
    known = {*baseline.tasks, *candidate.tasks}
    for what in ("tolerance", "floor", "ceiling", "require_detectable"):
        for name in sorted(getattr(settings, what).tasks()):
            if name not in known:
                raise ConfigError(f"{what}: {name!r} is no task of the baseline or the runs{did_you_mean(name, known)}")
            if what != "tolerance" and name not in baseline.tasks:
                raise ConfigError(
                    f"{what}: {name!r} is not in {baseline.name}, so that nothing would be held: write it with it"
                )
    for name in settings.in_family:
        if name != AUTO and name not in known:
            raise ConfigError(f"in_family: {name!r} is no task of the baseline or the runs{did_you_mean(name, known)}")


def _check_parts(settings: GateSettings, pairs: Sequence[TaskPair]) -> None:
    """Policies and categories that a limit names must be there, in its task or, of tasks left out by ``task``, in any."""
    parts = {p.name: {*(POLICY + n for n in p.policy_names), *(CATEGORY + c for c in p.categories)} for p in pairs}
    for what in ("tolerance", "require_detectable"):
        for key in getattr(settings, what).given:
            if not key.part or (key.task != ANY and key.task not in parts):
                continue
            there = parts[key.task] if key.task != ANY else set().union(*parts.values())
            bare = {n.partition(":")[2] for n in there}
            if key.part not in there | bare:
                where = f"of {key.task}" if key.task != ANY else "of the tasks compared"
                raise ConfigError(f"{what}: {key.part!r} is no policy or category {where}{did_you_mean(key.part, bare)}")


def _check_tested(settings: GateSettings, pairs: Sequence[TaskPair]) -> list[str]:
    """A limit on what is not tested would hold nothing. Raises :class:`ConfigError` with what there is; a policy that no task
    compared has a positive of is a note, for one file of limits serves many sets of tasks."""
    measures = [m for p in pairs for m in measures_of(p, settings.metrics, settings.policies, settings.slices)]
    policies = {n for p in pairs for n in p.policy_names} if settings.policies else set()
    notes = []
    for what in ("tolerance", "require_detectable"):
        whole_too = what == "tolerance"  # of a task, it goes for its policies and categories
        for key in getattr(settings, what).given:
            macro = what == "require_detectable" and bool(settings.in_family) and key == Key("f1")
            elsewhere = key.task not in (ANY, *(p.name for p in pairs))  # left out by `task`
            if macro or elsewhere or any(_meets(key, m, whole_too) for m in measures):
                continue
            if (key.metric, key.task) == ("f1", ANY) and key.part.removeprefix(POLICY) in policies:
                notes.append(f"{what} {key}: no task compared has a known positive of it")
                continue
            raise ConfigError(f"{what}: {key} is not tested, so that nothing would be held; {_tested(settings, key, measures)}")
    return notes


def _meets(key: Key, measure: Measure, whole_too: bool) -> bool:
    named = key.part in (measure.part, measure.part.partition(":")[2]) if key.part else whole_too or not measure.part
    return named and key.metric == measure.metric and key.task in (ANY, measure.task)


def _tested(settings: GateSettings, key: Key, measures: Sequence[Measure]) -> str:
    """What could be named in place of ``key``."""
    of = [m for m in measures if key.task in (ANY, m.task)]
    told = [f"{', '.join(settings.metrics)} (metrics)"] if settings.metrics else []
    for prefix, what, off in ((POLICY, "f1 of policies", not settings.policies), (CATEGORY, "accuracy of categories", False)):
        names = list(dict.fromkeys(m.part.removeprefix(prefix) for m in of if m.part.startswith(prefix)))
        told += [f"{what} ({', '.join(names)})"] if names else ["no policy (no_policies)"] if off else []
    if not settings.slices:
        told.append("no category (without slices)")
    where = "" if key.task == ANY else f" of {key.task}"
    return f"tested{where}: {', '.join(told)}"


def _family(settings: GateSettings, candidate: Candidate, names: Sequence[str]) -> tuple[tuple[str, ...] | None, list[str]]:
    """Tasks in family, and a sentence on where that is known from."""
    if not settings.in_family:
        return None, []
    if AUTO not in settings.in_family:
        family, how = settings.in_family, "as named"
    else:
        named = tuple(n for n in settings.in_family if n != AUTO)
        family, how = (*named, *made_from(candidate, names)), "as runs and model card say"
        if not family:
            raise ConfigError(
                "in_family: neither the runs nor the model's card say what it was made from; name the tasks, e.g. "
                f"--in_family {names[0]}"
            )
    held = tuple(n for n in dict.fromkeys(family) if n in names)
    outside = [n for n in names if n not in held]
    if not outside:
        raise ConfigError(
            f"in_family ({how}) holds every task compared ({', '.join(held)}): run one that the model was not made from, or "
            "leave in_family out"
        )
    told = f"in family ({how}): {', '.join(held) or 'none that was run'}; out of family: {', '.join(outside)}"
    return held, [told]
