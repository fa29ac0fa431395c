"""``guardeval import``: finished logs of other tools as run folders, scored by our scorers; no model is asked.

Gold labels come from the task that was named; of a log that guardeval wrote, or whose samples one of its scorers judged,
from the log. Every sample that cannot be placed is counted and named.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from guardeval.contracts import Case, ChoosingSolver, Exchange, Solver
from guardeval.data import Judged, Outcome, Target
from guardeval.errors import ConfigError, DataError
from guardeval.interop.answered import exchanges_of, read_logged
from guardeval.interop.imported_record import ImportedTask, imported_head, imported_record, restored_record
from guardeval.interop.logged import Log, Logged, LoggedTask
from guardeval.interop.matching import Matcher
from guardeval.judged import Judgements, cluster_of
from guardeval.policies import PolicySet, load_policies
from guardeval.registry import Registry, build
from guardeval.results import assemble_results
from guardeval.runs import RunFolder, SampleLog
from guardeval.sample_lines import judged_from_line
from guardeval.scoring import DEFAULT_SCORERS, GroupSpec, checked_scorer, score_task
from guardeval.settings import DEFAULT_POLICIES
from guardeval.task import TaskIndex

__all__ = ["ImportedRun", "Importing", "Reading", "import_inspect", "import_lm_eval"]


@dataclass(frozen=True)
class Importing:
    """How logs are read. ``task``: whose samples and gold labels, looked for in ``data``; None where the log holds them.
    ``solver``: who reads the answers; None takes a guardeval scorer's verdict where one is logged, else the closing block."""

    task: str | None = None
    solver: str | None = None
    solver_args: Mapping[str, Any] = field(default_factory=dict)
    target: Target | None = None
    data: str = "hub"
    policies: str = DEFAULT_POLICIES
    scorer: Sequence[str] = ()
    include_path: Sequence[str] = ()
    output_path: Path | str = "runs"


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A run made of a log. ``unmatched``: by task, the logged samples that no sample of the task is, and why."""

    path: Path
    results: Mapping[str, Any]
    unmatched: Mapping[str, Mapping[str, str]]

    @property
    def never_heard(self) -> int:
        return sum(int(m["outcomes"][Outcome.FAILED]) for m in self.results["results"].values())


def import_inspect(files: Sequence[Path | str], how: Importing, registry: Registry | None = None) -> Iterator[ImportedRun]:
    """A run a log. Raises :class:`DataError` naming a file that cannot be read, or in which no sample is the task's."""
    from guardeval.interop.inspect_reading import read_inspect

    for file in files:
        yield _import(read_inspect(Path(file).expanduser()), how, registry or Registry())


def import_lm_eval(paths: Sequence[Path | str], how: Importing, registry: Registry | None = None) -> Iterator[ImportedRun]:
    """A run a results file; of a folder, all results files in it."""
    from guardeval.interop.lm_eval_reading import read_lm_eval, results_files

    for file in [f for path in paths for f in results_files(Path(path).expanduser())]:
        yield _import(read_lm_eval(file), how, registry or Registry())


def _import(log: Log, how: Importing, registry: Registry) -> ImportedRun:
    restores = log.origin is not None and how.task is None and how.solver is None
    if restores:
        _same_target(log.origin["record"]["record"]["tasks"], how.target, log.path)  # type: ignore[index]
    reading = Reading.of(how, log, registry)
    folder = RunFolder(Path(how.output_path), "+".join(t.name for t in log.tasks), reading.solver_name, log.model, datetime.now())
    try:
        done = [_restore(log, task, folder, registry) if restores else _read(log, task, folder, reading) for task in log.tasks]
    except BaseException:
        folder.discard()
        raise
    head = imported_head(log, done, reading.solver_name, reading.solver, reading.policies)
    record = restored_record if restores else imported_record
    written = record(log, done, head, reading.solver_name, reading.solver, reading.policies, folder.date)
    metrics, better = {t.name: t.metrics for t in done}, {t.name: t.better for t in done}
    results = assemble_results(written["record"]["head"], _groups(written), metrics, better)
    folder.write_run(written)
    folder.write_results(results)
    return ImportedRun(folder.path, results, {t.name: t.unmatched for t in done})


def _groups(written: Mapping[str, Any]) -> list[GroupSpec]:
    return [GroupSpec(g["name"], g["title"], tuple(g["tasks"]), g["paper_sizes"]) for g in written["record"]["groups"]]


def _same_target(tasks: Mapping[str, Any], target: Target | None, path: Path) -> None:
    other = next((n for n, t in tasks.items() if target is not None and t["target"] != target), None)
    if other is not None:
        raise ConfigError(f"--target {target}: {path} holds {other}, which asks {tasks[other]['target']}")


@dataclass(frozen=True)
class Reading:
    """How one log is read, every name resolved."""

    how: Importing
    registry: Registry
    index: TaskIndex
    policies: PolicySet
    solver_name: str
    solver: Solver | None

    @classmethod
    def of(cls, how: Importing, log: Log, registry: Registry) -> Reading:
        name, solver = how.solver, None
        if name is not None:
            built = registry.build("solvers", name, how.solver_args)
            name, solver = built.for_model(log.model) if isinstance(built, ChoosingSolver) else (name, built)
        elif how.solver_args:
            raise ConfigError("-S goes with --solver: name the solver that reads the answers")
        policies = load_policies(how.policies)
        return cls(how, registry, TaskIndex(how.include_path, registry), policies, name or log.solver, solver)


# ---- a log that guardeval exported ----


def _restore(log: Log, task: LoggedTask, folder: RunFolder, registry: Registry) -> ImportedTask:
    """The samples as the run wrote them, word for word, scored by the run's own scorers."""
    assert log.origin is not None  # noqa: S101
    record = log.origin["record"]
    about = record["record"]["tasks"].get(task.name)
    if about is None:
        raise DataError(f"{log.path}: its record of a guardeval run does not name the task {task.name!r}")
    samples = folder.samples(task.name, Target(about["target"]), record["record"]["policies"], bool(record.get("redact")))

    def write() -> None:
        for logged in task.samples():
            if logged.line is None:
                raise DataError(f"{log.path}: sample {logged.id!r} was not written by guardeval: name --task to read it anew")
            line = orjson.dumps(logged.line, option=orjson.OPT_APPEND_NEWLINE)
            judged, cluster = judged_from_line(line, lambda: f"{log.path}: sample {logged.id!r}")
            samples.add_line(judged, line, cluster)

    judged = _written(samples, write)
    chosen = {n: registry.load("scorers", n) for n in about.get("scorers") or {}}
    scorers = {n: checked_scorer(build(c, about["scorers"][n] or {}, f"scorer {n!r}"), n) for n, c in chosen.items()}
    head = record["record"]["head"]["configs"][task.name]
    return ImportedTask.scored(task.name, str(about["title"]), str(about["version"]), about, judged, scorers, head)


def _written(samples: SampleLog, write: Any) -> Judgements:
    try:
        write()
        return samples.close()
    except BaseException:
        samples.abandon()
        raise


# ---- any other log ----


def _read(log: Log, task: LoggedTask, folder: RunFolder, reading: Reading) -> ImportedTask:
    name = reading.how.task or _known(task.name, log, reading)
    return _of_log(log, task, folder, reading) if name is None else _of_task(log, task, folder, reading, name)


def _known(name: str, log: Log, reading: Reading) -> str | None:
    """lm-eval's task files are ours, names and all; of an Inspect log the samples may hold verdicts and labels."""
    entry = reading.index.entries().get(name)
    if log.tool == "lm_eval" and entry is not None and entry.kind == "task":
        return name
    return None


def _of_task(log: Log, task: LoggedTask, folder: RunFolder, reading: Reading, name: str) -> ImportedTask:
    """Samples and gold labels of a guardeval task, found for the logged ones."""
    found = reading.index.load(name)
    if reading.how.target not in (None, found.target):
        raise ConfigError(f"--target {reading.how.target}: task {name} asks {found.target}")
    rows = found.open(reading.how.data)
    matcher = Matcher(rows, found.target)
    samples = folder.samples(name, found.target, reading.policies.names, redact=False)
    unmatched: dict[str, str] = {}
    drawn = 0

    async def read() -> None:
        nonlocal drawn
        for logged in map(_without_line, task.samples()):
            match = matcher.match(logged)
            if match.sample is None:
                unmatched[logged.id] = match.reason
                continue
            drawn += logged.extra > 0
            case = Case(match.sample, found.target, reading.policies)
            if logged.told is not None and reading.solver is None and logged.told.verdict.target is found.target:
                verdict = logged.told.verdict
            else:
                verdict = await read_logged(logged, case, reading.solver)
            samples.add(Judged(match.sample, verdict, logged.usage), _exchanges(logged, case))

    judged = _written(samples, lambda: asyncio.run(read()))
    if not len(judged):
        first = next(iter(unmatched.values()), "it holds none")
        where = f"{rows.source} ({reading.how.data})"
        raise DataError(f"{log.path}: none of its samples is one of {name} in {where}: {first}; --data says which rows they are")
    scorers = _scorers(reading.how.scorer or found.scorers or DEFAULT_SCORERS, reading.registry)
    data = {"kind": rows.kind, "source": rows.source, **rows.identity}
    subset = {"n": len(judged), "of": matcher.total} if matcher.left else None
    about = {"target": str(found.target), "title": found.title, "version": found.version, "data": data, "subset": subset}
    marks = [*(["sample rows"] if rows.kind == "sample" else []), *(["subset"] if subset else [])]
    head = {"licence": found.licence, "marks": marks, "skipped_unlabelled": rows.skipped}
    imported = ImportedTask.scored(name, found.title, found.version, about, judged, scorers, head)
    notices = [rows.notice] if rows.notice else []
    notices += [f"{matcher.left} of {matcher.total} samples of the task are not in the log"] if matcher.left else []
    notices += [f"of {drawn} samples several answers were drawn; the first is read"] if drawn else []
    return replace(imported, unmatched=unmatched, original=matcher.total, notices=tuple(notices))


def _without_line(logged: Logged) -> Logged:
    """A sample of a guardeval run that is to be read anew: what was asked and answered, out of its line."""
    if logged.line is None:
        return logged
    from guardeval.interop.recorded import Recorded

    judged, cluster = judged_from_line(orjson.dumps(logged.line))
    found = Recorded(logged.line, judged, cluster)
    sample, verdict = judged.sample, judged.verdict
    texts = tuple(t for t in (sample.prompt, sample.response) if t)
    return Logged(
        sample.id, texts, tuple(found.asked()), usage=judged.usage, doc=sample.doc, doc_hash=logged.line.get("doc_hash"),
        error=verdict.raw if verdict.outcome is Outcome.FAILED else None,
    )  # fmt: skip


def _exchanges(logged: Logged, case: Case) -> list[Exchange]:
    return [] if logged.error is not None and not logged.asked else exchanges_of(logged, case)


def _of_log(log: Log, task: LoggedTask, folder: RunFolder, reading: Reading) -> ImportedTask:
    """Samples whose verdicts and gold labels a guardeval scorer left in the log."""
    samples: SampleLog | None = None
    unmatched: dict[str, str] = {}
    target: Target | None = None
    number = 0
    cases: list[Judged] = []

    def write() -> None:
        nonlocal samples, target, number
        for number, logged in enumerate(task.samples()):
            told = logged.told
            if told is None or reading.solver is not None:
                unmatched[logged.id] = "no verdict of a guardeval scorer is logged with it"
                continue
            if target is None:
                target = told.verdict.target
                samples = folder.samples(task.name, target, reading.policies.names, redact=False)
            assert samples is not None  # noqa: S101
            judged = Judged(replace(told.sample, index=number), told.verdict, logged.usage)
            case = Case(judged.sample, target, reading.policies)
            samples.add(judged, _exchanges(logged, case), cluster_of(judged.sample.prompt))

    try:
        write()
        if samples is None or target is None:
            why = "its answers say nothing of gold labels" if unmatched or reading.solver else "it holds no sample"
            raise DataError(f"{log.path}: {why}; name the task whose samples they are with --task (and --data)")
        if reading.how.target not in (None, target):
            raise ConfigError(f"--target {reading.how.target}: {log.path} asks {target}")
        judged = samples.close()
    except BaseException:
        if samples is not None:
            samples.abandon()
        raise
    scorers = _scorers(reading.how.scorer or DEFAULT_SCORERS, reading.registry)
    data = {"kind": "log", "source": log.path.name, "files": [{"name": f.name, "sha256": _sha256(f)} for f in log.files]}
    about = {"target": str(target), "title": task.name, "version": task.version, "data": data, "subset": None}
    imported = ImportedTask.scored(task.name, task.name, task.version, about, judged, scorers, {"licence": "unstated", "marks": []})
    return replace(imported, unmatched=unmatched, original=len(judged))


def _scorers(names: Sequence[str], registry: Registry) -> dict[str, Any]:
    return {name: checked_scorer(registry.build("scorers", name), name) for name in names}


def _sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
