"""A comparison as tables: differences with intervals and tests, and which samples flipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from guardeval.compare import Comparison, Difference, Flip, Pair
from guardeval.compare_runs import RunsComparison, TaskComparison
from guardeval.data import Judged
from guardeval.flipped import FlippedSamples
from guardeval.judged import Judgements
from guardeval.report.failures import clip, is_redacted
from guardeval.report.tables import Table, number
from guardeval.runs import StoredRun, open_run

__all__ = ["comparison_tables", "flip_tables"]


def comparison_tables(found: RunsComparison) -> list[Table]:
    """A summary where there is more than one pair, then two tables a pair: metrics, and which samples flipped."""
    pairs = [(task, pair) for task in found.tasks for pair in _pairs(task)]
    tables = [_summary(found, pairs)] if len(found.names) > 2 or len(found.tasks) > 1 else []
    for task in found.tasks:
        tables += _not_applicable(found, task)
        for pair in _pairs(task):
            assert task.comparison is not None  # noqa: S101  # it has the pair
            tables += [
                _differences(task.task, task.comparison, pair),
                *_clean(task, pair),
                _flips(task.comparison.reference, pair),
            ]
    return tables


def _pairs(task: TaskComparison) -> tuple[Pair, ...]:
    return task.comparison.pairs if task.comparison is not None else ()


def _summary(found: RunsComparison, pairs: list[tuple[TaskComparison, Pair]]) -> Table:
    rows = []
    for task, pair in pairs:
        tested = next(d for d in pair.differences if d.p_value is not None)
        f1, over = (next(d for d in pair.differences if d.metric == m) for m in ("f1", "overflagging"))
        cells = (_change(tested), _p(tested.p_value), _p(tested.p_adjusted), _change(f1), _change(over))
        rows.append((task.task, pair.name, str(pair.n), *cells))
    for task in found.tasks:
        rows += [(task.task, name, "", f"not applicable: {why}", "", "", "", "") for name, why in task.not_applicable.items()]
    columns = ("task", "run", "n", "accuracy", "p", "p adjusted", "f1", "overflagging")
    return Table(f"summary: differences from {found.names[0]}", columns, tuple(rows), tuple(_correction(found.tests)))


def _correction(tests: int) -> Iterator[str]:
    if tests > 1:
        yield f"p adjusted over {tests} tests by Holm (1979)"


def _not_applicable(found: RunsComparison, task: TaskComparison) -> Iterator[Table]:
    if not task.not_applicable:
        return
    rows = tuple((name, f"not applicable: {why}") for name, why in task.not_applicable.items())
    note = (
        "the same model as the reference's, and it only classifies: it never reads the prompt, so another solver or other "
        "policies cannot change its verdicts"
    )
    yield Table(f"{task.task}: against {found.names[0]}", ("run", "comparison"), rows, (note,))


def _differences(task: str, comparison: Comparison, pair: Pair) -> Table:
    rows = tuple(_row(d) for d in pair.differences)
    provisional = ", provisional" if pair.provisional else ""
    title = (
        f"{task}: {pair.name} against {comparison.reference} ({comparison.accounting}{provisional}), {pair.n} shared samples"
    )
    columns = ("metric", "n", comparison.reference, pair.name, "difference", "test", "p", "p adjusted")
    return Table(title, columns, rows, tuple(_notes(comparison, pair)))


def _clean(task: TaskComparison, pair: Pair) -> Iterator[Table]:
    """The same pair without the samples that a model knew from training."""
    if not task.seen and not task.untold:
        return
    title = f"{task.task}: {pair.name} on the clean subset"
    if task.clean is None:
        note = "a model of these runs has seen every shared sample in training"
        if task.untold:
            note = "a model was trained on rows made from this benchmark, of which samples cannot be told: none counts as clean"
        yield Table(title, ("", "comparison"), ((pair.name, "n/a"),), (note,))
        return
    table = _differences(task.task, task.clean, next(p for p in task.clean.pairs if p.name == pair.name))
    note = f"contaminated: without the {task.seen} samples that a model of these runs has seen in training; tests of their own"
    yield replace(table, title=f"{table.title}: clean subset", notes=(*table.notes, note))


def _notes(comparison: Comparison, pair: Pair) -> Iterator[str]:
    if pair.provisional:
        yield "provisional: some shared samples were never heard"
    if pair.detectable > 0:
        yield f"a difference in accuracy of {number(pair.detectable)} or more would be found 4 times in 5"
    yield from _correction(comparison.tests)
    if pair.prompts < pair.n:
        yield f"{pair.prompts} different prompts: samples of one prompt are resampled and tested together"
    if pair.only_reference or pair.only_other:
        yield f"left out: {pair.only_reference} samples only {comparison.reference} has, {pair.only_other} only {pair.name} has"
    if pair.left_out:
        yield f"left out: {pair.left_out} shared samples without a label, or without a verdict in one of the runs"


def _row(d: Difference) -> tuple[str, ...]:
    values = (_value(d.reference, d.reference_ci), _value(d.other, d.other_ci))
    return (d.metric, str(d.n), *values, _change(d), d.test or "", _p(d.p_value), _p(d.p_adjusted))


def _value(value: float, interval: tuple[float, float]) -> str:
    text = number(value)
    return text if text == "n/a" else f"{text} [{number(interval[0])}, {number(interval[1])}]"


def _change(d: Difference) -> str:
    text = number(d.difference, sign="+")
    return text if text == "n/a" else f"{text} [{number(d.low, sign='+')}, {number(d.high, sign='+')}]"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    if value != value:
        return "n/a"
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _flips(reference: str, pair: Pair) -> Table:
    rows = tuple((f.gold, f.before, f.after, _what(f.right_before, f.right_after), str(f.n)) for f in pair.flips)
    summary = ", ".join(f"{k} {v}" for k, v in pair.matrix.items())
    effect = f"odds ratio of gained to lost {number(pair.odds_ratio, 2)}, Cohen's g {number(pair.cohens_g, 2, '+')}"
    return Table(f"flips from {reference} to {pair.name}", ("gold", "before", "after", "", "samples"), rows, (summary, effect))


def _what(before: bool, after: bool) -> str:
    if before == after:
        return "" if after else "wrong in both"
    return "gained" if after else "lost"


def flip_tables(found: RunsComparison, most: int) -> Iterator[Table]:
    """The samples behind each cell of the flip matrices in which the runs said different things, ``most`` a cell."""
    runs = dict(zip(found.names, (open_run(f) for f in found.folders), strict=True))
    for task in found.tasks:
        for pair in _pairs(task):
            reference, other = runs[found.names[0]], runs[pair.name]
            behind = FlippedSamples(*(_judgements(run, task.task) for run in (reference, other)))
            redacted = is_redacted(reference) or is_redacted(other)
            for flip in (f for f in pair.flips if f.ids):
                yield _behind(task.task, pair.name, flip, behind, most, redacted)


def _judgements(run: StoredRun, task: str) -> Judgements:
    return next(t for t in run.tasks if t.name == task).judgements()


def _behind(task: str, name: str, flip: Flip, behind: FlippedSamples, most: int, redacted: bool) -> Table:
    what = _what(flip.right_before, flip.right_after)
    title = f"{task}, {name}: {flip.gold}, {flip.before} → {flip.after}{f' ({what})' if what else ''}"
    notes = (f"{flip.n - most} more; --json writes all ids",) if flip.n > most else ()
    if redacted:
        return Table(title, ("sample",), tuple((id_,) for id_ in flip.ids[:most]), (*notes, "redacted: no text"))
    rows = tuple(_flipped(before, after) for before, after in behind.of(flip, most))
    return Table(title, ("sample", "score before", "score after", "policies before", "policies after", "text"), rows, notes)


def _flipped(before: Judged, after: Judged) -> tuple[str, ...]:
    scores = ("" if j.verdict.score is None else number(j.verdict.score, 2) for j in (before, after))
    named = (", ".join(sorted(j.verdict.policies)) for j in (before, after))
    sample = before.sample
    return (sample.id, *scores, *named, clip(sample.prompt if sample.response is None else sample.response))
