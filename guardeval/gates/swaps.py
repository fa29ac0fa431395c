"""The joint test of all checks: verdicts of the two models swapped prompt by prompt, in all tasks and metrics at once.

Under the null of a rerun the two verdicts on a prompt could as well have come in the other order. Swapping them at random
gives the joint law of all losses under that null, however the checks overlap, and the largest of their standardised losses
(max-T) gives a critical value that all checks share: fewer false alarms than each alone, more power than Bonferroni or Holm.
Step-down as in Westfall & Young (1993), algorithm 2.8; the observed arrangement counts as one of the draws, so that the
family-wise error is at most alpha at any number of draws and samples, exactly, where tolerances are 0 and verdicts are
exchangeable: as many are lost as are gained, of each sort.

Where two models err alike in sum but not in kind (recall and over-flagging both lower, F1 the same), verdicts are not
exchangeable, and F1 varies by more than swaps show. So a loss is measured by its standard error where that is the larger: it
can only take a loss further from significance, so what holds of reruns still does. Of trades it holds for many samples.

A tolerance is subtracted from the observed loss alone. Losses beyond gains only widen the law of the swaps, which is
symmetric about 0, so the shifted test errs towards passing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardeval.gates.measures import Measure, cells, formula, loss_sign
from guardeval.gates.pairs import TaskPair
from guardeval.gates.sampling import covariance, influence

__all__ = ["Counts", "Tested", "counts_of", "joint_test", "losses", "step_down"]

Floats = NDArray[np.float64]
_CELLS = 1 << 21  # numbers held at once while drawing
_SLACK = 1e-9  # of standardised losses: ties are ties, whatever the order of additions


@dataclass(frozen=True, slots=True)
class Counts:
    """B measures: totals of both models, (B, 4) each, and what a swap changes. ``change`` (kinds, B, 4) is after − before of
    one prompt; ``prompts`` counts the prompts of each kind. Prompts on which nothing changed are in no kind. ``covariance``
    (B, B): of the differences over other samples of the kind."""

    measures: tuple[Measure, ...]
    before: Floats
    after: Floats
    change: Floats
    prompts: NDArray[np.int64]
    covariance: Floats


@dataclass(frozen=True, slots=True)
class Tested:
    """Of C checks: loss (positive is worse), its spread under swaps, p alone and p adjusted for all that are ``tested``."""

    loss: Floats
    spread: Floats
    p: Floats
    adjusted: Floats
    critical: float  # standardised loss that a first rejection takes: the 1 − alpha quantile of the largest under swaps


def counts_of(pairs: Sequence[TaskPair], measures: Sequence[Measure], accounting: str) -> Counts:
    """Totals and changes of all measures; a prompt that stands in several tasks is swapped in all of them."""
    b = len(measures)
    before, after = np.zeros((b, 4)), np.zeros((b, 4))
    changes, prompts, parts = [], [], []
    for pair in pairs:
        mine = [i for i, m in enumerate(measures) if m.task == pair.name]
        if not mine:
            continue
        first, second = (
            np.stack([cells(measures[i], pair, said, accounting) for i in mine], axis=1) for said in (pair.before, pair.after)
        )
        parts.append(influence(mine, [measures[i].metric for i in mine], pair.cluster, first, second))
        before[mine], after[mine] = first.sum(axis=0), second.sum(axis=0)
        changed = np.flatnonzero((first != second).any(axis=(1, 2)))
        change = np.zeros((len(changed), b, 4))
        change[:, mine] = second[changed] - first[changed]
        changes.append(change)
        prompts.append(pair.cluster[changed])
    return Counts(tuple(measures), before, after, *_by_kind(changes, prompts, b), covariance(parts, b))


def _by_kind(changes: Sequence[Floats], prompts: Sequence[NDArray[np.int64]], b: int) -> tuple[Floats, NDArray[np.int64]]:
    """Prompts that change alike, together, told by a 64-bit sum; in an order that does not depend on that of samples."""
    if not sum(map(len, prompts)):
        return np.zeros((0, b, 4)), np.zeros(0, np.int64)
    names, of = np.unique(np.concatenate(prompts), return_inverse=True)
    each = np.zeros((len(names), b * 4), np.int32)
    np.add.at(each, of, np.concatenate(changes).reshape(-1, b * 4).astype(np.int32))
    each = each[each.any(axis=1)]
    key = each.astype(np.int64) @ np.random.default_rng(0).integers(-(1 << 62), 1 << 62, b * 4)  # equal rows, equal keys
    _, first, counts = np.unique(key, return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")  # those of many prompts first
    return each[first[order]].reshape(-1, b, 4).astype(float), counts[order].astype(np.int64)


def losses(measures: Sequence[Measure], before: Floats, after: Floats) -> Floats:
    """Losses (..., B) from totals (..., B, 4); 0 where a metric is undefined in either."""
    out = np.zeros(before.shape[:-1])
    for metric in dict.fromkeys(m.metric for m in measures):
        at = [i for i, m in enumerate(measures) if m.metric == metric]
        value = formula(metric).value
        gap = value(before[..., at, :]) - value(after[..., at, :])
        out[..., at] = loss_sign(metric) * np.where(np.isnan(gap), 0.0, gap)
    return out


def joint_test(
    counts: Counts, weights: Floats, tolerance: Floats, tested: NDArray[np.bool_], alpha: float, permutations: int, seed: int
) -> Tested:
    """C checks, each a weighted sum of measures (``weights``, (C, B)) that may lose ``tolerance`` (C,).

    Those that are not ``tested`` get their spread, and p-values of nan.
    """
    observed = losses(counts.measures, counts.before, counts.after) @ weights.T
    drawn = _swapped(counts, weights, permutations, seed)
    spread = np.sqrt(((drawn**2).sum(axis=0) + observed**2) / (permutations + 1))
    moving = spread > 0
    drawn /= np.where(moving, spread, 1.0)
    spread = np.where(moving, np.maximum(spread, _errors(counts, weights)), 0.0)
    t = np.where(moving, (observed - tolerance) / np.where(moving, spread, 1.0), -np.inf)
    p, adjusted, critical = np.full(len(t), np.nan), np.full(len(t), np.nan), 0.0
    if tested.any():
        p[tested], adjusted[tested] = step_down(t[tested], drawn[:, tested])
        critical = float(np.quantile(drawn[:, tested].max(axis=1), 1.0 - alpha))
    return Tested(observed, spread, p, adjusted, critical)


def _errors(counts: Counts, weights: Floats) -> Floats:
    """Standard error of each check's loss."""
    return np.asarray(np.sqrt(np.maximum(0.0, np.einsum("cb,bd,cd->c", weights, counts.covariance, weights))))


def _swapped(counts: Counts, weights: Floats, permutations: int, seed: int) -> Floats:
    """Losses of each check under random swaps, (permutations, C)."""
    kinds, b = len(counts.prompts), len(counts.measures)
    out = np.zeros((permutations, len(weights)))
    if not kinds:
        return out
    rng = np.random.default_rng(seed)
    change = counts.change.reshape(kinds, b * 4)
    step = max(1, _CELLS // (kinds + 8 * b))
    for start in range(0, permutations, step):
        size = min(step, permutations - start)
        swapped = (_halves(counts.prompts, size, rng) @ change).reshape(size, b, 4)
        out[start : start + size] = losses(counts.measures, counts.before + swapped, counts.after - swapped) @ weights.T
    return out


def _halves(prompts: NDArray[np.int64], size: int, rng: np.random.Generator) -> Floats:
    """How many prompts of each kind are swapped, each with probability ½: (size, kinds). ``prompts`` descends."""
    many, kinds = int(np.searchsorted(-prompts, -1)), len(prompts)
    out = np.empty((size, kinds))
    out[:, :many] = rng.binomial(prompts[:many], 0.5, size=(size, many))
    bits = np.frombuffer(rng.bytes(size * (-(-(kinds - many) // 8))), np.uint8).reshape(size, -1)
    out[:, many:] = np.unpackbits(bits, axis=1, count=kinds - many) if kinds > many else 0
    return out


def step_down(t: Floats, drawn: Floats) -> tuple[Floats, Floats]:
    """p of each check alone and adjusted for all C: the share of draws, the observed one with them, in which the largest of
    the statistics not yet passed over reaches ``t`` (C,). ``drawn``: (draws, C)."""
    order = np.argsort(-t, kind="stable")
    rest = np.maximum.accumulate(drawn[:, order][:, ::-1], axis=1)[:, ::-1]  # of this one and all with a smaller t
    reached = 1.0 + (rest >= t[order] - _SLACK).sum(axis=0)
    adjusted = np.empty(len(t))
    adjusted[order] = np.maximum.accumulate(reached) / (len(drawn) + 1)
    return (1.0 + (drawn >= t - _SLACK).sum(axis=0)) / (len(drawn) + 1), adjusted
