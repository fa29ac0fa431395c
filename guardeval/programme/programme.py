"""The programme, run: each experiment's arms, steps and comparisons, then the reports of the phases that were touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.errors import ConfigError, did_you_mean
from guardeval.programme.catalogue import catalogue, select
from guardeval.programme.data_choice import DataChoice
from guardeval.programme.definitions import Experiment, Reference
from guardeval.programme.distinct import count_distinct
from guardeval.programme.findings import Findings
from guardeval.programme.ledger import Ledger, OtherProgramme
from guardeval.programme.measuring import HOME, expected_rows, level_rows
from guardeval.programme.model_sets import load_model_set
from guardeval.programme.model_steps import trained_role
from guardeval.programme.reports import write_reports
from guardeval.programme.steps import after, before
from guardeval.programme.workbench import Ended, Missing, Workbench
from guardeval.registry import Registry

if TYPE_CHECKING:
    from guardeval.broker import Estimate
    from guardeval.pipeline import Progress

__all__ = ["Programme", "Wanted", "plan_experiments", "run_experiments"]


@dataclass(frozen=True)
class Programme:
    """What came of it. ``status``: ``complete``, ``stopped`` (money limit) or ``interrupted``; both can go on.

    ``asked``: the broker's counters of this command; ``counters`` of the folder's whole life, with ``distinct``.
    """

    folder: Path
    status: str
    findings: tuple[Findings, ...]
    reports: tuple[Path, ...]
    asked: Mapping[str, Any]
    counters: Mapping[str, Any]
    never_heard: int
    notices: tuple[str, ...] = field(default=())

    @property
    def missing(self) -> list[str]:
        return list(dict.fromkeys(m for f in self.findings for m in f.missing))


@dataclass(frozen=True)
class Wanted:
    """What a programme can be told; the names are the flags'. ``options`` are ``-D``, ``data`` as :class:`DataChoice` reads."""

    model_set: str = "embedded"
    options: Mapping[str, str] | None = None
    data: str | Sequence[str] = "hub"
    task: str | Sequence[str] = ()
    limit: int | None = None
    seed: int = 0
    output_path: str | Path = "experiments"
    cache: str | None = None
    no_cache: bool = False
    max_connections: int | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit {self.limit}: at least one sample is wanted; leave --limit out to take all")

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Wanted:
        """Raises :class:`ConfigError` for a name that is none of these."""
        known = cls.__dataclass_fields__
        for name in given:
            if name not in known:
                raise ConfigError(f"guardeval.programme: there is no setting {name!r}{did_you_mean(name, known)}")
        return cls(**given)


def run_experiments(
    experiments: str | Sequence[str],
    *,
    registry: Registry | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    **settings: Any,
) -> Programme:
    """Run experiments of the programme (``"21"``, ``"20..30"``, ``"phase1"``) and write the reports of their phases.

    Keyword arguments are the flags of ``guardeval experiment run`` (see :class:`Wanted`). Finished runs in ``output_path``
    are used again. Raises a :class:`~guardeval.errors.GuardevalError` for wrong words, for a folder that holds another
    programme, and where nothing at all could be measured; what only some experiments lack, their findings say.
    """
    chosen, bench, tasks = _set_up(experiments, Wanted.read(settings), registry or Registry())
    bench.progress, bench.say = progress, say or bench.say
    bench.train = lambda number: trained_role(bench, number)
    bench.ledger.write()
    status, findings = "complete", []
    for experiment in chosen:
        bench.say(f"experiment {experiment.number}: {experiment.title}")
        found = Findings(experiment.number, experiment.title, experiment.phase)
        try:
            _measure(experiment, bench, found, _tasks_of(experiment, tasks))
        except Ended as e:
            status = e.status
            break
        except KeyboardInterrupt:
            status = "interrupted"
            break
        findings.append(found)
        bench.ledger.experiments[str(experiment.number)] = found.as_dict()
        bench.ledger.write()
    return _close(bench, status, findings)


def _set_up(
    experiments: str | Sequence[str], wanted: Wanted, registry: Registry
) -> tuple[tuple[Experiment, ...], Workbench, tuple[str, ...]]:
    """The experiments chosen, where their systems come from, and the tasks that stand in place of their own."""
    chosen = select([experiments] if isinstance(experiments, str) else experiments)
    models = load_model_set(wanted.model_set, wanted.options)
    named = wanted.task.split(",") if isinstance(wanted.task, str) else wanted.task
    tasks = tuple(t.strip() for t in named if t.strip())
    if wanted.task and not tasks:
        raise ConfigError(f"task {wanted.task!r} names none; name one, or leave it out for the experiments' own")
    tasks = tasks or models.tasks
    context = {"model set": models.as_dict(), "limit": wanted.limit, "seed": wanted.seed}
    bench = Workbench(
        models,
        DataChoice.read([wanted.data] if isinstance(wanted.data, str) else wanted.data),
        (tasks or (HOME,))[0],
        Ledger.open(Path(wanted.output_path).expanduser(), context),
        registry,
        limit=wanted.limit,
        seed=wanted.seed,
        asking={k: getattr(wanted, k) for k in ("cache", "no_cache", "max_connections")},
        max_cost=wanted.max_cost,
    )
    _check_tasks(chosen, tasks, bench)
    return chosen, bench, tasks


def _check_tasks(chosen: Sequence[Experiment], tasks: tuple[str, ...], bench: Workbench) -> None:
    """Misspelt tasks are said at once, and so are paths for tasks that no chosen experiment has."""
    from guardeval.task import TaskIndex

    wanted = list(dict.fromkeys(t for e in chosen for t in _tasks_of(e, tasks)))
    for name in wanted:
        found = TaskIndex((), bench.registry).select((name,)).tasks
        if [t.name for t in found] != [name]:
            raise ConfigError(f"--task {name}: experiments take single tasks; this names {', '.join(t.name for t in found)}")
    for name in bench.data.by_task:
        if name not in TaskIndex((), bench.registry).entries():
            raise ConfigError(f"--data {name}=…: there is no such task{did_you_mean(name, wanted)}")


def _tasks_of(experiment: Experiment, tasks: tuple[str, ...]) -> tuple[str, ...]:
    return experiment.tasks if experiment.of_training_rows else tasks or experiment.tasks


def _measure(experiment: Experiment, bench: Workbench, found: Findings, tasks: Sequence[str]) -> None:
    for task in tasks:
        try:
            before(experiment, bench, found, task)
            for reference in _systems(experiment, bench):
                level_rows(experiment, bench, found, reference, task)
            expected_rows(experiment, bench, found, task)
        except OtherProgramme:
            raise
        except Missing as e:
            found.lack(str(e))
    after(experiment, bench, found, tasks)
    found.notes += [n for n in experiment.notes if n not in found.notes]


def _systems(experiment: Experiment, bench: Workbench) -> list[Reference]:
    own = [Reference(experiment.number, name) for name in experiment.names()]
    return [one for reference in own for one in bench.spread(reference)]


def _close(bench: Workbench, status: str, findings: Sequence[Findings]) -> Programme:
    """Count, write the ledger and the reports; raises where nothing was measured and nothing else is to be told."""
    ledger = bench.ledger
    ledger.counters["distinct"] = count_distinct(ledger)
    ledger.write()
    if status == "complete" and findings and all(f.status == "missing" for f in findings):
        ledger.forget_if_empty()
        lacking = list(dict.fromkeys(m for f in findings for m in f.missing))
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise ConfigError(f"nothing could be measured: {lacking[0]}{more}")
    phases = sorted({f.phase for f in findings})
    reports, notices = write_reports(ledger, bench.model_set, phases)
    return Programme(
        ledger.folder, status, tuple(findings), tuple(reports), dict(ledger.asked_now), dict(ledger.counters),
        bench.never_heard, tuple(notices),
    )  # fmt: skip


def plan_experiments(
    experiments: str | Sequence[str], *, registry: Registry | None = None, **settings: Any
) -> dict[str, Estimate | str]:
    """What :func:`run_experiments` with the same arguments would still send, by plain run, without sending it.

    A run that is missing something has what it is instead. Requests that two runs share are counted in both.
    """
    chosen, bench, tasks = _set_up(experiments, Wanted.read(settings), registry or Registry())
    wanted: dict[tuple[Reference, str], None] = {}
    for experiment in chosen:
        for task in _tasks_of(experiment, tasks):
            for reference in [*_systems(experiment, bench), *experiment.references()]:
                for plain in _plain_runs(reference):
                    wanted[plain, task] = None
    return bench.estimate(list(wanted))


def _plain_runs(reference: Reference) -> list[Reference]:
    """The arms behind a reference."""
    experiment = catalogue()[reference.experiment]
    if experiment.arm(reference.arm) is not None:
        return [reference]
    combination = experiment.combination(reference.arm)
    behind = combination.members if combination else [r for r in experiment.references() if r.arm != reference.arm]
    return [plain for r in behind for plain in _plain_runs(r)]
