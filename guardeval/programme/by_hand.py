"""The commands that do by hand what an experiment does: plain runs, combinations, mining, comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

from guardeval.errors import ConfigError
from guardeval.programme.by_hand_training import model_folder, training_lines
from guardeval.programme.catalogue import catalogue
from guardeval.programme.data_choice import DataChoice
from guardeval.programme.definitions import Arm, Experiment, Reference
from guardeval.programme.model_sets import ModelSet, Role
from guardeval.programme.references import model_number

__all__ = ["commands"]

_PLACE = "by_hand"


def commands(experiment: Experiment, models: ModelSet, data: DataChoice, tasks: Sequence[str] = ()) -> list[str]:
    """Shell lines, in order; what they build on of other experiments comes first. Run folders lie under ``by_hand/``.

    Of several tasks, those of the first. Raises :class:`ConfigError` where the model set lacks something.
    """
    wanted = tuple(tasks) or models.tasks or experiment.tasks
    lines: dict[str, None] = {}
    for task in wanted if experiment.generalisation else wanted[:1]:
        for line in _lines(experiment, models, data, task, wanted[0]):
            lines[line] = None
    return list(lines)


def _lines(experiment: Experiment, models: ModelSet, data: DataChoice, task: str, first: str) -> Iterator[str]:
    yield from training_lines(experiment, models, data, first)
    names = [a.name for a in experiment.run] + [c.name for c in experiment.combine]
    own = [Reference(experiment.number, name) for name in names]
    for reference in [*own, *experiment.references()]:
        yield from _making(reference, models, data, task, first)
    if experiment.mine:
        output = experiment.mine.output.replace("{task}", task)
        members = " ".join(_folder(m, task) for m in experiment.mine.members)
        yield f"guardeval mine {members} --top {experiment.mine.top:g} -o {output}"
    for fit in experiment.fit:
        members = " ".join(_folder(m, task) for m in fit.members)
        where = f"{_PLACE}/{experiment.number}/{fit.name}/{task}"
        yield f"guardeval combine {members} --fit vote_weights_{task}.json --seed {fit.seed} -o {where}"
    if experiment.choose:
        yield from _choosing(experiment, models, data, task, first)
    if experiment.failures:
        output = experiment.failures.output.replace("{task}", task)
        yield f"guardeval sample-errors {_folder(experiment.failures.of, task)} -n {experiment.failures.n} -o {output}"
    if experiment.policies_of:
        yield f"guardeval report {' '.join(_folder(r, task) for r in experiment.policies_of.systems)}"
    if experiment.ablation:
        others = " ".join(_folder(r, task) for r in experiment.ablation.without.values())
        yield f"guardeval compare {_folder(experiment.ablation.full, task)} {others}"
    parts = {*(f.name for f in experiment.fit), *(experiment.on_hard.systems if experiment.on_hard else ())}  # of a run
    for expected in experiment.expected:
        if expected.against is not None and not parts & {expected.of.arm, expected.against.arm}:
            yield f"guardeval compare {_folder(expected.against, task)} {_folder(expected.of, task)}"


def _making(reference: Reference, models: ModelSet, data: DataChoice, task: str, first: str) -> Iterator[str]:
    experiment = catalogue()[reference.experiment]
    arm, combination = experiment.arm(reference.arm), experiment.combination(reference.arm)
    if arm is not None:
        for role in [reference.role] if reference.role else arm.models:
            yield from _trained(role, models, data, first)
            yield _run(reference, arm, _role(role, models, task), data.of(task, first), task)
    elif combination is not None:
        for member in combination.members:
            yield from _making(member, models, data, task, first)
        options = "".join(f" -S {quote(f'{k}={v}')}" for k, v in combination.solver_args.items())
        members = " ".join(_folder(m, task) for m in combination.members)
        yield f"guardeval combine {members}{options} -o {_PLACE}/{reference.experiment}/{reference.arm}/{task}"


def _place(role: str) -> str:
    """``model:36`` as a folder's name."""
    return role.replace(":", "")


def _role(name: str, models: ModelSet, task: str) -> Role:
    number = model_number(name)
    return models.role(name, task) if number is None else Role(name, model_folder(number))


def _trained(name: str, models: ModelSet, data: DataChoice, first: str) -> Iterator[str]:
    """The commands that train the model behind ``model:36``."""
    number = model_number(name)
    if number is not None:
        yield from training_lines(catalogue()[number], models, data, first)


def _choosing(experiment: Experiment, models: ModelSet, data: DataChoice, task: str, first: str) -> Iterator[str]:
    choice = experiment.choose
    if choice is None:
        raise ConfigError(f"experiment {experiment.number} chooses nothing")
    mined = catalogue()[choice.mined_by]
    yield from _lines(mined, models, data, task, first)
    output = (mined.mine.output if mined.mine else "").replace("{task}", task)
    for reference in choice.candidates:
        arm = catalogue()[reference.experiment].arm(reference.arm)
        if arm is not None:
            role = models.role(reference.role or arm.models[0], task)
            yield _run(reference, arm, role, output, task, f"{_PLACE}/{experiment.number}/{reference}/{task}")


def _run(reference: Reference, arm: Arm, role: Role, data: str, task: str, where: str = "") -> str:
    solver, args = (
        (arm.solver, {**arm.solver_args, **role.solver_args}) if role.solver is None else (role.solver, role.solver_args)
    )
    where = where or f"{_PLACE}/{reference.experiment}/{arm.name}/{_place(role.role)}/{task}"
    words = [f"guardeval run --task {task} --data {quote(data)} --solver {solver}", *_options("-S", args)]
    words += [f"--policies {arm.policies}"] if arm.policies != "minimal" else []
    words += [f"--model {quote(role.name)}", *_options("-M", role.args), f"-o {where}"]
    return " ".join(words)


def _options(flag: str, args: Mapping[str, Any]) -> list[str]:
    return [f"{flag} {quote(f'{k}={v}')}" for k, v in args.items()]


def _folder(reference: Reference, task: str) -> str:
    """A pattern that the shell turns into run folders, the members of an arm in the order of their roles."""
    experiment = catalogue()[reference.experiment]
    arm = experiment.arm(reference.arm)
    base = f"{_PLACE}/{reference.experiment}/{reference.arm}"
    if arm is None:
        return f"{base}/{task}/*/"
    roles = [_place(role) for role in ([reference.role] if reference.role else arm.models)]
    return " ".join(f"{base}/{role}/{task}/*/" for role in roles)
