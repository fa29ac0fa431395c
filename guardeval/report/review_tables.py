"""What people said about a run, as tables: coherent explanations, gold labels, failure categories, agreement."""

from __future__ import annotations

from collections.abc import Sequence

from guardeval.report.tables import Table, number
from guardeval.review.summary import Agreement, ReviewSummary
from guardeval.stats import Estimate

__all__ = ["review_tables"]

_LISTED = 20  # ids in a note
_AGAINST = "over samples that have both; labels given with the answer in sight may follow it"


def review_tables(summary: ReviewSummary) -> list[Table]:
    """The shares, and where two or more people reviewed, their agreement."""
    tables = [_shares(summary)]
    if summary.agreements:
        rows = tuple(map(_agreement_row, summary.agreements))
        note = "over samples that all of them answered; kappa is undefined where every answer is the same"
        columns = ("question", "reviewers", "kappa", "of", "same answer")
        tables.append(Table(f"agreement of reviewers ({summary.task})", columns, rows, (note,)))
    if summary.against:
        beside = tuple((*a.reviewers, a.question, _estimate(a.kappa), _estimate(a.same)) for a in summary.against)
        columns = ("reviewer", "beside", "which labels", "Cohen's kappa", "same answer")
        tables.append(Table(f"reviewers beside gold label and guard ({summary.task})", columns, beside, (_AGAINST,)))
    return tables


def _shares(summary: ReviewSummary) -> Table:
    rows = [
        ("reasoning is coherent", _estimate(summary.coherent)),
        *((f"reasoning of {name} is coherent", _estimate(e)) for name, e in summary.coherent_by_member.items()),
        ("gold label is wrong", _estimate(summary.label_error)),
        *((f"failure: {category}", _estimate(e)) for category, e in summary.categories.items()),
    ]
    return Table(f"review ({summary.task})", ("share of samples, by majority", "value"), tuple(rows), tuple(_notes(summary)))


def _notes(summary: ReviewSummary) -> list[str]:
    who = ", ".join(f"{name} {n}" for name, n in sorted(summary.reviewers.items()))
    notes = [f"{summary.n} samples reviewed ({who}); sets: {'; '.join(f'{how} ({n})' for how, n in summary.sets)}"]
    if not summary.represents_run:
        notes.append("named samples were not drawn at random: the shares hold for what was reviewed, not for the run")
    for what, ids in (
        ("gold label called wrong", list(summary.wrong_labels)),
        ("coherent: as many yes as no, in no share", summary.coherent_ties),
        ("coherent: nobody is sure, in no share", summary.coherent_unsure),
        ("gold label: as many for as against, in no share", summary.label_ties),
        ("category: no majority, in no share", summary.category_ties),
    ):
        if ids:
            notes.append(f"{what}: {_listed(ids)}")
    return notes


def _listed(ids: Sequence[str]) -> str:
    more = len(ids) - _LISTED
    return ", ".join(i[:40] for i in ids[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _agreement_row(found: Agreement) -> tuple[str, ...]:
    whose = "Cohen" if len(found.reviewers) == 2 else "Fleiss"
    return found.question, ", ".join(found.reviewers), _estimate(found.kappa), whose, _estimate(found.same)


def _estimate(e: Estimate) -> str:
    if e.value != e.value:
        return f"n/a n={e.n}"
    interval = f" [{number(e.low)}, {number(e.high)}]" if e.low == e.low else ""
    return f"{number(e.value)}{interval} n={e.n}"
