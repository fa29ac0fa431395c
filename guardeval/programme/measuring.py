"""Systems measured and set against each other: the numbers of an experiment, beside what was expected of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from guardeval.compare import compare
from guardeval.errors import DataError
from guardeval.metrics import CONFUSION
from guardeval.programme.orders import OWN_PROMPT
from guardeval.programme.verdicts import BASELINE_ACCURACY, Measured
from guardeval.programme.workbench import Missing, Workbench
from guardeval.report.tables import number

if TYPE_CHECKING:
    from guardeval.compare import Comparison
    from guardeval.programme.definitions import Expected, Experiment, Reference
    from guardeval.programme.findings import Findings
    from guardeval.programme.held import Held

__all__ = ["HOME", "cell", "expected_rows", "level_rows", "measured_of", "paired", "text_of"]

HOME = "wildguard"  # the benchmark that the plan's numbers are about
_OTHERWISE = "expected of another prompt"
_ELSEWHERE = "expected of wildguard, not of this benchmark"


def measured_of(held: Held, number: int, system: str, metric: str) -> Measured | None:
    """One metric under ``strict``, None where the run did not report it."""
    key = f"{metric},strict"
    if key not in held.metrics:
        return None
    interval = held.metrics.get(f"{metric}_ci,strict")
    low, high = interval if isinstance(interval, (list, tuple)) else (math.nan, math.nan)
    value, n = held.metrics[key], held.metrics.get(f"{metric}_n,strict") or 0
    return Measured(
        number, held.task, system, metric, _number(value), _number(low), _number(high), int(n), run=held.key, fixed=held.fixed
    )


def cell(held: Held, metric: str) -> str:
    """A metric as tables show it."""
    return text_of(measured_of(held, 0, held.name, metric))


def text_of(one: Measured | None) -> str:
    """``0.815 [0.795, 0.834] n=1554``; ``n/a`` where undefined, empty where not reported."""
    if one is None or math.isnan(one.value):
        return "n/a" if one is not None else ""
    return f"{number(one.value)} [{number(one.low)}, {number(one.high)}] n={one.n}"


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def level_rows(experiment: Experiment, bench: Workbench, found: Findings, reference: Reference, task: str) -> None:
    """Every metric of a system, with what is expected of it."""
    try:
        held = bench.held(reference, task)
    except Missing as e:
        found.lack(str(e))
        found.measured.append(Measured(experiment.number, task, str(reference), "accuracy", about="missing"))
        return
    found.data.setdefault(task, _data_text(held))
    for metric in experiment.measure:
        one = measured_of(held, experiment.number, shown_as(reference, held), metric)
        if one is not None:
            found.measured.append(_expecting(one, experiment, reference))
    if held.about_part:
        found.note(f"{shown_as(reference, held)} on {task}: {held.about_part}")


def shown_as(reference: Reference, held: Held) -> str:
    return f"{reference.arm}: {held.name}"


def _data_text(held: Held) -> str:
    """What the rows of a run are, with what must be known about them: ``FILE; 1554 samples, 609 positive``."""
    results = held.results
    about, counts = results["configs"][held.task], results["n-samples"][held.task]
    marks = f"; marked: {', '.join(about['marks'])}" if about.get("marks") else ""
    return f"{about['data']['source']}; {counts['effective']} samples, {counts['positive']} positive{marks}"


def _expecting(one: Measured, experiment: Experiment, reference: Reference) -> Measured:
    for expected in experiment.expected:
        if expected.of == reference and expected.metric == one.metric and not expected.is_difference:
            about = _ELSEWHERE if one.task != HOME else _OTHERWISE if one.fixed == OWN_PROMPT else ""
            return replace(one, expected_low=expected.low, expected_high=expected.high, about=about)
    return one


# ---- differences ----


def expected_rows(experiment: Experiment, bench: Workbench, found: Findings, task: str) -> None:
    """A row for every difference that the experiment asks about."""
    for expected in experiment.expected:
        if expected.is_difference:
            try:
                found.measured.append(_difference(experiment, bench, expected, task))
            except Missing as e:
                found.lack(str(e))
                against = "the baseline" if expected.baseline else str(expected.against)
                row = Measured(experiment.number, task, str(expected.of), expected.metric, against=against, about="missing")
                found.measured.append(row)


def _difference(experiment: Experiment, bench: Workbench, expected: Expected, task: str) -> Measured:
    held = bench.held(expected.of, task)
    system = shown_as(expected.of, held)
    about = "" if task == HOME or expected.low is expected.high is None else _ELSEWHERE
    bounds: dict[str, Any] = {"expected_low": expected.low, "expected_high": expected.high, "fixed": held.fixed}
    if expected.baseline:
        return _from_baseline(experiment.number, held, system, expected.metric, bounds)
    assert expected.against is not None  # noqa: S101  # it is a difference
    other = bench.held(expected.against, task)
    against = (
        f"{expected.against}: {other.name}"
        if expected.against.experiment != experiment.number
        else shown_as(expected.against, other)
    )
    names: dict[str, Any] = {"against": against, "run": held.key, "against_run": other.key}
    if held.key == other.key:
        why = f"not applicable: {held.fixed}" if held.fixed else "not applicable: the same run"
        return Measured(experiment.number, task, system, expected.metric, **names, **bounds, about=why)
    if expected.metric not in CONFUSION:
        raise Missing(f"{expected.where}: a difference in {expected.metric!r} cannot be tested")
    (pair,) = paired(other, [held], (expected.metric,)).pairs
    (d,) = pair.differences
    return Measured(
        experiment.number, task, system, d.metric, d.difference, d.low, d.high, d.n, **names, **bounds,
        test=d.test or "", p=d.p_value, about=about,
    )  # fmt: skip


def _from_baseline(number: int, held: Held, system: str, metric: str, bounds: Mapping[str, Any]) -> Measured:
    """Accuracy minus the published one, which is taken as it was printed: its samples are not at hand to be paired."""
    against = f"the published baseline, {100 * BASELINE_ACCURACY:g} %"
    names: dict[str, Any] = {"against": against, "run": held.key, "against_run": "baseline"}
    if held.task != HOME:
        why = "not applicable: the baseline was measured on wildguard"
        return Measured(number, held.task, system, metric, **names, **bounds, about=why)
    one = measured_of(held, number, system, metric)
    if one is None or metric != "accuracy":
        raise Missing(f"the baseline is an accuracy; {metric} of it is not known")
    value, low, high = (v - BASELINE_ACCURACY for v in (one.value, one.low, one.high))
    why = "none: the baseline's samples are not at hand"
    return Measured(number, held.task, system, metric, value, low, high, one.n, **names, **bounds, test=why)


def paired(reference: Held, others: list[Held], metrics: tuple[str, ...], family: tuple[str, ...] | None = None) -> Comparison:
    """Others against a reference on the samples they share. Raises :class:`Missing` where they do not fit together."""
    names = [reference.name, *(o.name for o in others)]
    try:
        return compare(reference.judged, [o.judged for o in others], names, metrics=metrics, family=family or metrics)
    except DataError as e:
        raise Missing(str(e)) from e
