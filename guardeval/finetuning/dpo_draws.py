"""Hard samples for DPO: k draws of the current model, pairs where right and wrong answers mix, and each pair's weight.

The draws go through the broker and its cache, as a run's do: a training that was killed does not draw again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardeval.contracts import Asker, BatchModel, Case, Model, Solver
from guardeval.data import Judged, Sample, Target, Verdict, Voters
from guardeval.drawing import Redraw
from guardeval.errors import DataError
from guardeval.hard_draws import alphas, choose_pair, mixed_draws
from guardeval.judging import judge
from guardeval.panel import Member, ask_members
from guardeval.policies import PolicySet
from guardeval.training_rows import Pair, Split
from guardeval.voting import united

__all__ = ["Drawing", "HardPairs", "Question", "Tally", "hard_pairs"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How to draw and how to choose. The defaults are those of the paper's code."""

    k: int = 4
    temperature: float = 0.7
    top_p: float = 0.95
    seed: int = 0
    pair: str = "longest"
    gamma: float = 0.2

    @property
    def redraw(self) -> Redraw:
        """Raises :class:`ConfigError` for impossible settings."""
        return Redraw(self.k, self.temperature, self.seed, self.top_p)


@dataclass(frozen=True, slots=True)
class Question:
    """A labelled sample to draw answers to. ``about``: what its row says of itself, and its pair will."""

    sample: Sample
    target: Target
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the samples: right and wrong answers ``mixed``, all readable ones ``right`` or ``wrong``, or none."""

    mixed: int = 0
    right: int = 0
    wrong: int = 0
    unreadable: int = 0

    @property
    def drawn(self) -> int:
        return self.mixed + self.right + self.wrong + self.unreadable

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.mixed + other.mixed, self.right + other.right, self.wrong + other.wrong, self.unreadable + other.unreadable
        )

    def __str__(self) -> str:
        return (
            f"{self.drawn} samples drawn: {self.mixed} mixed, {self.right} all right, {self.wrong} all wrong, "
            f"{self.unreadable} without a readable answer"
        )


@dataclass(frozen=True, slots=True)
class HardPairs:
    """Pairs in the order of the questions, by target, and what became of the samples."""

    pairs: tuple[Pair, ...]
    tally: Tally


class _Draws:
    """Several draws of a solver, side by side, each kept as a vote."""

    def __init__(self, inner: Solver, redraw: Redraw) -> None:
        self._inner, self._redraw = inner, redraw

    async def solve(self, case: Case, model: Asker) -> Verdict:
        members = [Member(f"draw {i}", asker) for i, asker in enumerate(self._redraw.askers(model), 1)]
        return united(case.target, await ask_members(case, members, self._inner), Voters.DRAWS)


def hard_pairs(
    questions: Sequence[Question],
    policies: PolicySet,
    solver: Solver,
    model: Model | BatchModel,
    drawing: Drawing,
    cache: Path | None = None,
    each: Callable[[Judged], None] | None = None,
) -> HardPairs:
    """Pairs of all samples on which the draws of ``model`` are partly right and partly wrong; α is over all of them.

    Raises :class:`DataError` for a sample without gold label, and where no sample is mixed, with what to do about it.
    """
    unlabelled = [q.sample.id for q in questions if q.target not in q.sample.labels]
    if unlabelled:
        raise DataError(
            f"{len(unlabelled)} of {len(questions)} samples have no gold label, so no answer to them is right or wrong: "
            f"{', '.join(unlabelled[:3])}, …; leave them out"
        )
    solving = _Draws(solver, drawing.redraw)
    found: list[tuple[Pair, int]] = []
    tally = Tally()
    for target in dict.fromkeys(q.target for q in questions):
        mine = [q for q in questions if q.target is target]
        judged = judge([q.sample for q in mine], target, policies, solving, model, each=each, cache=cache)
        pairs, counts = _paired(mine, list(judged), drawing)
        found, tally = found + pairs, tally + counts
    if not found:
        raise DataError(f"no sample to learn from: {tally}; {_advice(tally)}")
    weighed = zip(found, alphas([weight for _, weight in found], drawing.gamma).tolist(), strict=True)
    return HardPairs(tuple(_weighted(pair, alpha) for (pair, _), alpha in weighed), tally)


def _paired(questions: Sequence[Question], judged: Sequence[Judged], drawing: Drawing) -> tuple[list[tuple[Pair, int]], Tally]:
    """The pairs with the number of wrong minus right draws of each."""
    said = [[(vote.label, vote.raw) for vote in j.verdict.votes] for j in judged]
    labels = [[-1 if label is None else int(label) for label, _ in one] for one in said]
    gold = [int(q.sample.labels[q.target]) for q in questions]
    mixed = mixed_draws(gold, labels)
    out: list[tuple[Pair, int]] = []
    for i, question in enumerate(questions):
        chosen = choose_pair(bool(gold[i]), said[i], drawing.pair, f"{drawing.seed}:{question.sample.id}")
        if chosen is not None:
            right, wrong = (text.rstrip() for text in chosen)
            about = {**question.about, "kind": "drawn", **_counts(labels[i], gold[i])}
            pair = Pair(question.sample, question.target, right, wrong, 1.0, Split.TRAIN, about)
            out.append((pair, int(mixed.weight[i])))
    readable = [[label == g for label in one if label >= 0] for one, g in zip(labels, gold, strict=True)]
    rights, unreadable = sum(bool(one) and all(one) for one in readable), sum(not one for one in readable)
    return out, Tally(len(out), rights, len(judged) - len(out) - rights - unreadable, unreadable)


def _counts(labels: Sequence[int], gold: int) -> dict[str, int]:
    right = sum(label == gold for label in labels)
    return {"k_correct": right, "k_incorrect": sum(label >= 0 for label in labels) - right}


def _weighted(pair: Pair, alpha: float) -> Pair:
    return Pair(pair.sample, pair.target, pair.chosen, pair.rejected, alpha, pair.split, pair.about)


def _advice(tally: Tally) -> str:
    if tally.unreadable * 2 > tally.drawn:
        return "train the format first (`guardeval train rsft`), or name the solver that the model was trained for"
    if tally.right > tally.wrong:
        return "the model knows these: draw more often (--k 8), hotter (--temperature 1.0), or take harder samples"
    return "the model gets these wrong however often it is asked: train it on traces first (`guardeval train rsft`)"
