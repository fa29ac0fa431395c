"""Failures of a run as tables: modes, what is typical of each, where, which policies are confused, examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from guardeval.data import Judged
from guardeval.error_sample import ErrorSample
from guardeval.failures import (
    MARGIN,
    CategoryRates,
    Mode,
    ModeShare,
    PolicyConfusion,
    Typical,
    mode_shares,
    modes,
    policy_confusion,
    rates_by_category,
    typical_ngrams,
)
from guardeval.judged import OUTCOMES, Judgements
from guardeval.report.plain import clipped, printable
from guardeval.report.tables import Table, number
from guardeval.runs import StoredRun
from guardeval.stats import Estimate

__all__ = ["clip", "drawn_table", "examples_of", "failure_tables", "is_redacted", "run_failures"]

_MOST_CATEGORIES = 30
_CHARACTERS = 100  # of a text in a table


def clip(text: str, columns: int = _CHARACTERS) -> str:
    """The beginning of a text on one line, without control characters."""
    return clipped(printable(" ".join(text[: 8 * columns].split())), columns)


def is_redacted(run: StoredRun) -> bool:
    return bool(run.record.get("redact"))


def run_failures(run: StoredRun, margin: float = MARGIN) -> Iterator[tuple[str, list[Table]]]:
    """Heading and tables of each task of a run."""
    for task in run.tasks:
        yield f"failures: {task.name} ({task.target})", failure_tables(task.judgements(), margin, redacted=is_redacted(run))


def failure_tables(
    judged: Judgements, margin: float = MARGIN, *, top: int = 8, examples: int = 3, redacted: bool = False
) -> list[Table]:
    """All tables of one task. Nothing of a text stands in those of a redacted run."""
    shares = mode_shares(judged, margin)
    tables = [_modes(judged, shares, margin)]
    if redacted:
        tables.append(Table("typical words", ("mode",), (), ("the run is redacted: it holds no text",)))
    else:
        tables.append(_typical(typical_ngrams(judged, margin, top)))
    tables += [*_categories(rates_by_category(judged)), *_confusion(policy_confusion(judged), judged)]
    tables.append(_examples(judged, margin, examples, redacted))
    return [t for t in tables if t.rows or t.notes]


def _estimate(e: Estimate) -> str:
    text = number(e.value)
    return text if text == "n/a" else f"{text} [{number(e.low)}, {number(e.high)}]"


def _modes(judged: Judgements, shares: Sequence[ModeShare], margin: float) -> Table:
    rows = tuple((s.mode.value, str(s.count), _estimate(s.share), str(s.share.n), s.whole, str(s.misjudged)) for s in shares)
    missing = np.bincount(judged.outcome[(judged.gold >= 0) & (judged.label < 0)], minlength=len(OUTCOMES))
    silent = [f"{count} {outcome}" for outcome, count in zip(OUTCOMES, missing.tolist(), strict=True) if count]
    notes = [f"edge case: |2·score − 1| < {margin:g}, or a split vote; it may be one of the others, or judged right"]
    notes += [f"unreadable: {', '.join(silent)}"] if silent else []
    columns = ("mode", "samples", "share", "n", "of", "misjudged")
    return Table("modes of failure", columns, rows, tuple(notes))


def _typical(found: dict[Mode, tuple[Typical, ...]]) -> Table:
    rows = tuple(
        (mode.value, clip(t.ngram, 50), f"{t.in_group} of {t.group}", f"{t.in_rest} of {t.rest}", number(t.z, 1))
        for mode, ngrams in found.items()
        for t in ngrams
    )
    note = "texts that hold the words, in the mode and in the other samples that could have been of it (Monroe et al. 2008); "
    note += (
        "the highest z of many: where to look, not a test" if rows else "none stands out (z above 1.96, three texts or more)"
    )
    return Table("typical words", ("mode", "words", "in the mode", "in the rest", "z"), rows, (note,))


def _categories(rates: Sequence[CategoryRates]) -> Iterator[Table]:
    if not any(r.category is not None for r in rates):
        return
    worst = sorted(rates, key=lambda r: (-_or_less(r.overflagging.value), -_or_less(r.underflagging.value)))
    rows = tuple(
        (clip(r.category or "(no category)", 60), *_both(r.overflagging), *_both(r.underflagging))
        for r in worst[:_MOST_CATEGORIES]
    )
    left = len(worst) - len(rows)
    notes = (f"{left} more categories with less over-flagging",) if left > 0 else ()
    columns = ("category", "over-flagged", "negatives", "missed", "positives")
    yield Table("failures by category (samples with a verdict)", columns, rows, notes)


def _or_less(value: float) -> float:
    return value if value == value else -1.0


def _both(e: Estimate) -> tuple[str, str]:
    return _estimate(e), str(e.n)


def _confusion(found: PolicyConfusion, judged: Judgements) -> Iterator[Table]:
    if not (judged.known_policies[judged.gold >= 0] != 0).any():
        return
    used = found.counts.sum(axis=0) > 0
    rows = tuple(
        (name, *(str(c) for c in counts[used].tolist()), str(int(counts.sum())))
        for name, counts in zip(found.rows, found.counts, strict=True)
        if counts.any()
    )
    columns = ("gold", *(c for c, shown in zip(found.columns, used.tolist(), strict=True) if shown), "samples")
    note = "each labelled sample once; columns and rows without a sample are left out"
    yield Table("policies: gold (rows) and named (columns)", columns, rows, (note,))


def examples_of(judged: Judgements, mode: Mode, n: int, margin: float = MARGIN) -> list[int]:
    """Places of ``n`` samples of a mode: the guard surest of itself first (of edge cases the least sure), then as in the
    source; samples without a score last."""
    at = np.flatnonzero(modes(judged, margin)[mode])
    sure = np.nan_to_num(np.abs(judged.score[at] - 0.5), nan=1.0 if mode is Mode.EDGE else -1.0)
    return [int(i) for i in at[np.argsort(sure if mode is Mode.EDGE else -sure, kind="stable")][:n]]


def _examples(judged: Judgements, margin: float, n: int, redacted: bool) -> Table:
    chosen = [(mode, i) for mode in Mode for i in examples_of(judged, mode, n, margin)]
    if redacted:
        id_rows = tuple((mode.value, judged.ids[i], number(judged.score[i], 2)) for mode, i in chosen)
        return Table("examples", ("mode", "sample", "score"), id_rows, ("the run is redacted: ids only",))
    rows = tuple((mode.value, judged.ids[i], *_said(judged[i])) for mode, i in chosen)
    return Table("examples", ("mode", "sample", "score", "verdict", "gold", "text"), rows)


def _said(one: Judged) -> tuple[str, ...]:
    verdict, sample = one.verdict, one.sample
    gold = sample.labels.get(verdict.target)
    word = verdict.outcome.value if verdict.label is None else verdict.target.word(verdict.label)
    said = ": ".join(filter(None, (word, ", ".join(sorted(verdict.policies)))))
    truth = ": ".join(filter(None, ("" if gold is None else verdict.target.word(gold), ", ".join(sorted(sample.policies)))))
    score = "" if verdict.score is None else number(verdict.score, 2)
    return score, said, truth, clip(sample.prompt if sample.response is None else sample.response)


def drawn_table(sample: ErrorSample, task: str) -> Table:
    """How many of each mode there were and were drawn, and what each drawn one stands for."""
    rows = [(m.mode.value, str(m.there), str(m.drawn), number(m.weight, 2)) for m in sample.modes]
    if len(rows) > 1:
        rows.append(("all", str(sample.there), str(len(sample.places)), ""))
    notes = ["weight: samples that one drawn sample of the mode stands for; inside a mode every sample had the same chance"]
    if any(m.weight != m.weight for m in sample.modes):
        notes.append("n/a: too few were drawn for one of this mode; draw more, or it alone with --mode")
    return Table(f"{task}: samples to review", ("mode", "there", "drawn", "weight"), tuple(rows), tuple(notes))
