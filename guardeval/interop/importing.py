"""``guardeval import``: finished logs of other tools as run folders, scored by our scorers; no model is asked.

Gold labels come from the task that was named; of a log that guardeval wrote, or whose samples one of its scorers judged,
from the log. Every sample that cannot be placed is counted and named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from guardeval.data import Outcome
from guardeval.interop.import_samples import Importing, Reading, read_task, restore_task
from guardeval.interop.import_tasks import by_asker, named_tasks, narrowed
from guardeval.interop.imported_record import imported_head, imported_record, restored_record
from guardeval.interop.logged import Log
from guardeval.registry import Registry
from guardeval.results import assemble_results
from guardeval.runs import RunFolder
from guardeval.scoring import GroupSpec

__all__ = ["ImportedRun", "Importing", "import_inspect", "import_lm_eval"]


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

    registry = registry or Registry()
    for file in files:
        yield _import(read_inspect(Path(file).expanduser()), how, registry)


def import_lm_eval(paths: Sequence[Path | str], how: Importing, registry: Registry | None = None) -> Iterator[ImportedRun]:
    """A run a results file, and a solver where several asked; of a folder, all results files in it. Raises as
    :func:`import_inspect` does."""
    from guardeval.interop.lm_eval_reading import read_lm_eval, results_files

    registry = registry or Registry()
    for file in [f for path in paths for f in results_files(Path(path).expanduser())]:
        for log in by_asker(narrowed(read_lm_eval(file), how, registry)):
            yield _import(log, how, registry)


def _import(log: Log, how: Importing, registry: Registry) -> ImportedRun:
    reading = Reading.of(how, log, registry)
    named = named_tasks(log, reading)
    folder = RunFolder(Path(how.output_path), "+".join(named), reading.solver_name, log.model, datetime.now())
    try:
        if reading.restores:
            done = [restore_task(log, task, folder, reading) for task, _ in named.values()]
        else:
            done = [read_task(log, task, folder, reading, found) for task, found in named.values()]
    except BaseException:
        folder.discard()
        raise
    if reading.restores:
        written = restored_record(log, done, folder.date)
    else:
        head = imported_head(log, done, reading)
        written = imported_record(log, done, reading, head, folder.date)
    metrics, better = {t.name: t.metrics for t in done}, {t.name: t.better for t in done}
    groups = [GroupSpec(g["name"], g["title"], tuple(g["tasks"]), g["paper_sizes"]) for g in written["record"]["groups"]]
    results = assemble_results(written["record"]["head"], groups, metrics, better)
    folder.write_run(written)
    folder.write_results(results)
    return ImportedRun(folder.path, results, {t.name: t.unmatched for t in done})
