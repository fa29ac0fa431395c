"""From judged samples to the results file: scorers run, groups averaged, everything under lm-eval's keys."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guardeval.contracts import Scorer
from guardeval.errors import GuardevalError, PluginError
from guardeval.judged import OUTCOMES, Judgements
from guardeval.metrics import METRICS
from guardeval.plugin_exit import exited
from guardeval.registry import Registry
from guardeval.stats import weighted_average

__all__ = ["DEFAULT_SCORERS", "GroupSpec", "built_scorers", "checked_scorer", "group_results", "score_task"]

_TOTALS = {name for name, metric in METRICS.items() if metric.higher_is_better is None}  # sums, counts: not averaged
DEFAULT_SCORERS = (
    "classification", "per_policy", "ranking", "calibration", "efficiency", "reasoning",
    "voting", "disagreement", "hard_samples",  # of runs in which models or draws voted
)  # fmt: skip


def checked_scorer(scorer: Any, name: str) -> Scorer:
    """The scorer itself. Raises :class:`PluginError` for an object that scores nothing."""
    if not callable(getattr(scorer, "score", None)):
        raise PluginError(f"scorer {name!r} ({type(scorer).__module__}:{type(scorer).__qualname__}) has no score(judged)")
    checked: Scorer = scorer
    return checked


def built_scorers(registry: Registry, options: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Scorer]:
    """Scorers by name, with the options of each. Raises as :meth:`Registry.build` and :func:`checked_scorer` do."""
    return {name: checked_scorer(registry.build("scorers", name, own), name) for name, own in options.items()}


def score_task(
    judged: Judgements, scorers: Mapping[str, Scorer], untold: bool = False
) -> tuple[dict[str, Any], dict[str, bool]]:
    """Metrics of one task as the results file holds them, and the direction of each metric by name.

    Keys are ``"<metric>,<accounting>"``; a scorer that names no accounting gets ``none``, lm-eval's word. Beside them
    ``sample_len``, ``coverage`` (share with a verdict, among labelled samples) and ``outcomes`` (count of each); and, where
    a model has seen samples, ``contamination``: ``samples`` (how many), ``share`` of all, and ``clean``, what the same
    scorers say of the others. ``untold``: a model was made from samples of the task, and from which cannot be told: none
    is clean. Raises :class:`PluginError` when a scorer breaks, two give the same metric, or one returns what is no number.
    """
    metrics, better = _scored(judged, scorers)
    seen = judged.seen != 0
    if not untold and not seen.any():
        return metrics, better
    clean = np.flatnonzero(~seen) if not untold else ()
    section = {
        "samples": int(seen.sum()),
        "share": float(seen.mean()) if len(judged) else math.nan,
        "clean": _scored(judged.take(clean), scorers)[0] if len(clean) else _undefined(metrics),
    }
    return {**metrics, "contamination": section}, better


def _undefined(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The same metrics of no sample at all."""
    numbers = {k: v for k, v in metrics.items() if "," in k and not k.partition(",")[0].endswith("_ci")}
    values = {k: 0 if k.partition(",")[0].endswith("_n") else math.nan for k in numbers}
    return {"sample_len": 0, "coverage": math.nan, "outcomes": dict.fromkeys(metrics["outcomes"], 0), **values}


def _scored(judged: Judgements, scorers: Mapping[str, Scorer]) -> tuple[dict[str, Any], dict[str, bool]]:
    metrics: dict[str, Any] = {}
    better: dict[str, bool] = {}
    owner: dict[str, str] = {}
    for name, scorer in scorers.items():
        for key, value in _scores(name, scorer, judged).items():
            full = key if "," in key else f"{key},none"
            if full in metrics:
                raise PluginError(f"scorers {owner[full]!r} and {name!r} both give {full!r}: leave one of them out")
            metrics[full], owner[full] = _value(value, f"scorer {name!r}: {full}"), name
            direction = getattr(scorer, "higher_is_better", None)
            metric = full.partition(",")[0]
            stem = metric.rpartition("/")[2]
            if isinstance(direction, bool):
                better[metric] = direction
            elif isinstance(direction, Mapping) and (metric in direction or stem in direction):
                better[metric] = bool(direction[metric] if metric in direction else direction[stem])
    labelled = judged.gold >= 0
    heard = (judged.label >= 0) & labelled
    counts = np.bincount(judged.outcome, minlength=len(OUTCOMES))
    about = {
        "sample_len": len(judged),
        "coverage": float(heard.sum() / labelled.sum()) if labelled.any() else math.nan,
        "outcomes": {str(o): int(c) for o, c in zip(OUTCOMES, counts, strict=True)},
    }
    return {**about, **metrics}, better


def _scores(name: str, scorer: Scorer, judged: Judgements) -> dict[str, Any]:
    try:
        return dict(scorer.score(judged))
    except GuardevalError:
        raise
    except SystemExit as e:
        raise exited(f"scorer {name!r}", e) from e
    except Exception as e:  # whatever a scorer raises is the plugin's fault: name it
        raise PluginError(f"scorer {name!r} broke: {type(e).__name__}: {e}") from e


def _value(value: Any, what: str) -> Any:
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return [float(v) for v in value]
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value) if isinstance(value, (float, np.floating)) else int(value)
    raise PluginError(f"{what} is {value!r}: a number or a (low, high) pair is wanted")


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A group to average: its tasks, and published sizes that ``paper`` weighs by (empty: row counts everywhere)."""

    name: str
    title: str
    tasks: tuple[str, ...]
    paper_sizes: Mapping[str, int]


def group_results(groups: Iterable[GroupSpec], results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Average of each metric that all tasks of a group report, weighted by row counts, ``paper`` by published sizes.

    An undefined member makes the average undefined. Intervals combine the members' own as independent samples (MOVER:
    Zou & Donner 2008). A group averages within one target: of one with several, each target gets a row of its own,
    ``group/target``. A group of which a task did not run is left out. Where a model has seen samples of a member,
    ``contamination`` says of which, and averages the clean subsets.
    """
    out: dict[str, dict[str, Any]] = {}
    for group in _within_one_target(groups, results):
        out[group.name] = {"name": group.name, "alias": group.title, **_averages(group, results)}
        told = {t: results[t]["contamination"]["clean"] for t in group.tasks if "contamination" in results[t]}
        if told:
            clean = _averages(group, {**results, **told})
            out[group.name]["contamination"] = {"tasks": list(told), "clean": clean}
    return out


def _averages(group: GroupSpec, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    members = [results[t] for t in group.tasks]
    row: dict[str, Any] = {"sample_len": sum(m["sample_len"] for m in members)}
    for key in members[0]:
        metric, comma, accounting = key.partition(",")
        if not comma or metric in _TOTALS or not all(isinstance(m.get(key), (int, float)) for m in members):
            continue
        if metric.endswith(("_ci", "_n")):
            continue
        use_paper = accounting == "paper" and bool(group.paper_sizes)
        sizes = group.paper_sizes if use_paper else {t: results[t]["sample_len"] for t in group.tasks}
        ci_key = f"{metric}_ci,{accounting}"
        values = {t: results[t][key] for t in group.tasks}
        intervals = {t: results[t].get(ci_key) for t in group.tasks}
        row[key], interval = _average(values, intervals, {t: float(sizes[t]) for t in group.tasks})
        if interval is not None:
            row[ci_key] = interval
    return row


def _within_one_target(groups: Iterable[GroupSpec], results: Mapping[str, Mapping[str, Any]]) -> Iterator[GroupSpec]:
    for group in groups:
        if any(t not in results for t in group.tasks):
            continue
        targets = {str(results[t]["target"]) for t in group.tasks}
        for target in sorted(targets):
            tasks = tuple(t for t in group.tasks if results[t]["target"] == target)
            suffix = "" if len(targets) == 1 else f"/{target}"
            yield GroupSpec(group.name + suffix, group.title + suffix, tasks, group.paper_sizes)


def _average(
    values: Mapping[str, float], intervals: Mapping[str, Sequence[float] | None], sizes: Mapping[str, float]
) -> tuple[float, list[float] | None]:
    mean = weighted_average(values, sizes).value
    if any(i is None for i in intervals.values()):
        return mean, None
    weights = np.array([sizes[t] for t in values], float) / sum(sizes.values())
    points = np.array(list(values.values()), float)
    low, high = np.array([intervals[t] for t in values], float).T
    below = math.sqrt(float(np.sum((weights * (points - low)) ** 2)))
    above = math.sqrt(float(np.sum((weights * (high - points)) ** 2)))
    return mean, [mean - below, mean + above]
