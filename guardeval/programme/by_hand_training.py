"""The commands that do by hand what experiments of phases 3 to 5 make beside runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from guardeval.programme.catalogue import catalogue
from guardeval.programme.data_choice import DataChoice
from guardeval.programme.definitions import Experiment
from guardeval.programme.model_sets import ModelSet, Role
from guardeval.programme.training_definitions import Training

__all__ = ["model_folder", "training_lines"]


def model_folder(number: int) -> str:
    """Where the commands put the model that an experiment trains."""
    wanted = catalogue()[number].train
    return f"./{wanted.name if wanted else number}"


def training_lines(experiment: Experiment, models: ModelSet, data: DataChoice, first: str) -> Iterator[str]:
    """In order; what is built on comes first. Raises :class:`ConfigError` where the model set lacks something."""
    yield from _traces(experiment, models, data, first)
    if experiment.check_traces:
        yield from training_lines(catalogue()[experiment.check_traces.of], models, data, first)
        yield f"guardeval traces check {_output(experiment.check_traces.of)}"
    yield from _synthesis(experiment, models, data, first)
    yield from _prepared(experiment, models, data, first)
    if experiment.split:
        yield from training_lines(catalogue()[experiment.split.of], models, data, first)
    if experiment.train:
        yield from _training(experiment.train, models, data, first)
    yield from _speed(experiment, models, data, first)


def _traces(experiment: Experiment, models: ModelSet, data: DataChoice, first: str) -> Iterator[str]:
    wanted = experiment.traces
    if wanted:
        teacher = _model("--model", models.role("teacher", wanted.task))
        options = f"--solver {wanted.solver} --hints {wanted.hints} -n {wanted.n}{_policies(models)}"
        rows = f"--task {wanted.task} --data {quote(data.of(wanted.task, first))}"
        yield f"guardeval traces {rows} {teacher} {options} -o {wanted.output}"


def _synthesis(experiment: Experiment, models: ModelSet, data: DataChoice, first: str) -> Iterator[str]:
    wanted = experiment.synthesize
    if not wanted:
        return
    seeds = f"hard_samples_{wanted.task}.json"
    members = " ".join(_model("--model", models.role(role, wanted.task)) for role in ("main", "safeguard", "third"))
    yield f"guardeval run --task {wanted.task} --data {quote(data.of(wanted.task, first))} {members} -o by_hand/seeds"
    yield f"guardeval mine by_hand/seeds/* --top 0.2 -o {seeds}"
    asked = " ".join(_model(f"--{flag}", models.role(role, wanted.task)) for flag, role in _WRITERS)
    yield f"guardeval synthesize --seeds {seeds} -n {wanted.n} {asked}{_policies(models)} -o {wanted.output}"


_WRITERS = (("model", "generator"), ("verifier", "verifier"))


def _prepared(experiment: Experiment, models: ModelSet, data: DataChoice, first: str) -> Iterator[str]:
    wanted = experiment.prepare
    if not wanted:
        return
    for number in wanted.sources:
        yield from training_lines(catalogue()[number], models, data, first)
    files = " ".join(_output(n) for n in wanted.sources)
    named = [(task, data.of(task, first)) for task in wanted.against]
    against = "".join(f" --against {quote(f'{task}={where}')}" for task, where in named if where != "hub")
    yield f"guardeval prepare {files} --validation {wanted.validation:g}{against} --drop_overlap -o ."


def _training(wanted: Training, models: ModelSet, data: DataChoice, first: str) -> Iterator[str]:
    yield from training_lines(catalogue()[wanted.data], models, data, first)
    options: dict[str, Any] = {**wanted.options, **models.training.get(wanted.trainer, {})}
    if wanted.parent is not None:
        yield from training_lines(catalogue()[wanted.parent], models, data, first)
        base = model_folder(wanted.parent)
    else:
        student = models.role(wanted.student, first)
        base, options = student.name, {**options, **student.args}
    prepared = catalogue()[wanted.data].prepare
    rows = prepared.output if prepared else "FILE"
    yield (
        f"guardeval train {wanted.trainer} --model {quote(base)} --data {rows}{_policies(models)}{_flags(options)} "
        f"--out ./{wanted.name}"
    )


def _speed(experiment: Experiment, models: ModelSet, data: DataChoice, first: str) -> Iterator[str]:
    wanted = experiment.speed
    if not wanted:
        return
    yield from training_lines(catalogue()[wanted.of], models, data, first)
    before = model_folder(wanted.of)
    where = f"--task {first} --data {quote(data.of(first, first))}"
    made = [f"{before}-{name}" for name in wanted.optimizers]
    for name, out in zip(wanted.optimizers, made, strict=True):
        yield f"guardeval optimize {name} --model {before} {where} --out {out}"
    if wanted.distilled:
        trained = catalogue()[wanted.of].train
        student = models.role("student_small", first)
        options = _flags({**models.training.get("distill", {}), **student.args})
        prepared = catalogue()[trained.data].prepare if trained else None
        rows = prepared.output if prepared else "FILE"
        made.append(f"{before}-distilled")
        yield (
            f"guardeval train distill --model {quote(student.name)} --teacher {before} --data {rows}{_policies(models)}"
            f"{options} --out {made[-1]}"
        )
    all_of_them = " ".join(f"--model {m}" for m in (before, *made))
    yield f"guardeval bench {all_of_them} {where} --limit_ms {wanted.limit_ms:g} --accuracy_floor {wanted.least:g}"


def _output(number: int) -> str:
    experiment = catalogue()[number]
    made = experiment.traces or experiment.synthesize or experiment.prepare
    return made.output if made else "FILE"


def _model(flag: str, role: Role) -> str:
    return " ".join([f"{flag} {quote(role.name)}", *(f"-M {quote(f'{k}={v}')}" for k, v in role.args.items())])


def _policies(models: ModelSet) -> str:
    return f" --policies {quote(Path(models.policies).name)}" if models.policies else ""


def _flags(options: Mapping[str, Any]) -> str:
    return "".join(f" --{name} {quote(_word(value))}" for name, value in options.items())


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{k}={v}" for k, v in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)
