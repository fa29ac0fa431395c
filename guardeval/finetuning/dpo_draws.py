"""Hard samples for DPO: k draws of the current model, pairs where right and wrong answers mix, and each pair's weight.

The draws go through the broker and its cache, as a run's do: a training that was killed does not draw again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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

__all__ = ["Drawing", "HardPairs", "hard_pairs"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How to draw and how to choose. The defaults are those of the paper's code."""

    k: int = 4
    temperature: float = 0.7
    top_p: float = 0.95
    seed: int = 0
    pair: str = "longest"
    gamma: float = 0.2


@dataclass(frozen=True, slots=True)
class HardPairs:
    """``pairs``, and what became of the samples: of ``drawn``, all readable draws ``right`` or ``wrong``, or none readable."""

    pairs: tuple[Pair, ...]
    drawn: int
    right: int
    wrong: int
    unreadable: int

    def __str__(self) -> str:
        return (
            f"{self.drawn} samples drawn: {len(self.pairs)} mixed, {self.right} all right, {self.wrong} all wrong, "
            f"{self.unreadable} without a readable answer"
        )


class _Draws:
    """Several draws of a solver, side by side, each kept as a vote."""

    def __init__(self, inner: Solver, redraw: Redraw) -> None:
        self._inner, self._redraw = inner, redraw

    async def solve(self, case: Case, model: Asker) -> Verdict:
        askers = self._redraw.askers(model)
        members = [Member(f"draw {i}", asker) for i, asker in enumerate(askers, 1)]
        return united(case.target, await ask_members(case, members, self._inner), Voters.DRAWS)


def hard_pairs(
    samples: Sequence[Sample],
    target: Target,
    policies: PolicySet,
    solver: Solver,
    model: Model | BatchModel,
    drawing: Drawing,
    cache: Path | None = None,
    each: Callable[[Judged], None] | None = None,
) -> HardPairs:
    """Pairs of all samples on which the draws of ``model`` are partly right and partly wrong, in the samples' order.

    Samples without a gold label for ``target`` are refused. Raises :class:`DataError` where no sample is mixed.
    """
    unlabelled = sum(target not in s.labels for s in samples)
    if unlabelled:
        raise DataError(f"{unlabelled} of {len(samples)} samples have no gold label for {target}: no draw of them is right")
    redraw = Redraw(drawing.k, drawing.temperature, drawing.seed, drawing.top_p)
    judged = judge(samples, target, policies, _Draws(solver, redraw), model, each=each, cache=cache)
    found = _paired(list(judged), target, drawing)
    if not found.pairs:
        raise DataError(f"no sample to learn from: {found}; {_advice(found)}")
    return found


def _paired(judged: Sequence[Judged], target: Target, drawing: Drawing) -> HardPairs:
    votes = [[(v.label, v.raw) for v in j.verdict.votes] for j in judged]
    labels = [[-1 if label is None else int(label) for label, _ in one] for one in votes]
    gold = [int(j.sample.labels[target]) for j in judged]
    mixed = mixed_draws(gold, [_filled(one, drawing.k) for one in labels])
    hard = [i for i in range(len(judged)) if mixed.hard[i]]
    pairs = []
    for i, alpha in zip(hard, alphas(mixed.weight[hard], drawing.gamma), strict=True):
        sample = judged[i].sample
        chosen = choose_pair(bool(gold[i]), votes[i], drawing.pair, f"{drawing.seed}:{sample.id}")
        if chosen is not None:
            right, wrong = (text.rstrip() for text in chosen)
            pairs.append(Pair(sample, target, right, wrong, float(alpha), Split.TRAIN, {"kind": "drawn", **_counts(labels[i], gold[i])}))
    readable = [[x for x in one if x >= 0] for one in labels]
    rights = sum(bool(r) and all(x == g for x in r) for r, g in zip(readable, gold, strict=True))
    wrongs = sum(bool(r) and all(x != g for x in r) for r, g in zip(readable, gold, strict=True))
    return HardPairs(tuple(pairs), len(judged), rights, wrongs, sum(not r for r in readable))


def _filled(labels: Sequence[int], k: int) -> list[int]:
    return [*labels, *[-1] * (k - len(labels))]  # a model that only classifies is asked once


def _counts(labels: Sequence[int], gold: int) -> dict[str, int]:
    right = sum(x == gold for x in labels)
    return {"k_correct": right, "k_incorrect": sum(x >= 0 for x in labels) - right}


def _advice(found: HardPairs) -> str:
    if found.unreadable * 2 > found.drawn:
        return "train the format first (`guardeval train rsft`), or draw with the solver that the model was trained for"
    if found.right > found.wrong:
        return "the model knows these: draw more often (--k 8), hotter (--temperature 1.0), or take harder samples"
    return "the model gets these wrong however often it is asked: train it on traces first (`guardeval train rsft`)"
