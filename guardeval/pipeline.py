"""The pipeline: rows → solver → broker → model and back → run folder → scorers. Nothing else happens here."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from guardeval.broker import Broker, Counters, Estimate
from guardeval.brokers import broker_for
from guardeval.card_defaults import with_card_defaults
from guardeval.contamination import Contact, is_untold
from guardeval.contracts import Case
from guardeval.data import Outcome, Target
from guardeval.errors import ConfigError, DataError, GuardevalError, ModelError, ModelUnusable
from guardeval.executors import Executor, Hands, make_executor
from guardeval.interrupts import held_back
from guardeval.judged import OUTCOMES, Judgements
from guardeval.lost_votes import LostVotes
from guardeval.models import ModelSpec
from guardeval.party import Party
from guardeval.policies import PolicySet, load_policies
from guardeval.registry import Registry
from guardeval.results import assemble_head, assemble_results, assemble_run_record, group_specs, unscored_head
from guardeval.running import Progress, Running, Silent
from guardeval.runs import RunFolder
from guardeval.scoring import DEFAULT_SCORERS, built_scorers, score_task
from guardeval.sealed import shown_to
from guardeval.seating import parties_of
from guardeval.settings import DEFAULT_POLICIES, Settings
from guardeval.task import TaskIndex

if TYPE_CHECKING:
    from guardeval.task import Rows, Selection, Task

__all__ = [
    "Plan",
    "Progress",
    "Run",
    "Silent",
    "TaskRun",
    "dry_run",
    "foresee",
    "plan",
    "run",
    "run_all",
    "run_each",
    "run_plan",
]


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One task of a finished run."""

    task: Task
    rows: Rows
    judged: Judgements
    metrics: Mapping[str, Any]  # as in the results file
    higher_is_better: Mapping[str, bool]
    lost: LostVotes = field(default_factory=LostVotes)
    contacts: tuple[Contact, ...] = ()  # models that have seen some of it


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run. ``status``: ``complete``, ``stopped`` (money limit) or ``interrupted``; the folder says it too."""

    path: Path
    settings: Settings
    status: str
    results: Mapping[str, Any]
    tasks: Mapping[str, TaskRun]
    counters: Counters
    combined: bool = False  # all models of the settings in one run

    @property
    def never_heard(self) -> int:
        """Samples whose guard never answered, or one of whose voters never did: asking again may change their verdicts."""
        return sum(int(t.metrics["outcomes"][Outcome.FAILED]) + t.lost.samples for t in self.tasks.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings with every name resolved: nothing in it can be misspelt any more, nothing has been asked yet."""

    settings: Settings
    registry: Registry
    selection: Selection
    rows: Mapping[str, Rows]
    policies: PolicySet
    scorers: Mapping[str, Mapping[str, Any]]  # task → name → scorer
    parties: tuple[Party, ...]  # a run each
    executor: Executor


def plan(settings: Settings, registry: Registry | None = None) -> Plan:
    """Resolve every name. Raises the :class:`GuardevalError` that says what is wrong, before any model is asked."""
    registry = registry or Registry()
    complete = with_card_defaults(settings, registry)
    settings = complete.settings
    selection = TaskIndex(settings.include_path, registry).select(settings.task)
    selection = _of_target(selection, settings.target)
    policies = load_policies(settings.policies or DEFAULT_POLICIES)
    parties = parties_of(complete, registry)
    executor = make_executor(settings.executor, settings.executor_args)
    for party in parties:
        _checked_targets(party, selection)
    for seat in (seat for party in parties for seat in party.seats):
        for task in selection.tasks:
            if task.target not in seat.model.traits.targets:
                can = ", ".join(sorted(seat.model.traits.targets))
                asked = f"model {seat.spec.name!r} cannot be asked for {task.target} (task {task.name})"
                raise ConfigError(f"{asked}; it judges {can}")
    named = {task.name: settings.scorer or task.scorers or DEFAULT_SCORERS for task in selection.tasks}
    scorers = {task: built_scorers(registry, dict.fromkeys(names)) for task, names in named.items()}
    rows = {
        task.name: task.open(settings.data, limit=settings.limit, seed=settings.seed, only=settings.samples or None)
        for task in selection.tasks
    }
    return Plan(settings, registry, selection, rows, policies, scorers, parties, executor)


def _checked_targets(party: Party, selection: Selection) -> None:
    """Raises :class:`ConfigError` for a task that asks what the party's solver cannot."""
    able = getattr(party.solver, "targets", frozenset(Target))
    for task in selection.tasks:
        if task.target not in able:
            can = ", ".join(sorted(able))
            said = f"solver {party.solver_name} cannot be asked for {task.target} (task {task.name})"
            raise ConfigError(f"{said}; it judges {can}; --target leaves out the other tasks")


def _of_target(selection: Selection, target: Target | None) -> Selection:
    if target is None:
        return selection
    kept = tuple(t for t in selection.tasks if t.target is target)
    if not kept:
        asked = ", ".join(f"{t.name} ({t.target})" for t in selection.tasks)
        raise ConfigError(
            f"--target {target}: none of the tasks asks that: {asked}; `guardeval show NAME` says what a task asks"
        )
    return selection.only(kept)


def run(
    task: str | Sequence[str],
    solver: str | None = None,
    model: str | ModelSpec | Mapping[str, Any] | Sequence[Any] = "embedded",
    *,
    registry: Registry | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Run:
    """Run tasks with one model, or with several that the solver combines.

    Keyword arguments are the flags of ``guardeval run`` (see :class:`Settings`). Returns the finished run, which lies in its
    folder too. Raises a :class:`~guardeval.errors.GuardevalError` for what is wrong before the first request and when no
    request can succeed.
    """
    given = [model] if isinstance(model, (str, ModelSpec, Mapping)) else list(model)
    models = [dataclasses.asdict(m) if isinstance(m, ModelSpec) else m for m in given]
    parsed = Settings.from_mapping({"task": task, "solver": solver, "model": models, **settings}, "guardeval.run")
    resolved = plan(parsed, registry)
    if len(resolved.parties) != 1:
        raise ConfigError(
            f"guardeval.run takes one model, not {len(parsed.model)}, unless the solver combines them (ensemble, cascade); "
            "call it once a model, or use run_all"
        )
    with contextlib.closing(run_plan(resolved, progress)) as runs:
        return next(runs)


def run_all(settings: Settings, registry: Registry | None = None, progress: Progress | None = None) -> list[Run]:
    """One run a model, in the order named; see :func:`run_each`."""
    return list(run_each(settings, registry, progress))


def run_each(settings: Settings, registry: Registry | None = None, progress: Progress | None = None) -> Iterator[Run]:
    """One run a model, each as soon as it is finished; none after one that was interrupted or stopped. A solver that
    combines makes one run of them all.

    ``max_cost`` is the limit of all of them together.
    """
    yield from run_plan(plan(settings, registry), progress)


def run_plan(resolved: Plan, progress: Progress | None = None) -> Generator[Run, None, None]:
    """What a plan says, run as :func:`run_each` does."""
    for rows in resolved.rows.values():
        rows.count()  # reads every row: what is wrong with one, of any task, is said before anything is asked
    spent = 0.0
    with resolved.executor.open(resolved) as hands:
        for party in resolved.parties:
            done = _run_one(resolved, party, hands, progress or Silent(), spent)
            yield done
            if done.status != "complete":
                return
            spent += done.counters.cost


def dry_run(settings: Settings, registry: Registry | None = None) -> dict[str, Estimate]:
    """What a run would send, by model, without sending it."""
    resolved = plan(settings, registry)
    out: dict[str, Estimate] = {}
    for i, party in enumerate(resolved.parties, 1):
        name = party.name if party.name not in out else f"{party.name} ({i})"
        out[name] = asyncio.run(_count(resolved, party))
    return out


async def _count(resolved: Plan, party: Party) -> Estimate:
    async with broker_for(resolved.settings, dry=True) as broker:
        await foresee(resolved, party, broker)
        return broker.estimate


async def foresee(resolved: Plan, party: Party, broker: Broker) -> None:
    """Ask for every sample what a run asks, of a dry broker: its ``estimate`` and ``unsent`` say what that was."""
    bound, shown = party.bind(broker), shown_to(party.solver)
    for task in resolved.selection.tasks:
        for sample in resolved.rows[task.name]:
            with contextlib.suppress(ModelError):
                await party.solver.solve(Case(shown(sample), task.target, resolved.policies), bound.asker())


def _run_one(resolved: Plan, party: Party, hands: Hands, progress: Progress, spent: float) -> Run:
    settings = resolved.settings
    started = datetime.now()
    tasks = "+".join(map(_short, settings.task))
    folder = RunFolder(Path(settings.output_path), tasks, party.solver_name, party.name, started)
    running = Running(resolved, party, folder, progress, spent)
    try:
        hands.ask_all(running)
    except KeyboardInterrupt:
        running.status = "interrupted"
    except BaseException:
        running.abandon()
        raise
    return _finish(running, started)


def _short(task: str) -> str:
    """Of a task's YAML file, its name."""
    return Path(task).stem if task.endswith((".yaml", ".yml")) else task


def _finish(running: Running, started: datetime) -> Run:
    """``run.yaml`` is written before anything is scored: from then on the folder is one that ``guardeval score`` finishes."""
    resolved, party, folder = running.plan, running.party, running.folder
    runs: dict[str, TaskRun] = {}
    head: dict[str, Any] = {}
    broken: GuardevalError | None = None
    try:
        with held_back():
            runs = _closed(running)
            head = assemble_head(resolved, party, runs, running.counters, running.status, started, datetime.now())
            head |= {"executor": running.executor} if running.executor else {}
            folder.write_run(assemble_run_record(resolved, party, runs, head, folder.date))
        runs, broken = _scored(resolved, runs)
    except KeyboardInterrupt:
        running.status = "interrupted"
        head = unscored_head(head, folder.path)
    with held_back():
        metrics = {name: r.metrics for name, r in runs.items()}
        directions = {name: r.higher_is_better for name, r in runs.items()}
        results = assemble_results(head, group_specs(resolved), metrics, directions)
        folder.write_results(results)
    if broken is not None:
        again = f"the answers are kept: `guardeval score {quote(str(folder.path))} --scorer …` scores them without asking"
        raise type(broken)(f"{broken}; {again}") from broken
    if running.problem is not None:
        said = f"{running.problem}; what was heard is kept as an interrupted run: {folder.path}"
        raise type(running.problem)(said) from running.problem
    return Run(folder.path, resolved.settings, running.status, results, runs, running.counters, party.combined)


def _closed(running: Running) -> dict[str, TaskRun]:
    """The samples in place, and of each task what is known before any scorer. Raises where nothing was heard."""
    judged = {name: log.close() for name, log in running.logs.items()}
    total = sum(len(j) for j in judged.values())
    if running.status == "complete" and not total:
        running.folder.discard()
        sources = ", ".join(r.source for r in running.plan.rows.values())
        raise DataError(f"no labelled sample in {sources}: nothing was asked")
    if running.status == "complete" and all((j.outcome == OUTCOMES.index(Outcome.FAILED)).all() for j in judged.values()):
        running.folder.discard()
        said = f"model {running.party.name!r} was never heard: all {total} samples failed"
        raise ModelUnusable(f"{said}, the first with: {running.first_error}")
    runs = {}
    for task in running.plan.selection.tasks:
        if task.name in judged:
            heard = running.heard[task.name]
            run = TaskRun(task, running.plan.rows[task.name], judged[task.name], {}, {}, heard.lost, heard.marker.contacts)
            runs[task.name] = _with_scores(run, {})
    return runs


def _scored(resolved: Plan, runs: Mapping[str, TaskRun]) -> tuple[dict[str, TaskRun], GuardevalError | None]:
    """With all scores there are, and the first error; a task whose scorer broke stays without."""
    out, broken = {}, None
    for name, run in runs.items():
        try:
            out[name] = _with_scores(run, resolved.scorers[name])
        except GuardevalError as e:  # what was heard is written first: it was paid for
            out[name], broken = run, broken or e
    return out, broken


def _with_scores(run: TaskRun, scorers: Mapping[str, Any]) -> TaskRun:
    metrics, better = score_task(run.judged, scorers, is_untold(run.contacts))
    about = {"name": run.task.name, "alias": run.task.title, "target": str(run.task.target)}
    return dataclasses.replace(run, metrics={**about, **metrics}, higher_is_better=better)
