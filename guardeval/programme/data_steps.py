"""Phase 3: traces by a teacher and their quality, synthetic rows, the training set, its split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.models import ModelSpec
from guardeval.programme.catalogue import catalogue
from guardeval.programme.definitions import Experiment, Reference
from guardeval.programme.findings import Findings, table_from_dict
from guardeval.programme.hard import hard_samples
from guardeval.programme.held import Held
from guardeval.programme.made import content_of, made
from guardeval.programme.workbench import Ended, Missing, Workbench
from guardeval.report.tables import Table

if TYPE_CHECKING:
    from guardeval.training_rows import TrainingFile

__all__ = ["check_step", "prepare_step", "prepared_file", "split_step", "synthesize_step", "traces_step"]


def _asked(bench: Workbench, role: str, task: str) -> ModelSpec:
    found = bench.role(role, task)
    return ModelSpec(found.name, found.args)


def _data(bench: Workbench, task: str) -> str:
    return bench.data.of(task, bench.first_task)


# ---- 31, 32: traces ----


def _traces(bench: Workbench, number: int) -> tuple[Path, Any]:
    from guardeval.traces import generate_traces, trace_settings

    wanted = catalogue()[number].traces
    if wanted is None:
        raise Missing(f"experiment {number} traces nothing")
    teacher = bench.role("teacher", wanted.task)
    values = {
        "task": [wanted.task],
        "model": {"name": teacher.name, "args": dict(teacher.args)},
        "data": _data(bench, wanted.task),
        "policies": bench.policies,
        "seed": bench.seed,
        "output_path": str(bench.folder / "runs"),
        **bench.asking,
    }
    n = wanted.n if bench.limit is None else min(wanted.n, bench.limit)

    def make(path: Path) -> dict[str, Any]:
        settings = trace_settings({**values, "max_cost": bench.money_left}, solver=wanted.solver, hints=wanted.hints, n=n)
        done = generate_traces(settings, path, registry=bench.registry, progress=bench.progress)
        bench.account(done.run)
        return {"run": str(done.run.path.relative_to(bench.folder)), "rows": done.rows, "apart": dict(done.apart)}

    of = {"traces": {**values, "n": n, "solver": wanted.solver, "hints": wanted.hints}, "rows": bench.rows_of(wanted.task)}
    return made(bench, wanted.output, of, make)


def traces_step(experiment: Experiment, bench: Workbench, found: Findings) -> None:
    path, facts = _traces(bench, experiment.number)
    rows = [("traces written", str(facts["rows"])), *((f"apart: {why}", str(n)) for why, n in facts["apart"].items())]
    found.tables.append(Table("reasoning traces", ("fact", "value"), tuple(rows), (_about_rows(path),)))
    found.files.append(path.name)


def _about_rows(path: Path) -> str:
    from guardeval.training_rows import read_training_file

    about = read_training_file(path)[0].about
    return f"teacher {about.get('teacher')}, rows of {about.get('task')} ({about.get('source')}), hints: {about.get('hints')}"


def check_step(experiment: Experiment, bench: Workbench, found: Findings) -> None:
    from guardeval.trace_check import check_traces
    from guardeval.trace_tables import quality_tables

    assert experiment.check_traces is not None  # noqa: S101  # the caller looked
    path, _ = _traces(bench, experiment.check_traces.of)
    quality = check_traces(path, policies=bench.policies)
    found.tables += quality_tables(quality)
    for notice in quality.notices:
        found.note(notice)


# ---- 33: synthetic rows ----


def _synthetic(bench: Workbench, number: int) -> tuple[Path, Any]:
    from guardeval.synthesis import SynthesisSettings, synthesize

    wanted = catalogue()[number].synthesize
    if wanted is None:
        raise Missing(f"experiment {number} synthesizes nothing")
    seeds = hard_samples(bench, wanted.mined_by, wanted.task)
    n = wanted.n if bench.limit is None else min(wanted.n, bench.limit)
    settings = SynthesisSettings(
        seeds=seeds,
        output=bench.folder / wanted.output,
        model=_asked(bench, "generator", wanted.task),
        verifier=(_asked(bench, "verifier", wanted.task),),
        seed=bench.seed,
        policies=bench.policies,
        against=_against(bench, number),
        **{"n": n, **{k: v for k, v in bench.asking.items() if v is not None}, **_options(bench.model_set.synthesis)},
    )

    def make(path: Path) -> dict[str, Any]:
        done = synthesize(replace(settings, max_cost=bench.money_left), bench.registry, bench.progress)
        bench.spent += done.counters.cost
        if done.status != "complete":
            raise Ended(done.status)
        kinds = {name: [tally.asked, tally.readable, tally.verified, tally.kept] for name, tally in done.by_kind.items()}
        return {
            "rows": done.rows,
            "wanted": done.wanted,
            "kinds": kinds,
            "reasons": dict(done.reasons),
            "notes": [*done.notes, f"{done.counters.sent:,} requests sent"],
        }

    return made(bench, wanted.output, {"synthesis": settings, "seeds": content_of(seeds)}, make)


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of a YAML file as the settings hold them."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}


def _against(bench: Workbench, number: int) -> tuple[str, ...]:
    """The test sets that no row may repeat: those that the training set is checked against, as far as they are at hand."""
    tasks = next((e.prepare.against for e in catalogue().values() if e.prepare and number in e.prepare.sources), ())
    return _named(bench, tasks)


def _named(bench: Workbench, tasks: tuple[str, ...]) -> tuple[str, ...]:
    """``task=path`` of those whose rows are in files, ``task`` else."""
    out = []
    for task in tasks:
        where = _data(bench, task)
        out.append(task if where == "hub" else f"{task}={where}")
    return tuple(out)


def synthesize_step(experiment: Experiment, bench: Workbench, found: Findings) -> None:
    path, facts = _synthetic(bench, experiment.number)
    rows = tuple((name, *map(str, counts)) for name, counts in facts["kinds"].items())
    title = f"synthetic samples: {facts['rows']} of {facts['wanted']} wanted"
    left_out = tuple(f"left out: {n} {why}" for why, n in facts["reasons"].items())
    found.tables.append(Table(title, ("kind", "asked", "readable", "verified", "kept"), rows, left_out))
    for note in facts["notes"]:
        found.note(note)
    found.files.append(path.name)


# ---- 34, 35: the training set ----


def prepared_file(bench: Workbench, number: int) -> tuple[Path, Any]:
    """The training file of an experiment, prepared where it is not there. Raises :class:`Missing`."""
    from guardeval.benchmark_prompts import Benchmarks
    from guardeval.prepare_report import summary, tables
    from guardeval.preparing import prepare
    from guardeval.task import TaskIndex

    wanted = catalogue()[number].prepare
    if wanted is None:
        raise Missing(f"experiment {number} prepares nothing")
    sources, lacking = _sources(bench, wanted.sources)
    against = _named(bench, wanted.against)

    def make(path: Path) -> dict[str, Any]:
        benchmarks = Benchmarks.open(TaskIndex((), bench.registry), against)
        done = prepare(sources, path.parent, benchmarks, validation=wanted.validation, seed=bench.seed, on_overlap="drop")
        return {
            "tables": [asdict(_without(bench.folder, t)) for t in tables(done)],
            "notes": [*done.notes, *lacking],
            "summary": summary(done),
        }

    of = {"prepare": [content_of(s) for s in sources], "against": against, "validation": wanted.validation, "seed": bench.seed}
    return made(bench, wanted.output, of, make)


def _sources(bench: Workbench, numbers: tuple[int, ...]) -> tuple[list[Path], list[str]]:
    """Traces and synthetic rows; synthetic ones may be lacking, and that is said."""
    paths, lacking = [], []
    for number in numbers:
        experiment = catalogue()[number]
        try:
            paths.append((_traces if experiment.traces else _synthetic)(bench, number)[0])
        except Missing as e:
            if experiment.traces:
                raise
            lacking.append(f"without the rows of experiment {number}: {e}")
    return paths, lacking


def _without(folder: Path, table: Table) -> Table:
    """Paths inside the programme's folder as they are named from there."""
    inside = f"{folder}/"
    rows = tuple(tuple(c.replace(inside, "") for c in row) for row in table.rows)
    return replace(table, title=table.title.replace(inside, ""), rows=rows)


def prepare_step(experiment: Experiment, bench: Workbench, found: Findings) -> None:
    path, facts = prepared_file(bench, experiment.number)
    found.tables += [table_from_dict(t) for t in facts["tables"]]
    for note in facts["notes"]:
        found.note(note)
    found.files.append(path.name)


def split_step(experiment: Experiment, bench: Workbench, found: Findings, task: str) -> None:
    """What the split holds, and the teacher on the rows that it explained.

    On all of them: answers that contradict gold are kept apart and stand in no split, so that on the validation rows alone
    every teacher would be right. It was trained on none of these rows.
    """
    from guardeval.training_rows import read_training_file

    assert experiment.split is not None  # noqa: S101  # the caller looked
    path, _ = prepared_file(bench, experiment.split.of)
    rows = read_training_file(path)
    found.tables.append(_split_table(rows))
    prepared = catalogue()[experiment.split.of].prepare
    traced = next(n for n in (prepared.sources if prepared else ()) if catalogue()[n].traces)
    _, facts = _traces(bench, traced)
    teacher = Held(f"teacher {bench.role('teacher', task).name}", task, bench.folder / facts["run"], f"traces {facts['run']}")
    about = f"on all {len(teacher.judged)} rows that it explained: what contradicts gold is kept apart and in no split"
    bench.keep(Reference(experiment.number, "teacher"), task, replace(teacher, about_part=about))


def _split_table(rows: TrainingFile) -> Table:
    from guardeval.training_rows import Split

    lines = []
    for split in Split:
        part = rows.of(split)
        harmful = sum(row.label for row in part)
        synthetic = sum(row.about.get("kind") == "synthetic" for row in part)
        lines.append((str(split), str(len(part)), str(harmful), str(len(part) - harmful), str(synthetic)))
    note = "near-duplicates share a split; rows that repeat a test set were left out before"
    return Table("split", ("split", "rows", "positive", "negative", "of them synthetic"), tuple(lines), (note,))
