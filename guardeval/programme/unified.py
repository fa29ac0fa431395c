"""The unified evaluation of GuardReasoner: thirteen benchmarks, three targets, weighted averages beside the published ones.

A benchmark whose data, or whose recorded answers, are not at hand is listed as missing and changes no number: averages are
over those at hand, and the published ones are averaged over the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from guardeval.accounting import check_accounting
from guardeval.contracts import Case, Request, Solver
from guardeval.errors import ConfigError, DataError, ModelError
from guardeval.hub import HubError
from guardeval.models import ModelSpec, build_model
from guardeval.pipeline import run
from guardeval.policies import load_policies
from guardeval.programme.published_figures import Benchmark, Published, PublishedGroup, read_published
from guardeval.registry import Registry
from guardeval.scoring import GroupSpec, group_results
from guardeval.stats import weighted_average
from guardeval.task import TaskIndex
from guardeval.training_text import request_of

__all__ = ["GroupResult", "Unified", "evaluate"]

_ENDINGS = (".json.gz", ".json", ".jsonl.gz", ".jsonl")
_LOOK = 25  # requests after which a recording that answered none is none of this benchmark


@dataclass(frozen=True, slots=True)
class GroupResult:
    """One target: metrics by task as results files hold them, why others are missing, and averages over what is there."""

    published: PublishedGroup
    sizes: Mapping[str, int]  # published number of rows by task
    results: Mapping[str, Mapping[str, Any]]
    missing: Mapping[str, str]
    average: Mapping[str, Any]  # metrics of the group over ``results``, empty where there is none

    def published_average(self, size: str) -> float:
        """Of the benchmarks at hand, weighted as published; nan where there is none."""
        values = {b.task: b.f1[size] for b in self.published.benchmarks if b.task in self.results}
        return weighted_average(values, self.sizes).value if values else float("nan")


@dataclass(frozen=True, slots=True)
class Unified:
    """The whole evaluation. ``notices``: what every table must say."""

    model: str
    solver: str
    accountings: tuple[str, ...]
    published: Published
    groups: tuple[GroupResult, ...]
    notices: tuple[str, ...] = ()
    never_heard: int = 0

    @property
    def complete(self) -> bool:
        return not any(g.missing for g in self.groups)


@dataclass
class _Evaluation:
    models: Sequence[ModelSpec]
    solver: str
    solver_args: Mapping[str, Any]
    data: str
    output: Path
    settings: Mapping[str, Any]
    registry: Registry
    say: Callable[[str], None]
    notices: dict[str, None] = field(default_factory=dict)
    never_heard: int = 0

    @cached_property
    def built(self) -> list[Any]:
        """The models, built once: only to be asked what they hold."""
        return [build_model(spec, self.registry) for spec in self.models]


def evaluate(
    model: Sequence[ModelSpec],
    *,
    data_dir: str = "hub",
    solver: str = "guardreasoner",
    solver_args: Mapping[str, Any] | None = None,
    accounting: Sequence[str] = ("paper", "strict"),
    output_path: str | Path = "runs",
    say: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> Unified:
    """Run every benchmark whose rows are at hand, one run folder each in ``output_path``, and set the averages side by side.

    ``model``: one, or several recordings (``replay/FILE``) of one model, of which each benchmark takes the one that holds
    its prompts. ``data_dir``: a folder, ``hub`` or ``sample``. ``settings`` are those of :func:`guardeval.run`.
    Raises :class:`ConfigError` for what is wrong before anything is asked, :class:`DataError` where nothing is at hand.
    """
    accountings = tuple(dict.fromkeys(check_accounting(a) for a in accounting))
    if not accountings:
        raise ConfigError("no accounting: name one or several, e.g. paper,strict")
    if data_dir not in {"hub", "sample"} and not Path(data_dir).expanduser().is_dir():
        raise ConfigError(
            f"--data_dir {data_dir}: is no folder; hub fetches the benchmarks, sample takes the rows shipped here"
        )
    registry = Registry()
    _check_models(model, registry)
    published = read_published()
    work = _Evaluation(model, solver, solver_args or {}, data_dir, Path(output_path), settings, registry, say)
    groups = tuple(_group(work, group) for group in published.groups)
    if not any(g.results for g in groups):
        first = next(iter(groups[0].missing.values()))
        raise DataError(f"none of the thirteen benchmarks is at hand in {data_dir}; of the first: {first}")
    names = " + ".join(dict.fromkeys(spec.name for spec in model))
    return Unified(names, solver, accountings, published, groups, tuple(work.notices), work.never_heard)


def _check_models(models: Sequence[ModelSpec], registry: Registry) -> None:
    if not models:
        raise ConfigError("no model: name one with --model")
    if len(models) > 1 and any(build_model(spec, registry).traits.timed for spec in models):
        names = ", ".join(spec.name for spec in models)
        raise ConfigError(
            f"--model {names}: one model is evaluated at a time; only recordings of one (replay/FILE) are given together"
        )


def _group(work: _Evaluation, group: PublishedGroup) -> GroupResult:
    sizes = TaskIndex(registry=work.registry).load_group(group.name).paper_sizes
    results: dict[str, Mapping[str, Any]] = {}
    missing: dict[str, str] = {}
    for benchmark in group.benchmarks:
        found = _benchmark(work, benchmark)
        if isinstance(found, str):
            missing[benchmark.task] = found
            work.say(f"{benchmark.task}: missing: {found}")
        else:
            results[benchmark.task] = found
            work.say(f"{benchmark.task}: {found['sample_len']} samples")
    # a group of what is there: the published weights decide under ``paper``, as they do for the whole
    spec = GroupSpec(group.name, group.name, tuple(results), {t: sizes[t] for t in results})
    average = group_results([spec], results).get(group.name, {}) if results else {}
    return GroupResult(group, sizes, results, missing, average)


def _benchmark(work: _Evaluation, benchmark: Benchmark) -> Mapping[str, Any] | str:
    """Metrics of one benchmark, or why it is missing."""
    target = TaskIndex(registry=work.registry).load(benchmark.task).target
    if target not in work.built[0].traits.targets:
        return f"{work.models[0].name} cannot be asked for {target}"
    data = _data(work.data, benchmark)
    if data is None:
        return f"no {benchmark.file}{_ENDINGS[0]} (or .json, .jsonl) in {work.data}"
    try:
        spec = work.models[0] if work.built[0].traits.timed else _recording(work, benchmark, data)
        if spec is None:
            return "no recording holds its prompts"
        done = run(
            benchmark.task, work.solver, spec, solver_args=dict(work.solver_args), data=data, output_path=str(work.output),
            **work.settings,
        )  # fmt: skip
    except HubError as e:  # gated, or no network: not at hand; a file that is there and wrong is an error
        return str(e)
    work.notices |= dict.fromkeys(done.results.get("notices", ()))
    work.never_heard += done.never_heard
    return dict(done.results["results"][benchmark.task])


def _data(folder: str, benchmark: Benchmark) -> str | None:
    """``--data`` of one benchmark: its file as the data folder has it, or by the task's own name."""
    if folder in {"hub", "sample"}:
        return folder
    root = Path(folder).expanduser()
    places = (root / f"{stem}{ending}" for stem in (benchmark.file, benchmark.task) for ending in _ENDINGS)
    return next((str(place) for place in places if place.is_file()), None)


def _recording(work: _Evaluation, benchmark: Benchmark, data: str) -> ModelSpec | None:
    """The recording that answers most of the benchmark's samples, of equal ones that which bears its name; else None."""
    task = TaskIndex(registry=work.registry).load(benchmark.task)
    solver: Solver = work.registry.build("solvers", work.solver, work.solver_args)
    policies = load_policies(str(work.settings.get("policies", "minimal")))
    rows = task.open(data, limit=None, seed=0)
    requests = [request_of(solver, Case(sample, task.target, policies)) for sample in rows]
    held = [_held(model, requests) for model in work.built]
    named = [benchmark.name in Path(spec.name).parts for spec in work.models]
    best = max(range(len(held)), key=lambda i: (held[i], named[i]))
    return work.models[best] if held[best] else None


def _held(model: Any, requests: Sequence[Request]) -> int:
    """How many requests a recording answers; 0 as soon as it answers none of the first."""
    count = 0
    for asked, request in enumerate(requests, 1):
        try:
            count += bool(model.generate_batch([request]))
        except ModelError:
            if asked == _LOOK and not count:
                return 0
    return count
