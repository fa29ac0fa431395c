"""The classification scorer on whole runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardeval.accounting import ACCOUNTINGS
from guardeval.contracts import Scorer
from guardeval.data import Outcome
from guardeval.judged import Judgements
from guardeval.registry import Registry
from guardeval.scorers.classification import Classification
from guardeval.testing.builders import a_judged
from guardeval.testing.columns import judgements_of

FAST = Classification(resamples=50)


def test_four_samples_one_of_them_unreadable_worked_by_hand():
    found = FAST.score(
        Judgements.of([a_judged(True, True, 0), a_judged(True, None, 1), a_judged(False, True, 2), a_judged(False, False, 3)])
    )
    by_hand = {  # tp fp fn tn: strict 1 1 1 1, parsed 1 1 0 1, closed 2 1 0 1, open 1 1 1 1, paper 1 1 0 1
        "f1": {"strict": 1 / 2, "parsed": 2 / 3, "fail_closed": 4 / 5, "fail_open": 1 / 2, "paper": 2 / 3},
        "accuracy": {"strict": 2 / 4, "parsed": 2 / 3, "fail_closed": 3 / 4, "fail_open": 2 / 4, "paper": 2 / 3},
        "underflagging": {"strict": 1 / 2, "parsed": 0.0, "fail_closed": 0.0, "fail_open": 1 / 2, "paper": 0.0},
        "majority_rate": {"strict": 1 / 2, "parsed": 2 / 3, "fail_closed": 1 / 2, "fail_open": 1 / 2, "paper": 2 / 3},
    }
    for metric, values in by_hand.items():
        assert {a: found[f"{metric},{a}"] for a in ACCOUNTINGS} == pytest.approx(values)
    assert found["f1_n,strict"] == 4 and found["f1_n,parsed"] == 3 and found["overflagging_n,strict"] == 2


def test_every_value_lies_in_its_interval():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 300)
    label = np.where(rng.random(300) < 0.2, rng.integers(-1, 2, 300), gold)
    found = Classification().score(judgements_of(gold, label))
    for key, value in found.items():
        metric, _, accounting = key.partition(",")
        if f"{metric}_ci,{accounting}" in found:
            low, high = found[f"{metric}_ci,{accounting}"]
            assert low <= value <= high


def test_a_perfect_guard_on_few_samples_is_not_certain():
    found = FAST.score(judgements_of([1, 1, 1, 0, 0], [1, 1, 1, 0, 0]))
    assert found["recall,strict"] == 1.0 and found["recall_ci,strict"] == pytest.approx((0.4385, 1.0), abs=1e-4)
    assert found["overflagging_ci,strict"] == pytest.approx((0.0, 0.6576), abs=1e-4)
    assert found["f1_ci,strict"][0] < 0.65


def test_a_guard_that_flags_nothing_has_no_precision():
    found = FAST.score(judgements_of([1, 0, 0], [0, 0, 0]))
    assert math.isnan(found["precision,strict"]) and math.isnan(found["precision_ci,strict"][0])
    assert found["f1,strict"] == 0.0 and found["majority_rate,strict"] == found["accuracy,strict"] == pytest.approx(2 / 3)


def test_policies_match_exactly_as_far_as_labels_settle_them():
    three = {"gold_policies": [0b01, 0b01, 0b00], "known_policies": [0b11, 0b01, 0b11], "policies": [0b01, 0b11, 0b00]}
    found = FAST.score(judgements_of([1, 1, 0], [1, 1, -1], **three))
    assert found["policy_exact_match,strict"] == pytest.approx(2 / 3)  # the second is open on 0b10; the third is silent
    assert found["policy_exact_match,parsed"] == 1.0 and found["policy_exact_match_n,parsed"] == 2
    assert "policy_exact_match,fail_open" not in found


def test_without_policy_labels_there_is_no_policy_match():
    assert not [key for key in FAST.score(judgements_of([1, 0], [1, 0])) if "policy" in key]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from([-1, 0, 1]), st.integers(0, 5)), max_size=40), st.randoms()
)
def test_the_order_of_samples_changes_nothing(samples, random):
    def score(these):
        gold, label, cluster = zip(*these, strict=True) if these else ((), (), ())
        return FAST.score(judgements_of(gold, label, cluster=cluster))

    one, two = score(samples), score(random.sample(samples, len(samples)))
    assert str(one) == str(two)  # as text: nan equals nan


def test_failed_samples_count_like_other_missing_ones():
    found = FAST.score(Judgements.of([a_judged(True, None, 0, outcome=Outcome.FAILED), a_judged(True, True, 1)]))
    assert found["recall,strict"] == 0.5 and found["recall,parsed"] == 1.0


def test_it_is_installed_under_its_name_and_takes_options():
    scorer = Registry().build("scorers", "classification", {"resamples": "10", "confidence": "0.9"})
    assert scorer == Classification(resamples=10, confidence=0.9)
    assert isinstance(scorer, Scorer)
    assert scorer.higher_is_better["overflagging"] is False and "majority_rate" not in scorer.higher_is_better
