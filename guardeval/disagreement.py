"""How far the members of an ensemble, or the draws of one model, are apart on each sample.

D(x) = Σ over pairs i < j of |P(θi) − P(θj)|, for any number of members. A member that was not heard: the mean over the heard
pairs times the number of all pairs. Fewer than two heard: no value, listed apart. A heard member without a probability:
every member counts as 0 or 1, its label, on that sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guardeval.data import Verdict, Voters
from guardeval.errors import DataError

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = ["SIDE_BY_SIDE", "Disagreement", "disagreement", "positions", "runs_matrix", "votes_matrix", "votes_of"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]

SIDE_BY_SIDE = (Voters.MODELS, Voters.DRAWS)  # only who answers one question side by side can disagree
_DIGITS = 12  # so that disagreements that are equal stay equal, in whatever order they were summed


@dataclass(frozen=True, slots=True)
class Disagreement:
    """``values`` (n,): D, from 0 to ⌊m/2⌋·⌈m/2⌉ for m members, nan where ``apart`` (fewer than two were heard).

    ``substituted`` (n,): members counted as 0 or 1, for one that was heard gave no probability. ``pairs``: pairs of members
    over all samples; ``pairs_with_both``: those of which both were heard with a probability.
    """

    values: Floats
    apart: NDArray[np.bool_]
    substituted: NDArray[np.bool_]
    pairs: int
    pairs_with_both: int

    @property
    def share_with_both(self) -> float:
        """Share of all pairs in which both gave a probability; nan where there is no pair."""
        return self.pairs_with_both / self.pairs if self.pairs else float("nan")


def counted(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """What each member counts as, (n, m), nan where it was not heard; and the samples on which all count as 0 or 1."""
    said: NDArray[Any] = np.asarray(labels)
    heard: NDArray[np.bool_] = np.asarray(said >= 0)
    probability = np.where(heard, np.asarray(scores, float), np.nan)
    substituted: NDArray[np.bool_] = np.asarray((heard & np.isnan(probability)).any(axis=1))
    as_labels = np.where(heard, said, np.nan)
    return np.where(substituted[:, None], as_labels, probability), substituted


def disagreement(scores: ArrayLike, labels: ArrayLike) -> Disagreement:
    """Of n samples and m members: ``scores`` (n, m) is P(positive), nan = none; ``labels`` 1, 0, or -1 not heard.

    O(n · m log m): with the heard values sorted, each gap between neighbours counts once for every pair that it separates.
    The order of members and of samples does not matter. Raises :class:`ValueError` for shapes that differ.
    """
    scores, labels = np.asarray(scores, float), np.asarray(labels)
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape}: two arrays (samples, members) are wanted")
    n, m = scores.shape
    values, substituted = counted(scores, labels)
    ordered = np.sort(values, axis=1)  # nan goes last
    heard = (labels >= 0).sum(axis=1)
    gaps = np.nan_to_num(np.diff(ordered, axis=1), nan=0.0)
    below = np.arange(1, m)
    total = (gaps * below * np.maximum(heard[:, None] - below, 0)).sum(axis=1)
    heard_pairs = heard * (heard - 1) // 2
    all_pairs = m * (m - 1) // 2
    apart = heard < 2
    scaled = np.where(heard == m, total, total / np.maximum(heard_pairs, 1) * all_pairs)
    with_both = ((labels >= 0) & ~np.isnan(scores)).sum(axis=1)
    both = int((with_both * (with_both - 1) // 2).sum())
    return Disagreement(np.where(apart, np.nan, scaled.round(_DIGITS)), apart, substituted, n * all_pairs, both)


# ---- who said what ----


def votes_of(verdict: Verdict) -> list[tuple[str, bool | None, float | None]]:
    """Member, label and score of the votes cast side by side; draws of one name are told apart by a number."""
    if verdict.voters not in SIDE_BY_SIDE:
        return []
    return [
        (name, v.label, v.score) for name, v in zip(numbered([v.member for v in verdict.votes]), verdict.votes, strict=True)
    ]


def numbered(names: Sequence[str]) -> list[str]:
    """The names, a later one of equal names with its number: ``a``, ``a 2``, ``a 3``."""
    if len(set(names)) == len(names):
        return list(names)
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        seen[name] += 1
        out.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return out


def votes_matrix(judged: Judgements) -> tuple[tuple[str, ...], Floats, Labels]:
    """Members, scores (n, m) and labels (n, m) of a run whose samples hold votes of models or draws; m = 0 where none does.

    Members in the order in which they first voted. A member without a vote on a sample was not heard there.
    """
    at: dict[str, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    labels: list[int] = []
    scores: list[float] = []
    for i, one in enumerate(judged if judged.members.any() else ()):
        for name, label, score in votes_of(one.verdict):
            rows.append(i)
            columns.append(at.setdefault(name, len(at)))
            labels.append(-1 if label is None else label)
            scores.append(np.nan if score is None else score)
    said = np.full((len(judged), len(at)), -1, np.int8)
    probability = np.full((len(judged), len(at)), np.nan)
    said[rows, columns], probability[rows, columns] = labels, scores
    return tuple(at), probability, said


def runs_matrix(runs: Sequence[Judgements]) -> tuple[tuple[str, ...], Floats, Labels]:
    """Ids of the samples that all runs hold, in the first one's order, with scores (n, m) and labels (n, m), a column a run.

    Raises :class:`DataError` where an id stands twice in a run, or where runs differ about a sample's prompt or gold label.
    """
    shared, at = positions(runs)
    scores = np.column_stack([run.score[i] for run, i in zip(runs, at, strict=True)])
    labels = np.column_stack([run.label[i] for run, i in zip(runs, at, strict=True)])
    return shared, scores, labels


def positions(runs: Sequence[Judgements]) -> tuple[tuple[str, ...], list[NDArray[np.int64]]]:
    """Shared ids, and where they stand in each run. Raises as :func:`runs_matrix`."""
    places = [{id_: i for i, id_ in enumerate(run.ids)} for run in runs]
    for run, place in zip(runs, places, strict=True):
        if len(place) < len(run):
            twice = Counter(run.ids).most_common(1)[0][0]
            raise DataError(f"sample id {twice!r} stands more than once in a run: ids must be unique to match samples")
    shared = tuple(id_ for id_ in runs[0].ids if all(id_ in p for p in places[1:]))
    at = [np.array([p[id_] for id_ in shared], np.int64) for p in places]
    first, where = runs[0], at[0]
    for run, i in zip(runs[1:], at[1:], strict=True):
        facts: tuple[tuple[str, NDArray[Any], NDArray[Any]], ...] = (
            ("prompt", first.cluster[where], run.cluster[i]),
            ("gold label", first.gold[where], run.gold[i]),
        )
        for what, mine, theirs in facts:
            differ = np.flatnonzero(mine != theirs)
            if len(differ):
                raise DataError(
                    f"two runs disagree on the {what} of {len(differ)} of {len(shared)} shared samples, first "
                    f"{shared[int(differ[0])]!r}: they did not run on the same data"
                )
    return shared, at
