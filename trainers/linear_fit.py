"""The numbers of a linear guard: weights by regularised logistic regression, int8, calibrated on rows held out.

Solved to a gradient of about 1e-9 by Newton's method, so that the order in which threads or processors add cannot move a
weight across a rounding border: equal rows give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from guardeval.errors import DataError, needs_extra
from guardeval.linear_guard import HarmHead, LinearGuard, probability
from guardeval.ngrams import FEATURES, Chunk, Features, chunks, features
from guardeval.policy_hints import HEAD_FEATURES, HintTable, Lexicon, PolicyHeads

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["RECIPES", "Recipe", "WeakLabels", "fit_guard", "fit_harm", "held_out_scores", "metrics", "platt", "weak_labels"]

POLICY_BITS = 15
LEAST_MARKED = 25  # rows that the lexicon must mark for a policy to get a head
MARGIN = 1.3  # how much more weight the marked policy has than the next
_TOLERANCE = 1e-11
_Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a variant is trained. Chosen on the training rows alone: by log loss over folds that keep near-duplicates together,
    and by AUROC on the one source when only the other was trained on, so that what merely fits a source is left out.

    ``power``: of the inverse document frequency. ``strength``: scikit-learn's C. ``bayes``: weigh features by their naive
    Bayes log-count ratio first, as in NBSVM (Wang and Manning, 2012), with ``smoothing`` added to each count.
    """

    features: str
    power: float
    strength: float
    bayes: bool = False
    smoothing: float = 1.0


RECIPES = {
    "word": Recipe("words", power=2.0, strength=30.0),
    "char": Recipe("chars", power=2.0, strength=30.0),
    "nb": Recipe("words", power=1.0, strength=30.0, bayes=True),
}


def _found(texts: Sequence[str], kinds: Sequence[int | str], bits: int) -> Features:
    """Features of any number of texts."""
    parts, done = [], 0
    for chunk in chunks(texts):
        part = features(Chunk(chunk), kinds, bits)
        parts.append((part.doc + done, part.bucket, part.weight, part.word))
        done += len(chunk)
    return Features(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _matrix(found: Features, texts: int, bits: int) -> csr_array:
    with needs_extra("linear"):
        from scipy.sparse import csr_array

    return csr_array((found.weight, (found.doc, found.bucket)), shape=(texts, 1 << bits))


def _norms(matrix: csr_array, power: float) -> NDArray[np.int8]:
    """Inverse document frequency to a power, in steps of 1/127 of what a feature never met gets; at least one step."""
    n = matrix.shape[0]
    met = np.bincount(matrix.indices, minlength=matrix.shape[1])
    frequency = (np.log((1 + n) / (1 + met)) + 1.0) ** power
    return np.asarray(np.maximum(np.rint(127.0 * frequency / (np.log(1.0 + n) + 1.0) ** power), 1), np.int8)


def _rows(matrix: csr_array, norms: NDArray[np.int8]) -> csr_array:
    """Rows weighted by ``norms`` and scaled to length 1."""
    scaled = matrix.copy()
    scaled.data = scaled.data * norms[scaled.indices]
    owner = np.repeat(np.arange(matrix.shape[0]), np.diff(scaled.indptr))
    length = np.sqrt(np.bincount(owner, scaled.data**2, matrix.shape[0]))
    scaled.data /= np.maximum(length, 1e-9)[owner]
    return scaled


def _logistic(rows: csr_array, labels: NDArray[np.bool_], strength: float, balanced: bool = False) -> tuple[_Float, float]:
    """Weights of all columns and the bias; columns that no row has get 0."""
    with needs_extra("linear"):
        from sklearn.linear_model import LogisticRegression

    used = np.unique(rows.indices)
    weigh = "balanced" if balanced else None
    model = LogisticRegression(C=strength, solver="newton-cg", tol=_TOLERANCE, max_iter=200, class_weight=weigh)
    model.fit(rows[:, used], labels)
    weights = np.zeros(rows.shape[1])
    weights[used] = model.coef_[0]
    return weights, float(model.intercept_[0])


def _ratio(matrix: csr_array, labels: NDArray[np.bool_], smoothing: float) -> _Float:
    """Log of how much likelier each feature is in harmful rows, counted once a row."""
    owner = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    counts = [
        np.bincount(matrix.indices[labels[owner] == label], minlength=matrix.shape[1]) + smoothing for label in (True, False)
    ]
    return np.asarray(np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum()))


def _int8(weights: _Float) -> tuple[NDArray[np.int8], float]:
    """Weights in steps, and the step: the largest weight over 127, rounded to four digits so that it is the same anywhere."""
    most = float(np.abs(weights).max(initial=0.0)) or 1.0
    step = float(f"{most / 127 * 1.0005:.3e}")
    return np.rint(weights / step).astype(np.int8), step


def fit_harm(matrix: csr_array, labels: NDArray[np.bool_], recipe: Recipe, bits: int) -> HarmHead:
    """The harm head before calibration."""
    norms = _norms(matrix, recipe.power)
    rows = _rows(matrix, norms)
    ratio = _ratio(matrix, labels, recipe.smoothing) if recipe.bayes else None
    if ratio is not None:
        rows.data *= ratio[rows.indices]
    weights, bias = _logistic(rows, labels, recipe.strength)
    if ratio is not None:
        weights *= ratio
    steps, step = _int8(weights * norms)
    return HarmHead(recipe.features, bits, steps, norms, step, round(bias, 6))


def _log_odds(head: HarmHead, matrix: csr_array) -> _Float:
    """What the finished guard computes, for rows that are a matrix already."""
    owner = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    norms, weights = head.norms.astype(np.float64), head.weights.astype(np.float64)
    length = np.sqrt(np.bincount(owner, (matrix.data * norms[matrix.indices]) ** 2, matrix.shape[0]))
    total = np.bincount(owner, matrix.data * weights[matrix.indices], matrix.shape[0])
    return np.asarray(total / np.maximum(length, 1e-9) * head.scale + head.bias)


def held_out_scores(
    matrix: csr_array, labels: NDArray[np.bool_], folds: NDArray[np.int64], recipe: Recipe, bits: int
) -> _Float:
    """Each row's score by a head that saw no row of its fold, int8 rounding included."""
    scores = np.zeros(len(labels))
    for fold in np.unique(folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if len(np.unique(labels[train])) < 2:
            raise DataError(f"without fold {fold} all rows have one label: too many rows are near-duplicates of each other")
        scores[test] = _log_odds(fit_harm(matrix[train], labels[train], recipe, bits), matrix[test])
    return scores


def platt(scores: _Float, labels: NDArray[np.bool_], rounds: int = 50) -> tuple[float, float]:
    """Slope and shift that make ``probability(slope * score + shift)`` likeliest. Platt (1999), by Newton's method."""
    design = np.stack([scores, np.ones_like(scores)], axis=1)
    answer = np.zeros(2)
    targets = np.where(
        labels, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((~labels).sum() + 2)
    )  # Platt's, against overfitting
    for _ in range(rounds):
        p = probability(design @ answer)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        answer = answer - np.linalg.solve(hessian, design.T @ (p - targets))
    return round(float(answer[0]), 5), round(float(answer[1]), 5)


@dataclass(frozen=True, slots=True)
class WeakLabels:
    """The policy that the lexicon clearly marks, as a column of the lexicon, for the rows it marks."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]


def weak_labels(texts: Sequence[str], table: HintTable) -> WeakLabels:
    met = np.concatenate([table.scores(Chunk(chunk)) for chunk in chunks(texts)])
    ranked = np.sort(met, axis=1)
    clear = (ranked[:, -1] >= 2) & (ranked[:, -1] > MARGIN * ranked[:, -2])
    return WeakLabels(np.flatnonzero(clear), met.argmax(axis=1)[clear])


def fit_policies(texts: Sequence[str], lexicon: Lexicon) -> tuple[PolicyHeads, dict[str, int]]:
    """Heads learned from harmful texts that the lexicon marks, and how many it marks for each policy."""
    table = HintTable.of(lexicon)
    weak = weak_labels(texts, table)
    count = np.bincount(weak.columns, minlength=len(lexicon.policies))
    columns = np.flatnonzero(count >= LEAST_MARKED) if (count >= LEAST_MARKED).sum() > 1 else np.zeros(0, np.int64)
    found = _found(texts, HEAD_FEATURES, POLICY_BITS)
    matrix = _matrix(found, len(texts), POLICY_BITS)
    norms = _norms(matrix, 1.0)
    rows = _rows(matrix, norms)[weak.rows]
    fits = [_logistic(rows, weak.columns == column, 1.0, balanced=True) for column in columns]
    steps = [_int8(weights) for weights, _ in fits]
    weights = np.array([s for s, _ in steps], np.int8).reshape(len(columns), 1 << POLICY_BITS)
    scale, bias = np.array([step for _, step in steps]), np.array([round(b, 6) for _, b in fits])
    heads = PolicyHeads(lexicon.policies, table, POLICY_BITS, norms, weights, scale, bias, columns.astype(np.int64))
    return heads, dict(zip(lexicon.policies, count.tolist(), strict=True))


def fit_guard(
    texts: Sequence[str], labels: NDArray[np.bool_], folds: NDArray[np.int64], recipe: Recipe, bits: int, lexicon: Lexicon
) -> tuple[LinearGuard, dict[str, Any]]:
    """The guard, and how it did on rows held out: metrics, calibration, and rows marked per policy."""
    matrix = _matrix(_found(texts, FEATURES[recipe.features], bits), len(texts), bits)
    scores = held_out_scores(matrix, labels, folds, recipe, bits)
    slope, shift = platt(scores, labels)
    raw = fit_harm(matrix, labels, recipe, bits)
    scale, bias = float(f"{slope * raw.scale:.6e}"), round(slope * raw.bias + shift, 6)
    harm = HarmHead(raw.features, bits, raw.weights, raw.norms, scale, bias)
    policies, marked = fit_policies([text for text, label in zip(texts, labels.tolist(), strict=True) if label], lexicon)
    report = {
        "held_out": metrics(probability(slope * scores + shift), labels),
        "calibration": {"method": "platt", "slope": slope, "shift": shift, "rows": len(labels)},
        "weakly_labelled": marked,
    }
    return LinearGuard(harm, policies), report


def metrics(p: _Float, labels: NDArray[np.bool_], bins: int = 15) -> dict[str, float]:
    """Accuracy, F1, AUROC and expected calibration error (equal-mass bins), to four digits."""
    flagged = p >= 0.5
    both = float((flagged & labels).sum())
    order = np.argsort(p, kind="stable")
    ranks = np.empty(len(p))
    _, inverse, count = np.unique(p, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[inverse]  # ties share their mean rank
    positives = int(labels.sum())
    above = float(ranks[labels].sum()) - positives * (positives + 1) / 2
    gaps = [abs(float(p[part].sum()) - float(labels[part].sum())) for part in np.array_split(order, bins)]
    values = {
        "accuracy": float((flagged == labels).mean()),
        "f1": 2 * both / max(float(flagged.sum() + positives), 1.0),
        "auroc": above / (positives * (len(p) - positives)),
        "ece": sum(gaps) / len(p),
    }
    return {name: round(value, 4) for name, value in values.items()}
