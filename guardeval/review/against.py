"""Reviewers' own labels beside the gold label and beside the guard's verdict: agreement of each reviewer with both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from guardeval.agreement import kappa_estimate
from guardeval.data import Judged
from guardeval.review.marks import Marks
from guardeval.review.selection import check_texts
from guardeval.review.store import Store
from guardeval.runs import TaskRecord
from guardeval.stats import Estimate, rate

__all__ = ["Agreement", "against_labels", "agreement_of"]

GOLD, GUARD = "gold label", "guard's verdict"
_HOW = {True: "own label, blind", False: "own label, answer seen"}
Said = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Kappa on one question between these raters, over the samples that all of them answered: Cohen's for two, Fleiss'
    for more. ``same``: share of those samples on which all said the same.
    """

    question: str
    reviewers: tuple[str, ...]
    kappa: Estimate
    same: Estimate


def agreement_of(question: str, raters: tuple[str, ...], ratings: Sequence[Said], clusters: Sequence[int]) -> Agreement:
    """``ratings[r][i]``: what rater ``r`` says of sample ``i``, None = nothing; ``clusters``: equal for equal prompts."""
    both = [set(values) for values in zip(*ratings, strict=True) if None not in values]
    return Agreement(question, raters, kappa_estimate(ratings, clusters), rate(sum(len(v) == 1 for v in both), len(both)))


def against_labels(store: Store, task: TaskRecord, marks: Mapping[tuple[str, str], Marks]) -> tuple[Agreement, ...]:
    """Labels that reviewers gave blind, and those given with the answer in sight, apart: the latter may follow it.

    Samples without a gold label or without a verdict are left out of the agreement with it. Nothing where nobody gave a
    label, or where the samples file is gone. Raises :class:`DataError` where it holds other texts than were reviewed.
    """
    labelled = {sample for (sample, _), m in marks.items() if m.label is not None}
    if not labelled or not task.samples.is_file():
        return ()
    judged = {j.sample.id: j for j, _ in task.lines() if j.sample.id in labelled}
    known = store.reviewed_samples(task.name)
    check_texts(store.path, (known[s] for s in labelled), judged.values())
    samples = [s for s in known if s in judged]
    return tuple(_rows(samples, judged, marks, [known[s].cluster for s in samples]))


def _rows(
    samples: Sequence[str], judged: Mapping[str, Judged], marks: Mapping[tuple[str, str], Marks], clusters: Sequence[int]
) -> Iterator[Agreement]:
    others = {GOLD: [_gold(judged[s]) for s in samples], GUARD: [_verdict(judged[s]) for s in samples]}
    for reviewer in sorted({r for (_, r), m in marks.items() if m.label is not None}):
        for blind, question in _HOW.items():
            own = _labels(samples, reviewer, marks, blind)
            if any(own):
                for name, said in others.items():
                    yield agreement_of(question, (reviewer, name), [own, said], clusters)


def _labels(samples: Iterable[str], reviewer: str, marks: Mapping[tuple[str, str], Marks], blind: bool) -> list[str | None]:
    said = [marks.get((s, reviewer), Marks()) for s in samples]
    return [m.label if m.blind is blind else None for m in said]


def _gold(judged: Judged) -> str | None:
    target, gold = judged.verdict.target, judged.sample.labels.get(judged.verdict.target)
    return None if gold is None else target.word(gold)


def _verdict(judged: Judged) -> str | None:
    return None if judged.verdict.label is None else judged.verdict.target.word(judged.verdict.label)
