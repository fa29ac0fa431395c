"""The pipeline: rows → solver → broker → model and back → run folder → scorers. Nothing else happens here."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Protocol

from guardeval.broker import Broker, BudgetSpent, Counters, Estimate, default_cache_path
from guardeval.card_defaults import Asked, with_card_defaults
from guardeval.contamination import Contact, Marker, is_untold, seen_by
from guardeval.contracts import Case, ChoosingSolver, Solver
from guardeval.data import Judged, Outcome, Sample, Target, Verdict
from guardeval.errors import ConfigError, DataError, GuardevalError, ModelError, ModelUnusable, PluginError
from guardeval.judged import OUTCOMES, Judgements
from guardeval.lost_votes import LostVotes
from guardeval.models import ModelSpec, build_model, find_model
from guardeval.panel import is_combining
from guardeval.party import Party, Seat, labelled
from guardeval.policies import PolicySet, load_policies
from guardeval.registry import Registry
from guardeval.results import assemble_head, assemble_results, assemble_run_record, group_specs
from guardeval.runs import RunFolder, SampleLog
from guardeval.scoring import DEFAULT_SCORERS, checked_scorer, score_task
from guardeval.settings import DEFAULT_POLICIES, DEFAULT_SOLVER, Settings
from guardeval.task import TaskIndex
from guardeval.voting import Combiner

if TYPE_CHECKING:
    from guardeval.broker import Bound
    from guardeval.panel import BoundPanel
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


class Progress(Protocol):
    """What a run tells whoever watches it."""

    def start(self, task: str, total: int | None, counters: Counters) -> None: ...

    def sample(self, judged: Judged) -> None: ...

    def finish(self, task: str) -> None: ...


class Silent:
    """Watches and tells nobody."""

    def start(self, task: str, total: int | None, counters: Counters) -> None:
        return

    def sample(self, judged: Judged) -> None:
        return

    def finish(self, task: str) -> None:
        return


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


def plan(settings: Settings, registry: Registry | None = None) -> Plan:
    """Resolve every name. Raises the :class:`GuardevalError` that says what is wrong, before any model is asked."""
    registry = registry or Registry()
    complete = with_card_defaults(settings, registry)
    settings = complete.settings
    selection = TaskIndex(settings.include_path, registry).select(settings.task)
    selection = _of_target(selection, settings.target)
    policies = load_policies(settings.policies or DEFAULT_POLICIES)
    parties = _parties(complete, registry)
    for party in parties:
        _checked_targets(party, selection)
    for seat in (seat for party in parties for seat in party.seats):
        for task in selection.tasks:
            if task.target not in seat.model.traits.targets:
                can = ", ".join(sorted(seat.model.traits.targets))
                asked = f"model {seat.spec.name!r} cannot be asked for {task.target} (task {task.name})"
                raise ConfigError(f"{asked}; it judges {can}")
    scorers = {task.name: _scorers(settings.scorer or task.scorers or DEFAULT_SCORERS, registry) for task in selection.tasks}
    rows = {
        task.name: task.open(settings.data, limit=settings.limit, seed=settings.seed, only=settings.samples or None)
        for task in selection.tasks
    }
    return Plan(settings, registry, selection, rows, policies, scorers, parties)


def _parties(asked: Asked, registry: Registry) -> tuple[Party, ...]:
    """Who is asked in which run: a solver that combines takes all models together, any other one model a run."""
    settings = asked.settings
    name = settings.solver or DEFAULT_SOLVER
    solver = _solver(name, settings.solver_args, registry)
    seats = []
    for spec, remarks in zip(settings.model, asked.remarks, strict=True):
        own = None if spec.solver is None else _solver(spec.solver, spec.solver_args, registry)
        model = build_model(spec, registry)
        seen = seen_by(find_model(spec.name, registry).folder, model)
        seats.append(Seat(spec, model, own, seen, remarks))
    if is_combining(solver):
        party = Party(tuple(seats), name, solver)
        if isinstance(solver, Combiner):
            solver.check(party.names)
        return (party,)
    return tuple(_alone(seat, name, solver) for seat in seats)


def _checked_targets(party: Party, selection: Selection) -> None:
    """Raises :class:`ConfigError` for a task that asks what the party's solver cannot."""
    able = getattr(party.solver, "targets", frozenset(Target))
    for task in selection.tasks:
        if task.target not in able:
            can = ", ".join(sorted(able))
            said = f"solver {party.solver_name} cannot be asked for {task.target} (task {task.name})"
            raise ConfigError(f"{said}; it judges {can}; --target leaves out the other tasks")


def _alone(seat: Seat, name: str, solver: Solver) -> Party:
    """One model with its own solver, or the one for all; of a solver that chooses, what it chose."""
    own_name, own = (seat.spec.solver or name, seat.solver or solver)
    if isinstance(own, ChoosingSolver):
        chosen, own = own.for_model(seat.spec.name)
        said = f"{seat.spec.name}: asked by {labelled(chosen, own)}, which {own_name} chose by its name"
        own_name, seat = chosen, replace(seat, remarks=(*seat.remarks, said))
    return Party((seat,), own_name, own)


def _solver(name: str, options: Mapping[str, Any], registry: Registry) -> Solver:
    solver = registry.build("solvers", name, options)
    if not isinstance(solver, Solver):
        raise PluginError(f"solver {name!r} has no solve(case, model)")
    return solver


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


def _scorers(names: Sequence[str], registry: Registry) -> dict[str, Any]:
    return {name: checked_scorer(registry.build("scorers", name), name) for name in names}


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
    return next(run_plan(resolved, progress))


def run_all(settings: Settings, registry: Registry | None = None, progress: Progress | None = None) -> list[Run]:
    """One run a model, in the order named; see :func:`run_each`."""
    return list(run_each(settings, registry, progress))


def run_each(settings: Settings, registry: Registry | None = None, progress: Progress | None = None) -> Iterator[Run]:
    """One run a model, each as soon as it is finished; none after one that was interrupted or stopped. A solver that
    combines makes one run of them all.

    ``max_cost`` is the limit of all of them together.
    """
    yield from run_plan(plan(settings, registry), progress)


def run_plan(resolved: Plan, progress: Progress | None = None) -> Iterator[Run]:
    """What a plan says, run as :func:`run_each` does."""
    for rows in resolved.rows.values():
        rows.count()  # reads every row: what is wrong with one, of any task, is said before anything is asked
    spent = 0.0
    for party in resolved.parties:
        done = _run_one(resolved, party, progress or Silent(), spent)
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
    async with _broker(resolved.settings, dry=True) as broker:
        await foresee(resolved, party, broker)
        return broker.estimate


async def foresee(resolved: Plan, party: Party, broker: Broker) -> None:
    """Ask for every sample what a run asks, of a dry broker: its ``estimate`` and ``unsent`` say what that was."""
    bound = party.bind(broker)
    for task in resolved.selection.tasks:
        for sample in resolved.rows[task.name]:
            with contextlib.suppress(ModelError):
                await party.solver.solve(Case(sample, task.target, resolved.policies), bound.asker())


def _broker(settings: Settings, dry: bool = False, spent: float = 0.0) -> Broker:
    cache = None if settings.no_cache else Path(settings.cache) if settings.cache else default_cache_path()
    left = None if settings.max_cost is None else max(settings.max_cost - spent, sys.float_info.min)
    return Broker(cache=cache, max_connections=settings.max_connections, max_cost=left, dry=dry)


def _run_one(resolved: Plan, party: Party, progress: Progress, spent: float) -> Run:
    settings = resolved.settings
    started = datetime.now()
    tasks = "+".join(map(_short, settings.task))
    folder = RunFolder(Path(settings.output_path), tasks, party.solver_name, party.name, started)
    state = _State(resolved, party, folder, progress, spent)
    try:
        with _few_collections():
            asyncio.run(_ask_all(state))
    except KeyboardInterrupt:
        state.status = "interrupted"
    except BaseException:
        state.abandon()
        raise
    return _finish(state, started)


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Spare the cycle collector: what a run holds on to makes no cycles, and looking for them costs some 5 % of it."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _short(task: str) -> str:
    """Of a task's YAML file, its name."""
    return Path(task).stem if task.endswith((".yaml", ".yml")) else task


@dataclass
class _State:
    """What has been heard so far; outlives the event loop, so that an interrupted run keeps it."""

    resolved: Plan
    party: Party
    folder: RunFolder
    progress: Progress
    spent: float = 0.0  # US dollars, by earlier models of the same command
    logs: dict[str, SampleLog] = field(default_factory=dict)
    lost: dict[str, LostVotes] = field(default_factory=dict)
    markers: dict[str, Marker] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    status: str = "complete"
    first_error: str = ""

    def abandon(self) -> None:
        for log in self.logs.values():
            log.abandon()
        self.folder.discard()


async def _ask_all(state: _State) -> None:
    resolved = state.resolved
    async with _broker(resolved.settings, spent=state.spent) as broker:
        state.counters = broker.counters
        bound = state.party.bind(broker)
        for task in resolved.selection.tasks:
            rows = resolved.rows[task.name]
            log = state.folder.samples(task.name, task.target, resolved.policies.names, resolved.settings.redact)
            state.logs[task.name] = log
            state.progress.start(task.name, rows.count(), broker.counters)
            try:
                await _ask(state, task, iter(rows), bound, log)
            finally:
                state.progress.finish(task.name)
            if state.status != "complete":
                return


async def _ask(state: _State, task: Task, samples: Iterator[Sample], bound: Bound | BoundPanel, log: SampleLog) -> None:
    """Workers over one iterator, not a task a sample: a hundred thousand rows stay as light as one."""
    solver, policies, progress = state.party.solver, state.resolved.policies, state.progress
    lost = state.lost.setdefault(task.name, LostVotes())
    seen = state.markers.setdefault(task.name, state.party.marker(task.name))

    async def work() -> None:
        for sample in samples:
            asker = bound.asker()
            case = Case(sample, task.target, policies)
            try:
                verdict = await solver.solve(case, asker)
            except BudgetSpent:  # the others finish what is under way and paid for, then stop by themselves
                state.status = "stopped"
                return
            except Exception as e:  # noqa: BLE001 - told apart there: a sample that failed, or a run that must end
                verdict = _unheard(e, case, solver)
            judged = Judged(sample, verdict, asker.usage(), seen(sample))
            if verdict.outcome is Outcome.FAILED and not state.first_error:
                state.first_error = verdict.raw
            lost.look(verdict)
            log.add(judged, asker.exchanges)
            progress.sample(judged)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(bound.parallel):
                group.create_task(work())
    except BaseExceptionGroup as problems:
        raise _first(problems) from None


def _first(problems: BaseExceptionGroup[BaseException]) -> BaseException:
    """What broke the run, from what its workers raised: they all stop for one reason."""
    first = problems.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _unheard(error: Exception, case: Case, solver: Solver) -> Verdict:
    """FAILED, for an error of this one sample; any other ends the run."""
    if isinstance(error, ModelError) and not isinstance(error, ModelUnusable):
        return Verdict(case.target, Outcome.FAILED, raw=str(error))
    if isinstance(error, GuardevalError):  # a model that cannot be used, a cache that cannot be written
        raise error
    # a solver that breaks on a sample is a broken plugin: name it, do not skip the sample
    said = f"solver {type(solver).__name__} broke on sample {case.sample.id}: {type(error).__name__}: {error}"
    raise PluginError(said) from error


def _finish(state: _State, started: datetime) -> Run:
    resolved, party = state.resolved, state.party
    judged = {name: log.close() for name, log in state.logs.items()}
    total = sum(len(j) for j in judged.values())
    if state.status == "complete" and not total:
        state.folder.discard()
        raise DataError(f"no labelled sample in {', '.join(r.source for r in resolved.rows.values())}: nothing was asked")
    if state.status == "complete" and all((j.outcome == OUTCOMES.index(Outcome.FAILED)).all() for j in judged.values()):
        state.folder.discard()
        said = f"model {party.name!r} was never heard: all {total} samples failed"
        raise ModelUnusable(f"{said}, the first with: {state.first_error}")
    runs: dict[str, TaskRun] = {}
    broken: GuardevalError | None = None
    for task in resolved.selection.tasks:
        if task.name not in judged:
            continue
        contacts = state.markers[task.name].contacts if task.name in state.markers else ()
        try:
            metrics, better = score_task(judged[task.name], resolved.scorers[task.name], is_untold(contacts))
        except GuardevalError as e:  # what was heard is written first: it was paid for
            broken = broken or e
            metrics, better = score_task(judged[task.name], {}, is_untold(contacts))
        metrics = {"name": task.name, "alias": task.title, "target": str(task.target), **metrics}
        lost = state.lost.get(task.name, LostVotes())
        runs[task.name] = TaskRun(task, resolved.rows[task.name], judged[task.name], metrics, better, lost, contacts)
    head = assemble_head(resolved, party, runs, state.counters, state.status, started, datetime.now())
    metrics = {name: r.metrics for name, r in runs.items()}
    directions = {name: r.higher_is_better for name, r in runs.items()}
    results = assemble_results(head, group_specs(resolved), metrics, directions)
    state.folder.write_run(assemble_run_record(resolved, party, runs, head, state.folder.date))
    state.folder.write_results(results)
    if broken is not None:
        again = f"the answers are kept: `guardeval score {quote(str(state.folder.path))} --scorer …` scores them without asking"
        raise type(broken)(f"{broken}; {again}") from broken
    return Run(state.folder.path, resolved.settings, state.status, results, runs, state.counters, party.combined)
