"""Whether a run and a baseline may be compared at all, and the samples that are: what does not belong together is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardeval.data import Target
from guardeval.errors import ConfigError, DataError, did_you_mean
from guardeval.gates.baseline import Baseline, TaskBaseline
from guardeval.gates.candidate import Candidate, TaskSide
from guardeval.gates.pairs import NO_CATEGORY, Said, TaskPair
from guardeval.gates.settings import GateSettings

__all__ = ["Cohort", "match"]

_EXACT = ("target", "task version", "data")  # differ: another question, or other rows
_FAILED = 3
_WHAT = {
    "rows": "the samples are not the same ones",
    "labels": "the same rows have other gold labels, policies or categories: another label map or taxonomy",
}


@dataclass(frozen=True, eq=False)
class Cohort:
    """Pairs of the tasks that both hold, with what must be said about them."""

    pairs: Sequence[TaskPair]
    notes: Sequence[str]


def match(candidate: Candidate, baseline: Baseline, settings: GateSettings) -> Cohort:
    """Raises :class:`DataError` for what may not be compared, with the fact that differs and both its values."""
    where = f"{', '.join(r.name for r in candidate.runs)} and {baseline.name}"
    if settings.accounting != baseline.accounting:
        raise DataError(
            f"{baseline.name} holds accounting {baseline.accounting!r}, {settings.accounting!r} is asked for: write a baseline "
            f"under it, or leave --accounting {settings.accounting} out"
        )
    if tuple(candidate.policy_names) != tuple(baseline.policy_names):
        raise DataError(_differ(where, "policies", ", ".join(baseline.policy_names), ", ".join(candidate.policy_names)))
    names = _names(candidate, baseline, settings)
    _refuse_unfinished(candidate, baseline, settings)
    pairs, notes = [], _general_notes(candidate, baseline, names, settings)
    for name in names:
        pair, told = _pair(candidate.tasks[name], baseline.tasks[name], candidate.policy_names, settings, where)
        pairs.append(pair)
        notes += told
    return Cohort(pairs, notes)


def _differ(where: str, fact: str, before: str, after: str) -> str:
    return (
        f"{where} cannot be compared: {fact} is {before!r} in the baseline and {after!r} in the run; run the same task on the "
        "same data, or write a new baseline with --write_baseline"
    )


def _names(candidate: Candidate, baseline: Baseline, settings: GateSettings) -> list[str]:
    """Tasks to compare. One of the baseline that was not run is no pass: it is refused, or noted where parts are allowed."""
    for name in settings.task:
        if name not in baseline.tasks:
            raise ConfigError(f"{baseline.name}: holds no task {name!r}{did_you_mean(name, baseline.tasks)}")
    wanted = settings.task or tuple(baseline.tasks)
    shared = [n for n in wanted if n in candidate.tasks]
    missing = [n for n in wanted if n not in candidate.tasks]
    if not shared:
        held = ", ".join(candidate.tasks) or "none of them"
        raise DataError(f"{baseline.name} holds {', '.join(wanted)}; the runs hold {held}: they share no task")
    if missing and not settings.allow_partial:
        raise DataError(
            f"{', '.join(missing)} of {baseline.name} stand in none of the runs: a gate that leaves tasks out is no gate; name "
            "their runs too, choose tasks with --task, or compare what is there with --allow_partial"
        )
    return shared


def _refuse_unfinished(candidate: Candidate, baseline: Baseline, settings: GateSettings) -> None:
    told = [*candidate.unfinished, *(f"baseline: {u}" for u in baseline.unfinished)]
    if told and not settings.allow_partial:
        raise DataError(
            f"{'; '.join(told)}: the numbers may still move. The same `guardeval run` asks again for what is missing; "
            "--allow_partial compares the samples that both heard"
        )


def _general_notes(candidate: Candidate, baseline: Baseline, names: Sequence[str], settings: GateSettings) -> list[str]:
    out = [f"{u}; its samples that were not heard are left out" for u in (*candidate.unfinished, *baseline.unfinished)]
    asked = settings.task or baseline.tasks  # what --task leaves out may well have been run
    out += [f"{n} of the baseline was not run" for n in asked if n not in candidate.tasks]
    out += [f"{n} has no baseline: not compared" for n in candidate.tasks if n not in baseline.tasks]
    if candidate.policies_sha256 != baseline.policies_sha256:
        out.append("the policies are worded otherwise than for the baseline: their effect is part of what is compared")
    sample = [n for n in names if candidate.tasks[n].facts["data"].startswith("sample")]
    if sample:
        out.append(f"sample rows, no benchmark: {', '.join(sample)}")
    return out


def _pair(
    side: TaskSide, base: TaskBaseline, policies: Sequence[str], settings: GateSettings, where: str
) -> tuple[TaskPair, list[str]]:
    for fact in _EXACT:
        if base.facts.get(fact) != side.facts.get(fact):
            raise DataError(_differ(where, f"{side.name}: {fact}", str(base.facts.get(fact)), str(side.facts.get(fact))))
    place = base.verdicts.positions(side.judged, side.name)
    if not settings.allow_partial:
        _refuse_other_rows(side, base, place, where)
    at = np.flatnonzero(place >= 0)
    if not len(at):
        raise DataError(f"{where} share no sample of {side.name}")
    _refuse_other_labels(side, base, at, place[at], where)
    notes = []
    left = len(side.verdicts) + len(base.verdicts) - 2 * len(at)
    if left:
        notes.append(f"{side.name}: {len(at)} shared samples; {left} stand on one side only and are left out")
    at, heard = _heard(side, base, at, place)
    at, clean = _clean(side, base, at, place)
    if not len(at):
        raise DataError(f"{side.name}: no sample is left to compare: {'; '.join([*heard, *clean])}")
    return _columns(side, base, at, place[at], policies), [*notes, *heard, *clean]


def _refuse_other_rows(side: TaskSide, base: TaskBaseline, place: NDArray[np.int64], where: str) -> None:
    for fact in ("rows", "labels"):
        if base.facts[fact] != side.facts[fact]:
            shared = int((place >= 0).sum())
            count = f"{len(base.verdicts)} labelled samples in the baseline, {len(side.verdicts)} in the run, {shared} in both"
            raise DataError(
                f"{where} cannot be compared: {side.name}: {_WHAT[fact]} ({count}). Run all of the same data, write a new "
                "baseline, or compare what both hold with --allow_partial"
            )


def _refuse_other_labels(
    side: TaskSide, base: TaskBaseline, at: NDArray[np.int64], place: NDArray[np.int64], where: str
) -> None:
    mine = side.verdicts.positions(side.judged, side.name)[at]
    differ = np.flatnonzero(side.verdicts.facts[mine] != base.verdicts.facts[place])
    if len(differ):
        raise DataError(
            f"{where} cannot be compared: {len(differ)} of {len(at)} shared samples of {side.name} have another prompt, gold "
            f"label, policy or category than in the baseline, first {side.judged.ids[int(at[differ[0]])]!r}: other data or "
            "another label map; write a new baseline"
        )


def _heard(
    side: TaskSide, base: TaskBaseline, at: NDArray[np.int64], place: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    never = (side.judged.outcome[at] == _FAILED) | (base.verdicts.outcome[place[at]] == _FAILED)
    return at[~never], [f"{side.name}: {int(never.sum())} samples were not heard in one of them"] if never.any() else []


def _clean(
    side: TaskSide, base: TaskBaseline, at: NDArray[np.int64], place: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    """Without samples that either model has seen, where these can be told and others are left."""
    if side.untold or base.untold:
        whose = "the model" if side.untold else "the baseline's model"
        return at, [
            f"{side.name}: contaminated: {whose} was made from it, and of which samples cannot be told: all are compared"
        ]
    seen = (side.judged.seen[at] != 0) | (base.verdicts.seen[place[at]] != 0)
    if not seen.any():
        return at, []
    told = f"{side.name}: contaminated: {int(seen.sum())} of {len(at)} samples were seen in training"
    if seen.all():
        return at, [f"{told}, so that none is clean: all are compared"]
    return at[~seen], [f"{told}: the other {int((~seen).sum())} are compared"]


def _columns(
    side: TaskSide, base: TaskBaseline, at: NDArray[np.int64], place: NDArray[np.int64], policies: Sequence[str]
) -> TaskPair:
    judged, verdicts = side.judged, base.verdicts
    named = [judged.categories[i] for i in at.tolist()]
    categories = tuple(sorted({c for c in named if c}))
    code: Mapping[str | None, int] = {name: i for i, name in enumerate(categories)}
    return TaskPair(
        side.name,
        Target(side.facts["target"]),
        tuple(policies),
        judged.gold[at],
        judged.gold_policies[at],
        judged.known_policies[at],
        judged.cluster[at],
        np.array([code.get(c, NO_CATEGORY) for c in named], np.int64),
        categories,
        Said(verdicts.label[place], verdicts.policies[place]),
        Said(judged.label[at], judged.policies[at]),
    )
