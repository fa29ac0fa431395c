"""Ranking and calibration: only parsed samples with a score, exact values, honest intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from guardeval.curves import auroc, average_precision, recall_at
from guardeval.data import Outcome
from guardeval.judged import OUTCOMES, Judgements
from guardeval.scored import LEVELS, Scored
from guardeval.scorers.calibration import Calibration
from guardeval.scorers.ranking import Ranking
from guardeval.testing.builders import a_judged
from guardeval.testing.columns import judgements_of

RANKING = ("auroc", "auprc", "recall_at_5_overflagging")


def guard(n, seed=0, digits=12, sharp=2.0, **columns):
    """A guard whose scores are informative and miscalibrated."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 2, n)
    scores = np.round(1 / (1 + np.exp(-(rng.normal(size=n) + sharp * (gold - 0.5)) * 2)), digits)
    return judgements_of(gold, (scores >= 0.5).astype(int), score=scores, **columns)


def test_only_parsed_labelled_samples_with_a_score_count():
    samples = [
        a_judged(True, True, 0, score=0.9),
        a_judged(False, False, 1, score=0.2),
        a_judged(True, True, 2),  # no probability was observed
        a_judged(True, None, 3, score=0.1, outcome=Outcome.TRUNCATED),
        a_judged(None, True, 4, score=0.8),
    ]
    found = Ranking(resamples=20).score(Judgements.of(samples))
    assert found["auroc,parsed"] == 1.0 and found["auroc_n,parsed"] == 2
    assert {key.partition(",")[2] for key in found} == {"parsed"}
    found = Calibration(resamples=20).score(Judgements.of(samples))
    assert found["brier,parsed"] == pytest.approx((0.1**2 + 0.2**2) / 2)
    assert found["ece,parsed"] == pytest.approx((0.1 + 0.2) / 2)  # each sample has a bin of its own


@pytest.mark.parametrize("scorer", [Ranking(), Calibration()])
def test_without_scores_everything_is_undefined(scorer):
    found = scorer.score(judgements_of([1, 0], [1, 0]))
    values = {k: v for k, v in found.items() if "_n," not in k and "_ci," not in k}
    assert values and all(math.isnan(v) for v in values.values())
    assert {v for k, v in found.items() if "_n," in k} == {0}


def test_ranking_one_class_is_undefined_and_calibration_is_not():
    these = judgements_of([1, 1], [1, 0], score=[0.9, 0.4])
    assert all(math.isnan(Ranking().score(these)[f"{m},parsed"]) for m in RANKING)
    assert Calibration().score(these)["brier,parsed"] == pytest.approx((0.01 + 0.36) / 2)


def test_brier_equals_scikit_learns():
    m = pytest.importorskip("sklearn.metrics")
    these = guard(LEVELS + 900)  # more distinct scores than a resample tells apart
    expected = m.brier_score_loss(these.gold, these.score)
    assert Calibration(resamples=10).score(these)["brier,parsed"] == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("n, repeats", [(400, 1), (400, 4), (5000, 1)])
def test_intervals_agree_with_a_plain_bootstrap(n, repeats):
    resamples = 1000
    cluster = np.arange(n) // repeats
    these = guard(n, seed=n, cluster=cluster)
    found = Ranking(resamples).score(these) | Calibration(resamples=resamples).score(these)
    assert Scored.of(these).exact == (n <= LEVELS)
    rng = np.random.default_rng(1)
    prompts = np.arange(n).reshape(-1, repeats)
    draws = []
    for _ in range(resamples):
        i = prompts[rng.integers(0, len(prompts), len(prompts))].ravel()
        scored = Scored(these.score[i], these.gold[i], these.cluster[i])
        split = scored.by_level()
        brier = np.mean((scored.scores - scored.gold) ** 2)
        draws.append([float(auroc(*split)), float(average_precision(*split)), float(recall_at(*split)), brier])
    plain = np.percentile(draws, [2.5, 97.5], axis=0).T
    for name, (low, high) in zip((*RANKING, "brier"), plain, strict=True):
        # 5 standard errors of the gap of two 1,000-resample percentiles, 0.152 widths, and grouping of scores
        assert found[f"{name}_ci,parsed"] == pytest.approx((low, high), abs=0.17 * (high - low))


def test_the_calibration_interval_holds_its_value_though_resampling_adds_error():
    for seed in range(20):
        found = Calibration(resamples=200).score(guard(300, seed))
        low, high = found["ece_ci,parsed"]
        assert low < found["ece,parsed"] < high


def test_the_reliability_table_is_the_calibration_errors():
    these = guard(1500, digits=2)
    table = Calibration().table(these)
    gaps = [abs(b.found.value - b.said) for b in table]
    assert np.mean(gaps) == pytest.approx(Calibration(resamples=10).score(these)["ece,parsed"])
    assert all(b.found.low <= b.found.value <= b.found.high for b in table)


def test_failed_samples_have_no_score():
    failed = OUTCOMES.index(Outcome.FAILED)
    these = judgements_of([1, 0, 1], [1, 0, -1], score=[0.9, 0.1, math.nan], outcome=[0, 0, failed])
    assert Ranking(resamples=10).score(these)["auroc_n,parsed"] == 2
