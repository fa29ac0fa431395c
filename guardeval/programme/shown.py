"""An experiment explained: what it runs and measures, what was expected, and the commands that do it by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guardeval.errors import ConfigError
from guardeval.programme.by_hand import commands
from guardeval.programme.data_choice import DataChoice
from guardeval.programme.definitions import Expected, Experiment
from guardeval.programme.model_sets import ModelSet

__all__ = ["shown"]


def shown(experiment: Experiment, models: ModelSet, data: DataChoice, tasks: Sequence[str] = ()) -> list[str]:
    """Lines of text."""
    lines = [f"experiment {experiment.number} (phase {experiment.phase}): {experiment.title}"]
    lines += [" ".join(experiment.about.split())] if experiment.about else []
    lines += ["", f"benchmarks: {', '.join(tuple(tasks) or models.tasks or experiment.tasks)}"]
    lines += [f"measured:   {', '.join(experiment.measure)}"]
    lines += [f"expected:   {_expected(e)}" for e in experiment.expected]
    lines += list(_outputs(experiment))
    lines += [f"note:       {n}" for n in experiment.notes]
    lines += ["", f"by hand, with model set {models.name}:"]
    try:
        lines += [f"  {line}" for line in commands(experiment, models, data, tasks)]
    except ConfigError as e:
        lines.append(f"  missing: {e}")
    return lines


def _expected(one: Expected) -> str:
    low, high = (None if v is None else f"{100 * v:g}" for v in (one.low, one.high))
    unit = "points" if one.is_difference else "%"
    against = " over the published baseline, 57.5 %" if one.baseline else f" over {one.against}" if one.against else ""
    if low is None and high is None:
        return f"{one.metric} of {one.of}{against}: measured, nothing was expected"
    span = (
        f"{low} {unit} or more" if high is None else f"{low} to {high} {unit}" if low is not None else f"{high} {unit} or less"
    )
    return f"{one.metric} of {one.of}{against}: {span}"


def _outputs(experiment: Experiment) -> Iterator[str]:
    for step in (experiment.mine, experiment.failures):
        if step is not None:
            yield f"writes:     {step.output}"
