"""What reviews say about a run: coherent explanations, wrong gold labels, failure categories, agreement of reviewers.

Several reviewers of one sample count once, by majority; a tie decides nothing and is listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from guardeval.errors import ConfigError, did_you_mean
from guardeval.review.against import Agreement, against_labels, agreement_of
from guardeval.review.marks import Coherent, Field, Mark, Marks
from guardeval.review.selection import DRAWN, run_identity
from guardeval.review.store import REVIEWS_FILE, Store
from guardeval.runs import StoredRun, TaskRecord, open_run
from guardeval.stats import Estimate, rate

__all__ = ["Agreement", "ReviewSummary", "review_summaries", "review_summary"]

_ASKED = (Field.MARK, Field.LABEL, Field.CATEGORY, Field.COHERENT)


@dataclass(frozen=True, slots=True)
class ReviewSummary:
    """Reviews of one task. Shares have Wilson (1927) intervals and count samples, not marks."""

    task: str
    sets: tuple[tuple[str, int], ...]  # how the samples were chosen, and how many
    reviewers: Mapping[str, int]  # samples each has reviewed
    n: int  # samples that somebody reviewed
    coherent: Estimate  # share of samples whose reasoning is coherent, by majority of yes and no
    coherent_ties: tuple[str, ...]  # samples with as many yes as no: in no share
    coherent_unsure: tuple[str, ...]  # samples of which nobody says yes or no
    coherent_by_member: Mapping[str, Estimate]
    wrong_labels: Mapping[str, tuple[str, ...]]  # sample id → reviewers who call its gold label wrong
    label_error: Estimate  # share of wrong gold labels among samples marked either way, by majority
    label_ties: tuple[str, ...]
    categories: Mapping[str, Estimate]  # share among samples with a category, by majority
    category_ties: tuple[str, ...]
    agreements: tuple[Agreement, ...]
    against: tuple[Agreement, ...] = ()  # own labels of each reviewer beside the gold label, and beside the guard's verdict

    @property
    def represents_run(self) -> bool:
        """Every set was drawn at random, so that shares hold for the run."""
        return all(how.startswith(DRAWN) for how, _ in self.sets)


def review_summary(folder: Path | str, task: str | None = None, db: Path | None = None) -> ReviewSummary | None:
    """The reviews of a run folder, None where there are none; ``task`` where several tasks have reviews.

    Raises :class:`DataError` for a database of another run, :class:`ConfigError` for several tasks and no name.
    """
    found = review_summaries(folder, db)
    names = [s.task for s in found]
    if task is None and len(found) > 1:
        raise ConfigError(f"{folder}: holds reviews of several tasks; name one{did_you_mean('', names)}")
    return next((s for s in found if task in (None, s.task)), None)


def review_summaries(
    folder: Path | str, db: Path | None = None, *, samples: Container[str] | None = None
) -> list[ReviewSummary]:
    """One summary for each task that has reviews; of these ``samples`` only, where they are given."""
    path = Path(folder).expanduser() if db is None else db
    if db is None and not (path / REVIEWS_FILE).is_file():
        return []
    run = open_run(folder, samples=False)
    store = open_reviews(run, db)
    if store is None:
        return []
    try:
        found = [_summary(store, task, samples) for task in run.tasks]
    finally:
        store.close()
    return [s for s in found if s is not None]


def open_reviews(run: StoredRun, db: Path | None = None) -> Store | None:
    """The reviews that lie in a run folder, or in another file; None where there is no such file."""
    return Store.existing(db or run.path / REVIEWS_FILE, run_identity(run), run.name)


def _summary(store: Store, record: TaskRecord, only: Container[str] | None) -> ReviewSummary | None:
    task = record.name
    marks = {key: m for key, m in store.marks(task).items() if (m.reviewed or m.members) and (only is None or key[0] in only)}
    if not marks:
        return None
    samples = list(dict.fromkeys(sample for sample, _ in marks))
    clusters = {i: m.cluster for i, m in store.reviewed_samples(task).items()}
    coherent, ties, unsure = _coherent({s: [m.coherent for m in _of(marks, s)] for s in samples})
    errors, label_ties = _majorities({s: [m.mark for m in _of(marks, s)] for s in samples})
    kinds, kind_ties = _majorities({s: [m.category for m in _of(marks, s)] for s in samples})
    return ReviewSummary(
        task=task,
        sets=tuple(store.sets(task)),
        reviewers=Counter(reviewer for (_, reviewer), m in marks.items() if m.reviewed),
        n=len({sample for (sample, _), m in marks.items() if m.reviewed}),
        coherent=coherent,
        coherent_ties=ties,
        coherent_unsure=unsure,
        coherent_by_member=_members(marks, samples),
        wrong_labels=_wrong(marks),
        label_error=rate(sum(v == Mark.WRONG_LABEL for v in errors.values()), len(errors)),
        label_ties=label_ties,
        categories={c: rate(k, len(kinds)) for c, k in Counter(kinds.values()).most_common()},
        category_ties=kind_ties,
        agreements=tuple(_agreements(marks, samples, clusters)),
        against=against_labels(store, record, marks),
    )


def _of(marks: Mapping[tuple[str, str], Marks], sample: str) -> list[Marks]:
    return [m for (own, _), m in marks.items() if own == sample]


def _wrong(marks: Mapping[tuple[str, str], Marks]) -> dict[str, tuple[str, ...]]:
    wrong: dict[str, tuple[str, ...]] = {}
    for (sample, reviewer), m in marks.items():
        if m.mark == Mark.WRONG_LABEL:
            wrong[sample] = (*wrong.get(sample, ()), reviewer)
    return wrong


def _majorities(said: Mapping[str, Sequence[str | None]]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What most reviewers say of each sample of which anybody says something; and the samples without a most."""
    most: dict[str, str] = {}
    ties = []
    for sample, values in said.items():
        counts = Counter(v for v in values if v is not None).most_common(2)
        if len(counts) == 2 and counts[0][1] == counts[1][1]:
            ties.append(sample)
        elif counts:
            most[sample] = counts[0][0]
    return most, tuple(ties)


def _coherent(said: Mapping[str, Sequence[str | None]]) -> tuple[Estimate, tuple[str, ...], tuple[str, ...]]:
    """Share of coherent samples; ties; those of which reviewers are only unsure. Unsure is no vote."""
    decided = {s: [v for v in values if v in (Coherent.YES, Coherent.NO)] for s, values in said.items()}
    most, ties = _majorities(decided)
    unsure = tuple(s for s, values in said.items() if not decided[s] and Coherent.UNSURE in values)
    return rate(sum(v == Coherent.YES for v in most.values()), len(most)), ties, unsure


def _members(marks: Mapping[tuple[str, str], Marks], samples: Sequence[str]) -> dict[str, Estimate]:
    names = dict.fromkeys(name for m in marks.values() for name in m.members or {})
    return {n: _coherent({s: [(m.members or {}).get(n) for m in _of(marks, s)] for s in samples})[0] for n in names}


def _agreements(
    marks: Mapping[tuple[str, str], Marks], samples: Sequence[str], clusters: Mapping[str, int]
) -> Iterable[Agreement]:
    """Pairs of reviewers, then all of them where they are three or more; questions that nobody answered are left out."""
    reviewers = sorted({reviewer for _, reviewer in marks})
    groups = [*combinations(reviewers, 2), *([tuple(reviewers)] if len(reviewers) > 2 else [])]
    drawn_together = [clusters[s] for s in samples]
    for question in _ASKED:
        said = {r: [getattr(marks.get((s, r), Marks()), question) for s in samples] for r in reviewers}
        answering = {r for r in reviewers if any(v is not None for v in said[r])}
        for group in groups:
            if len(answering.intersection(group)) < 2:
                continue
            ratings = [said[r] for r in group]
            yield agreement_of(question, group, ratings, drawn_together)
