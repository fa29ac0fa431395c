"""Phases 4 and 5: models trained, measured on the hard samples, the best in full; and made faster."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from guardeval.errors import GuardevalError
from guardeval.models import MODEL_FILE, ModelSpec, read_model_folder
from guardeval.programme.catalogue import catalogue
from guardeval.programme.data_steps import prepared_file
from guardeval.programme.definitions import Experiment, Reference
from guardeval.programme.findings import Findings
from guardeval.programme.hard import hard_ids, hard_samples
from guardeval.programme.made import content_of, made
from guardeval.programme.measuring import cell
from guardeval.programme.model_sets import Role
from guardeval.programme.workbench import Missing, Workbench
from guardeval.report.tables import Table, amount, number
from guardeval.stats import Estimate

if TYPE_CHECKING:
    from guardeval.programme.held import Held

__all__ = ["evaluate_step", "on_hard_step", "speed_step", "train_step", "trained_role"]


# ---- 36 to 39: training ----


def trained_folder(bench: Workbench, number_: int) -> Path:
    """The model folder of an experiment, trained where it is not there. Raises :class:`Missing`."""
    wanted = catalogue()[number_].train
    if wanted is None:
        raise Missing(f"experiment {number_} trains nothing")
    data, _ = prepared_file(bench, wanted.data)
    options = {**wanted.options, "seed": bench.seed, "name": wanted.name, "policies": bench.policies}
    if wanted.parent is not None:
        base, own = str(trained_folder(bench, wanted.parent)), {}
    else:
        student = bench.model_set.role(wanted.student, bench.first_task)
        base, own = student.name, dict(student.args)
    options |= {"model": base, **bench.model_set.training.get(wanted.trainer, {}), **own}
    parent = content_of(Path(base) / MODEL_FILE) if wanted.parent is not None else ""

    def make(path: Path) -> Mapping[str, Any]:
        from guardeval.training_rows import read_training_file

        trainer = bench.registry.build("trainers", wanted.trainer, options)
        trainer.train(read_training_file(data), path)
        return {"name": wanted.name}

    of = {"trainer": wanted.trainer, "options": options, "data": content_of(data), "parent": parent}
    return made(bench, f"models/{wanted.name}", of, make)[0]


def trained_role(bench: Workbench, number_: int) -> Role:
    """The model that an experiment trained, as a role to be asked."""
    folder = trained_folder(bench, number_)
    wanted = catalogue()[number_].train
    return Role(f"model:{number_}", str(folder), label=wanted.name if wanted else folder.name)


def train_step(experiment: Experiment, bench: Workbench, found: Findings) -> None:
    folder = trained_folder(bench, experiment.number)
    card = read_model_folder(folder)
    found.tables.append(Table(f"{folder.name}: the model", ("fact", "value"), tuple(_card_rows(card))))
    found.tables += _curve(folder)
    for notice in card.get("notices") or ():
        found.note(f"{folder.name}: {notice}")
    found.files.append(f"models/{folder.name}")


def _card_rows(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(k.replace("_", " "), str(card[k])) for k in ("base_model", "kind", "solver", "policies", "licence") if card.get(k)]
    parent = card.get("parent")
    rows += [("trained further from", str(parent["name"]))] if parent else []
    rows += [
        (k.replace("_", " "), str(v)) for k, v in (card.get("parameters") or {}).items() if not isinstance(v, (dict, list))
    ]
    return rows


def _curve(folder: Path) -> list[Table]:
    """Losses and validation as the training wrote them down."""
    from guardeval.finetuning.report import loss_table, validation_table

    path = folder / "training" / "history.json"
    if not path.is_file():
        return []
    history = json.loads(path.read_bytes())
    return [replace(t, title=f"{folder.name}: {t.title}") for t in (loss_table(history), validation_table(history)) if t.rows]


# ---- 39: on the hard samples ----


def on_hard_step(experiment: Experiment, bench: Workbench, found: Findings, task: str) -> None:
    wanted = experiment.on_hard
    assert wanted is not None  # noqa: S101  # the caller looked
    ids = hard_ids(hard_samples(bench, wanted.mined_by, task))
    for name, reference in wanted.systems.items():
        held = bench.held(reference, task)
        at = [i for i, id_ in enumerate(held.judged.ids) if id_ in ids]
        kept = held.on(at, f"on the {len(at)} hard samples of experiment {wanted.mined_by}", bench.registry)
        bench.keep(Reference(experiment.number, name), task, kept)


# ---- 40: the best of them ----


def evaluate_step(experiment: Experiment, bench: Workbench, found: Findings, task: str) -> None:
    """The best by its validation score, then everything about it; samples for people to judge its reasoning."""
    wanted = experiment.evaluate
    assert wanted is not None  # noqa: S101  # the caller looked
    scores: list[tuple[Estimate, Reference, Held]] = []
    for reference in wanted.candidates:
        try:
            held = bench.held(reference, task)
            scores.append((_validation_f1(bench, reference.experiment), reference, held))
        except Missing as e:
            found.lack(str(e))
    if not scores:
        raise Missing(f"{task}: no trained model to evaluate")
    scored = [i for i, (f1, _, _) in enumerate(scores) if not math.isnan(f1.value)]
    if not scored:
        raise Missing(f"{task}: no trained model has an F1 on validation rows, so none can be chosen")
    best = max(scored, key=lambda i: (scores[i][0].value, -i))
    rows = tuple(
        (f"{reference}: {held.name}", _interval(f1), cell(held, "accuracy"), cell(held, "f1"), "the best" if i == best else "")
        for i, (f1, reference, held) in enumerate(scores)
    )
    columns = ("system", "F1, validation rows", f"accuracy, {task}", f"F1, {task}", "")
    note = "chosen by the validation rows of experiment 34; equal ones: the first"
    found.tables.append(Table(f"{task}: trained models", columns, rows, (note,)))
    _, _, held = scores[best]
    bench.keep(Reference(experiment.number, wanted.name), task, held)
    found.tables += [_policies(held), _effort(held)]
    _for_review(found, held, wanted.n)


def _validation_f1(bench: Workbench, number_: int) -> Estimate:
    """F1 on the validation rows, as the card states it; of several targets the first."""
    validation = (read_model_folder(trained_folder(bench, number_)).get("metrics") or {}).get("validation") or {}
    found = [v["f1"] for v in validation.values() if isinstance(v, dict) and "f1" in v]
    scores: Mapping[str, Any] = found[0] if found else {}
    value, low, high = (math.nan if scores.get(k) is None else float(scores[k]) for k in ("value", "low", "high"))
    return Estimate(value, low, high, int(scores.get("n") or 0))


def _interval(one: Estimate) -> str:
    return f"{number(one.value)} [{number(one.low)}, {number(one.high)}] n={one.n}" if one.n else "n/a"


def _policies(held: Held) -> Table:
    names = [k.partition("/")[0] for k in held.metrics if k.endswith("/f1,strict")]
    rows = tuple((name, cell(held, f"{name}/f1"), cell(held, f"{name}/f1_known")) for name in names)
    return Table(f"{held.task}: F1 by policy (strict)", ("policy", "F1", "F1 where the labels settle it"), rows)


_EFFORT = ("latency_p50", "latency_p95", "tokens_per_second", "tokens_out_mean", "reasoning_steps", "reasoning_tokens")


def _effort(held: Held) -> Table:
    known = [m for m in _EFFORT if number(held.metrics.get(f"{m},none")) != "n/a"]
    return Table(f"{held.task}: effort", ("measure", "value"), tuple((m, amount(held.metrics, m)) for m in known))


def _for_review(found: Findings, held: Held, n: int) -> None:
    """How people get ``n`` samples of all that the guard judged, and what they have said of its reasoning."""
    from guardeval.report.review_tables import review_tables
    from guardeval.review.summary import review_summaries

    summary = next((s for s in review_summaries(held.path) if s.task == held.task), None)
    if summary is None or not summary.n:
        command = f"guardeval review {quote(str(held.path))} --task {held.task} -n {n}"
        found.lack(f"{held.task}: people have not judged the reasoning: {command} shows them {n} samples")
        return
    found.tables += review_tables(summary)


# ---- 45: faster ----


def speed_step(experiment: Experiment, bench: Workbench, found: Findings, task: str) -> None:
    """Each optimizer's folder with its check, a distilled student, then all of them timed on the same samples."""
    wanted = experiment.speed
    assert wanted is not None  # noqa: S101  # the caller looked
    before = trained_folder(bench, wanted.of)
    folders = {before.name: before}
    rows = []
    for name in wanted.optimizers:
        try:
            folder, facts = _optimized(bench, before, name, task)
        except Missing as e:
            found.lack(str(e))
            continue
        rows.append((folder.name, str(facts["flipped"]), facts["f1"], facts["bytes"], facts["verdict"]))
        if facts["usable"]:
            folders[folder.name] = folder
    columns = ("model", "verdicts flipped", "F1 difference [95 %]", "bytes before, after", "check")
    found.tables.append(Table(f"{task}: made faster", columns, tuple(rows)))
    if wanted.distilled:
        try:
            student = _distilled(bench, before, wanted.of)
            folders[student.name] = student
        except Missing as e:
            found.lack(str(e))
    _timed(bench, found, folders, task, wanted.limit_ms, wanted.least)
    found.files += [f"models/{name}" for name in folders if name != before.name]


def _optimized(bench: Workbench, before: Path, optimizer: str, task: str) -> tuple[Path, Any]:
    from guardeval.optimizing import built, optimized, questions_for
    from guardeval.optimizing_check import checked
    from guardeval.task import TaskIndex

    def make(path: Path) -> Mapping[str, Any]:
        shutil.rmtree(path, ignore_errors=True)  # one that was made of another model
        (one,) = TaskIndex((), bench.registry).select((task,)).tasks
        samples = list(one.open(bench.data.of(task, bench.first_task), limit=bench.limit, seed=bench.seed))
        asked = questions_for(before, samples, one.target, {"task": task}, None, None)
        optimized(bench.registry.build("optimizers", optimizer), before, path)
        done = checked(before, path, built(before), asked)
        f1 = done.f1
        return {
            "usable": done.passed,
            "verdict": done.verdict,
            "flipped": sum(f.n for f in done.flips),
            "f1": f"{number(f1.difference, 3, '+')} [{number(f1.low, 3, '+')}, {number(f1.high, 3, '+')}] n={done.pair.n}",
            "bytes": f"{done.before.weights or 0:,}, {done.after.weights or 0:,}",
        }

    of = {"optimizer": optimizer, "of": content_of(before / MODEL_FILE), "rows": bench.rows_of(task), "limit": bench.limit}
    return made(bench, f"models/{before.name}-{optimizer}", of, make)


def _distilled(bench: Workbench, teacher: Path, number_: int) -> Path:
    """A student of the small base, from the teacher's own answers on the training rows."""
    wanted = catalogue()[number_].train
    data, _ = prepared_file(bench, wanted.data if wanted else 0)
    student = bench.model_set.role("student_small", bench.first_task)
    name = f"{teacher.name}-distilled"
    own = {**bench.model_set.training.get("distill", {}), **dict(student.args)}
    options = {
        "model": student.name,
        "teacher": str(teacher),
        "name": name,
        "seed": bench.seed,
        "policies": bench.policies,
        **own,
    }

    def make(path: Path) -> Mapping[str, Any]:
        from guardeval.training_rows import read_training_file

        bench.registry.build("trainers", "distill", options).train(read_training_file(data), path)
        return {"name": name}

    of = {"options": options, "data": content_of(data), "teacher": content_of(teacher / MODEL_FILE)}
    return made(bench, f"models/{name}", of, make)[0]


def _timed(bench: Workbench, found: Findings, folders: Mapping[str, Path], task: str, limit_ms: float, least: float) -> None:
    from guardeval.benchmarking import BenchSettings
    from guardeval.benchmarking import bench as measure
    from guardeval.report.bench_tables import bench_tables

    card = read_model_folder(next(iter(folders.values())))
    settings = BenchSettings(
        model=tuple(ModelSpec(str(path)) for path in folders.values()),
        task=task,
        data=bench.data.of(task, bench.first_task),
        solver=str(card.get("solver") or "multistep"),
        solver_args=dict(card.get("solver_args") or {}),
        policies=bench.policies,
        concurrency=(1, 4),
        batch=(1, 16),
        lengths=(128, 512),
        n=min(50, bench.limit or 50),
        accuracy_floor=least,
        limit_ms=limit_ms,
        seed=bench.seed,
    )
    try:
        done = measure(settings, bench.registry, bench.say)
    except GuardevalError as e:
        raise Missing(f"{task}: speed: {e}") from e
    found.tables += bench_tables(done)
