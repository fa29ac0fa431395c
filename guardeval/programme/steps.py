"""The order of an experiment's steps beside running and voting; what one lacks is said, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from guardeval.errors import GuardevalError
from guardeval.programme.analysis import ablation, failures, generalisation, policies
from guardeval.programme.data_steps import check_step, prepare_step, split_step, synthesize_step, traces_step
from guardeval.programme.definitions import Experiment
from guardeval.programme.findings import Findings
from guardeval.programme.hard import choose, fit, mine_hard
from guardeval.programme.ledger import OtherProgramme
from guardeval.programme.model_steps import evaluate_step, on_hard_step, speed_step, train_step
from guardeval.programme.workbench import Workbench

__all__ = ["after", "before"]


def before(experiment: Experiment, bench: Workbench, found: Findings, task: str) -> None:
    """Steps whose outcome is itself measured, or compared with."""
    for one in experiment.fit:
        _tried(found, lambda one=one: fit(experiment, bench, found, task, one.name))  # type: ignore[misc]
    if experiment.mine:
        _tried(found, lambda: mine_hard(experiment, bench, found, task))
    if experiment.choose:
        _tried(found, lambda: choose(experiment, bench, found, task))
    for given, step in (
        (experiment.traces, traces_step),
        (experiment.check_traces, check_step),
        (experiment.synthesize, synthesize_step),
        (experiment.prepare, prepare_step),
        (experiment.train, train_step),
    ):
        if given is not None:
            _tried(found, lambda step=step: step(experiment, bench, found))  # type: ignore[misc]
    for there, of_task in (
        (experiment.split, split_step),
        (experiment.on_hard, on_hard_step),
        (experiment.evaluate, evaluate_step),
        (experiment.speed, speed_step),
    ):
        if there is not None:
            _tried(found, lambda step=of_task: step(experiment, bench, found, task))  # type: ignore[misc]


def after(experiment: Experiment, bench: Workbench, found: Findings, tasks: Sequence[str]) -> None:
    """Steps that look at what was measured."""
    for task in tasks:
        for wanted, step in (
            (experiment.failures, failures),
            (experiment.policies_of, policies),
            (experiment.ablation, ablation),
        ):
            if wanted is not None:
                _tried(found, lambda step=step, task=task: step(experiment, bench, found, task))  # type: ignore[misc]
    if experiment.generalisation:
        _tried(found, lambda: generalisation(experiment, bench, found, tasks))


def _tried(found: Findings, step: Callable[[], None]) -> None:
    """What a step lacks is said, and the others go on."""
    try:
        step()
    except OtherProgramme:
        raise
    except GuardevalError as e:
        found.lack(str(e))
