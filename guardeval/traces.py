"""Reasoning traces: a teacher's steps and verdicts on labelled rows, as rows that guards are trained on.

Underneath it is a run like any other, whose solver is ``reasoning_trace``: cached, resumable, limited by ``max_cost``. What
is no trace (refused, unreadable, cut off, failed, contradicting gold) is kept apart with its reason, for it was paid for.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.errors import ConfigError, DataError
from guardeval.mined_rows import data_text
from guardeval.trace_rows import Apart, check_inner, trace_or_reason
from guardeval.training_rows import Trace, write_training_file

if TYPE_CHECKING:
    from guardeval.broker import Estimate
    from guardeval.contracts import Solver
    from guardeval.pipeline import Plan, Progress, Run, TaskRun
    from guardeval.registry import Registry
    from guardeval.settings import Settings

__all__ = ["DEFAULT_ROWS", "SOLVER", "TracesMade", "apart_path", "foreseen_traces", "generate_traces", "trace_settings"]

SOLVER = "reasoning_trace"
DEFAULT_ROWS = 1554
Tell = Callable[[str], None]


@dataclass(frozen=True)
class TracesMade:
    """What came of it. ``path`` is None where no answer is a trace, ``apart_path`` where all are."""

    run: Run
    path: Path | None
    rows: int
    apart: Mapping[str, int]  # reason → answers kept apart
    apart_path: Path | None
    cost: float | None  # US dollars paid now, by a batch or the run; None where a price is not known
    unhinted: int = 0  # traces of a model that reads no hint


def apart_path(out: Path) -> Path:
    """Where what is no trace goes: ``traces.json`` → ``traces.apart.jsonl``."""
    name = out.name.removesuffix(".gz").removesuffix(".json").removesuffix(".jsonl")
    return out.with_name(name + ".apart.jsonl")


def trace_settings(
    values: Mapping[str, Any], *, solver: str = "multistep", hints: str = "gold", n: int = DEFAULT_ROWS
) -> Settings:
    """Settings of the run underneath, from those of any run. ``solver`` is the inner one."""
    from guardeval.settings import Settings

    options = {"inner": solver, "hints": hints, **dict(values.get("solver_args") or {})}
    return Settings.from_mapping({"limit": n, **values, "solver": SOLVER, "solver_args": options}, "guardeval traces")


def foreseen_traces(
    settings: Settings, *, allow_test: bool = False, batch: bool = False, registry: Registry | None = None
) -> dict[str, Estimate]:
    """What would be sent, by model, without sending it; with ``batch`` at the price of the batch service."""
    import asyncio

    from guardeval.broker import Broker
    from guardeval.offline import offline_model
    from guardeval.pipeline import foresee

    resolved = _plan(settings, allow_test, registry)
    (party,) = resolved.parties
    share = offline_model(party).offline.price if batch else 1.0

    async def count() -> Estimate:
        async with Broker(cache=_cache(settings), dry=True) as broker:
            await foresee(resolved, party, broker)
            return broker.estimate

    estimate = asyncio.run(count())
    return {party.name: replace(estimate, cost=None if estimate.cost is None else estimate.cost * share)}


def generate_traces(
    settings: Settings,
    out: Path | str,
    *,
    allow_test: bool = False,
    keep_wrong: bool = False,
    batch: bool = False,
    registry: Registry | None = None,
    progress: Progress | None = None,
    tell: Tell = lambda _: None,
) -> TracesMade:
    """Ask the teacher, write the traces to ``out`` and what is none beside it (:func:`apart_path`).

    ``settings`` as :func:`trace_settings` makes them. A run that was stopped or interrupted writes what was heard; its
    ``run.status`` says so. ``batch``: by the provider's batch service; ``tell`` hears how that goes.
    Raises :class:`ConfigError` for a task that is no training task unless ``allow_test``, a place that cannot be written, and
    all that a run raises before its first request.
    """
    from guardeval.pipeline import run_plan

    out = Path(out).expanduser()
    resolved = _plan(settings, allow_test, registry)
    _check_writable(out, settings.data)
    paid: float | None = 0.0
    if batch:
        resolved, paid = _by_batch(resolved, tell)
    (run,) = run_plan(resolved, progress)
    return replace(_write(resolved, run, out, keep_wrong), cost=_paid(paid, resolved, run))


def _paid(by_batch: float | None, resolved: Plan, run: Run) -> float | None:
    """US dollars; None where answers were paid for and their price is not known."""
    traits = resolved.parties[0].seats[0].model.traits
    unknown = traits.remote and traits.price is None and run.counters.answered
    return None if by_batch is None or unknown else by_batch + run.counters.cost


def _plan(settings: Settings, allow_test: bool, registry: Registry | None) -> Plan:
    from guardeval.pipeline import plan

    if len(settings.model) != 1:
        raise ConfigError(f"guardeval traces: {len(settings.model)} models: one teacher is wanted; a file a teacher")
    if settings.redact:
        raise ConfigError("guardeval traces: redact keeps no text, and traces are text")
    resolved = plan(settings, registry)
    tests = [t.name for t in resolved.selection.tasks if not t.training]
    if tests and not allow_test:
        raise ConfigError(
            f"guardeval traces: {', '.join(tests)}: no training task, so a guard trained on its rows cannot be measured on it "
            "any more; training tasks are those of the tag guardeval_train, such as wildguard_train. --allow_test traces it "
            "all the same, and marks every model that comes of it as contaminated"
        )
    for task in resolved.selection.tasks:
        check_inner(_inner(resolved), task.target, resolved.policies)
        resolved.rows[task.name].count()  # an empty task, or a bad row, before anything is paid for
    return resolved


def _inner(resolved: Plan) -> Solver:
    (party,) = resolved.parties
    inner: Solver = getattr(party.solver, "inner", party.solver)
    return inner


def _cache(settings: Settings) -> Path | None:
    from guardeval.broker import default_cache_path

    return None if settings.no_cache else Path(settings.cache) if settings.cache else default_cache_path()


def _by_batch(resolved: Plan, tell: Tell) -> tuple[Plan, float | None]:
    """The plan with a model that has answered already, and what that cost."""
    from guardeval.offline import AnsweredParty, answer_offline

    cache = _cache(resolved.settings)
    if cache is None:
        raise ConfigError("guardeval traces: --batch and --no_cache: a batch's answers are kept in the cache; leave one out")
    (party,) = resolved.parties
    offline = answer_offline(resolved, party, cache, resolved.settings.max_cost, tell)
    answered = AnsweredParty(party.seats, party.solver_name, party.solver, offline)
    return replace(resolved, parties=(answered,)), offline.cost


def _check_writable(out: Path, data: str) -> None:
    """Before anything is paid for."""
    from guardeval.rows import file_format

    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; name a file in it with -o")
    if file_format(out) not in ("json", "jsonl"):
        raise ConfigError(f"{out}: traces are written as .json or .jsonl (also .gz); name such a file with -o")
    if out.exists() and Path(data).expanduser().exists() and out.samefile(Path(data).expanduser()):
        raise ConfigError(f"{out}: is what --data reads, and would be overwritten; name another file with -o")
    folder = out.parent
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"{out}: its folder is not there and cannot be made, or cannot be written; name another file with -o")


def _write(resolved: Plan, run: Run, out: Path, keep_wrong: bool) -> TracesMade:
    reasons: Counter[str] = Counter()
    unhinted = 0
    hinted = getattr(resolved.parties[0].solver, "hints", "none") == "gold"
    apart: list[dict[str, Any]] = []

    def traces() -> Iterator[Trace]:
        nonlocal unhinted
        for row in _rows(resolved, run, keep_wrong):
            if isinstance(row, Trace):
                unhinted += hinted and row.about["hints"] == "none"
                yield row
            else:
                reasons[str(row.reason)] += 1
                apart.append(row.to_row())

    found = list(traces())
    beside = apart_path(out)
    _write_lines(beside, apart)  # even if empty: that nothing was lost is worth knowing
    if found:
        write_training_file(out, found)
    elif run.status == "complete":
        counted = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
        raise DataError(f"guardeval traces: none of {len(apart)} answers is a trace ({counted}); they are in {beside}")
    path = out if found else None
    return TracesMade(run, path, len(found), dict(reasons), beside if apart else None, None, unhinted)


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    import orjson

    from guardeval.streamed_file import writing

    with writing(path) as f:
        for row in rows:
            f.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _rows(resolved: Plan, run: Run, keep_wrong: bool) -> Iterator[Trace | Apart]:
    inner = _inner(resolved)
    for done in run.tasks.values():
        about = _about(resolved, done)
        for judged in done.judged:
            yield trace_or_reason(judged, done.task.target, inner, resolved.policies, about, keep_wrong)


def _about(resolved: Plan, done: TaskRun) -> dict[str, Any]:
    """What is said of every row of a task alike."""
    from guardeval.registry import configuration

    task, (party,) = done.task, resolved.parties
    options = configuration(party.solver)
    seen = party.seats[0].seen  # what a teacher of one's own was made from, its traces hand down
    stained = {*(seen.tasks if seen else ()), *(() if task.training else (task.name,))}
    return {
        "task": task.name,
        "source": data_text({"kind": done.rows.kind, **done.rows.identity}),
        "licence": task.licence,
        "teacher": party.name,
        "teacher_identity": dict(party.identity),
        "hints": options.get("hints", "none"),
        "solver": options.get("inner", party.solver_name),
        "policies_from": resolved.policies.source,
        "kind": "trace",
        **({"contaminated_with": sorted(stained)} if stained else {}),
    }
