"""The samples of one logged task as judged samples of a run: given back word for word, or matched and read anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

import orjson

from guardeval.contracts import Case, ChoosingSolver, Exchange, Solver
from guardeval.data import Judged, Outcome, Target, Verdict
from guardeval.errors import ConfigError, DataError, GuardevalError
from guardeval.interop.answered import exchanges_of, read_logged
from guardeval.interop.imported_record import ImportedTask, file_identity
from guardeval.interop.logged import Asker, Log, Logged, LoggedTask
from guardeval.interop.matching import Matcher
from guardeval.interop.recorded import Recorded
from guardeval.judged import Judgements
from guardeval.policies import VERBOSITIES, PolicySet, load_policies
from guardeval.registry import Registry
from guardeval.runs import RunFolder, SampleLog
from guardeval.sample_lines import judged_from_line
from guardeval.scoring import DEFAULT_SCORERS, built_scorers
from guardeval.settings import DEFAULT_POLICIES
from guardeval.task import Rows, Task, TaskIndex

__all__ = ["Importing", "Reading", "read_task", "restore_task"]

_CALLED_OFF = "the evaluation was called off while it was under way"


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


@dataclass(frozen=True)
class Reading:
    """How one log is read, every name resolved. ``restores``: the log is a guardeval run, and is given back as it was."""

    how: Importing
    registry: Registry
    index: TaskIndex
    policies: PolicySet
    solver_name: str
    solver: Solver | None
    restores: bool

    @classmethod
    def of(cls, how: Importing, log: Log, registry: Registry) -> Reading:
        """Raises :class:`ConfigError` for a name that nothing has, and options without a solver."""
        name, solver = how.solver, None
        if name is not None:
            built = registry.build("solvers", name, how.solver_args)
            name, solver = built.for_model(log.model) if isinstance(built, ChoosingSolver) else (name, built)
        elif how.solver_args:
            raise ConfigError("-S goes with --solver: name the solver that reads the answers")
        elif (asker := log.tasks[0].asker) is not None:
            name, solver = asker.solver, _own_solver(asker, log.path, registry)
        index, policies = TaskIndex(how.include_path, registry), load_policies(_policies(how, log))
        restores = log.origin is not None and how.task is None and how.solver is None
        return cls(how, registry, index, policies, name or log.solver, solver, restores)

    def check_target(self, target: Target, what: str) -> None:
        if self.how.target not in (None, target):
            raise ConfigError(f"--target {self.how.target}: {what} asks {target}")

    def scorers(self, names: Sequence[str]) -> dict[str, Any]:
        return built_scorers(self.registry, dict.fromkeys(self.how.scorer or names))


def _own_solver(asker: Asker, path: Path, registry: Registry) -> Solver:
    try:
        return cast(Solver, registry.for_files().build("solvers", asker.solver, asker.solver_args))
    except GuardevalError as e:
        raise DataError(f"{path}: the solver that asked in it cannot read the answers; name another with --solver: {e}") from e


def _policies(how: Importing, log: Log) -> str:
    """Those that were asked about, where a log names some that ship with guardeval and the user names none."""
    asker = log.tasks[0].asker
    own = asker.policies if asker is not None else None
    return own if own in VERBOSITIES and how.policies == DEFAULT_POLICIES else how.policies


def _written(samples: SampleLog, write: Callable[[], None]) -> Judgements:
    try:
        write()
        return samples.close()
    except BaseException:
        samples.abandon()
        raise


# ---- a log that guardeval exported ----


def restore_task(log: Log, task: LoggedTask, folder: RunFolder, reading: Reading) -> ImportedTask:
    """The samples as the run wrote them, word for word, scored by the run's own scorers unless others are named."""
    record, registry = (log.origin or {})["record"], reading.registry.for_files()
    about = record["record"]["tasks"].get(task.name)
    if about is None:
        raise DataError(f"{log.path}: its record of a guardeval run does not name the task {task.name!r}")
    target = Target(about["target"])
    reading.check_target(target, f"{task.name} in {log.path}")
    samples = folder.samples(task.name, target, record["record"]["policies"], bool(record.get("redact")))

    def write() -> None:
        for logged in task.samples():
            samples.add_line(*_line(logged, log.path))

    judged = _written(samples, write)
    if reading.how.scorer:
        scorers = reading.scorers(())
    else:
        scorers = built_scorers(registry, about.get("scorers") or {})
    head = record["record"]["head"]["configs"][task.name]
    return ImportedTask.scored(str(about["title"]), about, judged, scorers, head, name=task.name)


def _line(logged: Logged, path: Path) -> tuple[Judged, bytes, int]:
    if logged.line is None:
        raise DataError(f"{path}: sample {logged.id!r} was not written by guardeval: name --task to read the log anew")
    return _of_line(logged, logged.line, path)


def _of_line(logged: Logged, found: Mapping[str, Any], path: Path) -> tuple[Judged, bytes, int]:
    place = f"{path}: sample {logged.id!r}"
    try:
        line = orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError as e:
        raise DataError(f"{place}: is not one that a run wrote ({e})") from e
    judged, cluster = judged_from_line(line, lambda: place)
    numbers = {"doc_id": judged.sample.index, **asdict(judged.usage)}
    if wrong := next((k for k, v in numbers.items() if not _is_number(v, k)), None):
        raise DataError(f"{place}: {wrong} is {numbers[wrong]!r}; a number of a run is wanted")
    return judged, line, cluster


def _is_number(value: Any, name: str) -> bool:
    if value is None:
        return name not in ("doc_id", "requests", "cached")
    kinds = (int, float) if name in ("latency", "cost") else (int,)
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value < _MOST


_MOST = 2**31


# ---- any other log ----


def read_task(log: Log, task: LoggedTask, folder: RunFolder, reading: Reading, found: Task | None) -> ImportedTask:
    """``found``: whose samples and gold labels they are; None where the log holds them.

    Raises :class:`DataError` where no sample can be placed, or nobody says what their gold labels are.
    """
    return _of_log(log, task, folder, reading) if found is None else _of_task(log, task, folder, reading, found)


@dataclass
class _Placed:
    """What became of the logged samples."""

    unmatched: dict[str, str] = field(default_factory=dict)
    drawn: int = 0  # samples of which several answers were logged


def _of_task(log: Log, task: LoggedTask, folder: RunFolder, reading: Reading, found: Task) -> ImportedTask:
    """Samples and gold labels of a guardeval task, found for the logged ones."""
    name = found.name
    reading.check_target(found.target, f"task {name}")
    rows = found.open(reading.how.data)
    matcher, placed = Matcher(rows, found.target), _Placed()
    logged = map(partial(_anew, log.path), task.samples())
    samples = folder.samples(name, found.target, reading.policies.names, redact=False)
    judged = _written(samples, lambda: asyncio.run(_match_all(logged, matcher, placed, samples, reading, found.target)))
    if not len(judged):
        why = next(iter(placed.unmatched.values()), "it holds none")
        where = f"{rows.source} ({reading.how.data})"
        raise DataError(f"{log.path}: none of its samples is one of {name} in {where}: {why}; --data says which rows to take")
    imported = _imported_of(found, rows, matcher, judged, reading)
    notices = [rows.notice] if rows.notice else []
    notices += [f"{matcher.left} of {matcher.total} samples of the task are not in the log"] if matcher.left else []
    notices += [f"of {placed.drawn} samples several answers were logged; the first is read"] if placed.drawn else []
    return replace(imported, unmatched=placed.unmatched, original=matcher.total, notices=tuple(notices))


async def _match_all(
    samples_of: Iterable[Logged], matcher: Matcher, placed: _Placed, samples: SampleLog, reading: Reading, target: Target
) -> None:
    for logged in samples_of:
        if logged.cancelled:
            placed.unmatched[logged.id] = _CALLED_OFF
            continue
        match = matcher.match(logged)
        if match.sample is None:
            placed.unmatched[logged.id] = match.reason
            continue
        placed.drawn += logged.extra > 0
        case = Case(match.sample, target, reading.policies)
        samples.add(Judged(match.sample, await _verdict(logged, case, reading), logged.usage), _exchanges(logged, case))


async def _verdict(logged: Logged, case: Case, reading: Reading) -> Verdict:
    told = logged.told
    if told is not None and reading.solver is None and told.verdict.target is case.target:
        return told.verdict
    return await read_logged(logged, case, reading.solver)


def _anew(path: Path, logged: Logged) -> Logged:
    """Of a guardeval run's sample, what was asked and answered, out of its line."""
    if logged.line is None:
        return logged
    judged, _, cluster = _of_line(logged, logged.line, path)
    try:
        asked = tuple(Recorded(logged.line, judged, cluster).asked())
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as e:
        raise DataError(f"{path}: sample {logged.id!r}: what was asked cannot be read ({type(e).__name__}: {e})") from e
    doc_hash = logged.line.get("doc_hash")
    sample, verdict = judged.sample, judged.verdict
    return Logged(
        id=sample.id,
        texts=tuple(t for t in (sample.prompt, sample.response) if t),
        asked=asked,
        usage=judged.usage,
        doc=sample.doc,
        doc_hash=doc_hash if isinstance(doc_hash, str) else None,
        error=verdict.raw if verdict.outcome is Outcome.FAILED else None,
    )


def _exchanges(logged: Logged, case: Case) -> list[Exchange]:
    return exchanges_of(logged, case) if logged.error is None else []


def _imported_of(found: Task, rows: Rows, matcher: Matcher, judged: Judgements, reading: Reading) -> ImportedTask:
    subset = {"n": len(judged), "of": matcher.total, "only": "those in the log"} if matcher.left else None
    about = {
        "target": str(found.target),
        "title": found.title,
        "version": found.version,
        "data": {"kind": rows.kind, "source": rows.source, **rows.identity},
        "subset": subset,
    }
    marks = [*(["sample rows"] if rows.kind == "sample" else []), *(["subset"] if subset else [])]
    head = {"licence": found.licence, "marks": marks, "skipped_unlabelled": rows.skipped}
    scorers = reading.scorers(found.scorers or DEFAULT_SCORERS)
    return ImportedTask.scored(found.title, about, judged, scorers, head, name=found.name)


def _of_log(log: Log, task: LoggedTask, folder: RunFolder, reading: Reading) -> ImportedTask:
    """Samples of our task inside the other tool, with the verdicts that our solver or scorer left there."""
    placed = _Placed()
    told = _told(task, placed) if reading.solver is None else iter(())
    first = next(told, None)
    if first is None:
        raise DataError(f"{log.path}: it does not say what the gold labels are: name the task with --task (and --data)")
    target = first[0].verdict.target
    reading.check_target(target, str(log.path))
    names = tuple((log.ours or {}).get("policy_names") or reading.policies.names)
    samples = folder.samples(task.name, target, names, redact=False)

    def write() -> None:
        for judged, logged in chain([first], told):
            samples.add(judged, _exchanges(logged, Case(judged.sample, target, reading.policies)))

    judged = _written(samples, write)
    own = log.ours or {}
    total, subset = max(task.count or 0, len(judged)), own.get("subset")
    of = subset["of"] if subset else total
    if left := total - len(judged):  # Inspect's own --limit, or an evaluation that did not come to its end
        subset = {"n": len(judged), "of": of, "only": "those in the log"}
    data = own.get("data") or {"kind": "log", "source": log.path.name, "files": file_identity(log.files)}
    about = {"target": str(target), "title": task.name, "version": task.version, "data": data, "subset": subset}
    marks = [*(["sample rows"] if data.get("kind") == "sample" else []), *(["subset"] if subset else [])]
    head = {"licence": own.get("licence", "unstated"), "marks": marks}
    imported = ImportedTask.scored(task.name, about, judged, reading.scorers(DEFAULT_SCORERS), head, name=task.name)
    notices = [own.get("notice"), f"{left} of {total} samples of the task are not in the log" if left else ""]
    return replace(imported, unmatched=placed.unmatched, original=of, notices=tuple(filter(None, notices)))


def _told(task: LoggedTask, placed: _Placed) -> Iterator[tuple[Judged, Logged]]:
    for logged in task.samples():
        if logged.told is None:
            why = _CALLED_OFF if logged.cancelled else "no verdict of a guardeval scorer is logged with it"
            placed.unmatched[logged.id] = why
        else:
            yield logged.told, logged
