"""``guardeval export inspect``: a ``.eval`` log a task, which ``inspect view`` and ``inspect_ai.log`` open."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from guardeval.data import Outcome, Usage
from guardeval.errors import ConfigError, needs_extra
from guardeval.interop.exporting import may_write, tasks_of
from guardeval.interop.inspect_header import (
    Tally,
    eval_plan,
    eval_results,
    eval_spec,
    eval_stats,
    eval_status,
    log_name,
    logged_model,
)
from guardeval.interop.inspect_samples import eval_sample, log_ids, model_usage
from guardeval.interop.recorded import recorded_ids, recorded_samples
from guardeval.runs import StoredRun, TaskRecord, open_run

__all__ = ["export_inspect"]

_AT_ONCE = 256  # samples in memory; a log's own tables of contents grow with it all the same


def export_inspect(
    run: Path | str, output: Path | str = "logs", *, task: str | None = None, overwrite: bool = False
) -> list[Path]:
    """Write the logs and return their paths. ``output``: a folder, or a file ending in ``.eval`` for a single task.

    Raises :class:`ConfigError` for a file that is there already, :class:`PluginError` without Inspect.
    """
    with needs_extra("inspect"):
        import inspect_ai  # noqa: F401
    stored = open_run(run)
    tasks = tasks_of(stored, task)
    out = Path(output).expanduser()
    if out.suffix == ".eval":
        if len(tasks) > 1:
            names = ", ".join(t.name for t in tasks)
            raise ConfigError(
                f"{out}: one log holds one task, and the run has {len(tasks)} ({names}): name a folder, or --task"
            )
        paths = [out]
    else:
        paths = [out / log_name(stored, t) for t in tasks]
    for path in paths:
        may_write(path, overwrite)
    for one, path in zip(tasks, paths, strict=True):
        _write(stored, one, path)
    return paths


def _write(run: StoredRun, task: TaskRecord, path: Path) -> None:
    """Written beside its name and moved into place: the whole log or the old one."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        asyncio.run(_record(run, task, part))
        part.replace(path)
    except OSError as e:
        raise ConfigError(f"{path}: cannot be written: {e.strerror or e}; name another place with -o") from e
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


async def _record(run: StoredRun, task: TaskRecord, path: Path) -> None:
    """Through the recorder that Inspect's own evaluations write with: `write_eval_log` holds all samples at once, and takes
    time that grows with their square."""
    from inspect_ai.log._recorders.eval import EvalRecorder

    results = run.results()
    ids = log_ids(recorded_ids(task))
    spec, model = eval_spec(run, task, ids), logged_model(run)
    redacted = bool(run.record.get("redact"))
    recorder = EvalRecorder(str(path.parent))
    await recorder.log_init(spec, str(path))
    await recorder.log_start(spec, eval_plan(run))
    (log,) = recorder.data.values()
    tally, usages = Tally(), Usages()
    for number, (id_, found) in enumerate(zip(ids, recorded_samples(task), strict=True), 1):
        sample = eval_sample(found, id_, model, redacted)
        tally.add(sample.scores or {}, found.judged.verdict.outcome is Outcome.FAILED)
        usages.add(found.judged.usage)
        await recorder.log_sample(spec, sample)
        if number % _AT_ONCE == 0:
            await log.write_buffered_samples()
    summary = eval_results(results["results"][task.name], results["higher_is_better"].get(task.name) or {}, tally)
    stats = eval_stats(run, model_usage([usages.sum] if usages.any else []))
    await recorder.log_finish(spec, eval_status(run), stats, summary, None)


class Usages:
    """Tokens and cost added up as samples pass by."""

    def __init__(self) -> None:
        self.sum = Usage(tokens_in=0, tokens_out=0, cost=0.0)
        self.any = False

    def add(self, usage: Usage) -> None:
        if usage.tokens_in is None and usage.tokens_out is None:
            return
        self.any = True
        cost = None if self.sum.cost is None or usage.cost is None else self.sum.cost + usage.cost
        self.sum = Usage(
            tokens_in=(self.sum.tokens_in or 0) + (usage.tokens_in or 0),
            tokens_out=(self.sum.tokens_out or 0) + (usage.tokens_out or 0),
            cost=cost,
        )
