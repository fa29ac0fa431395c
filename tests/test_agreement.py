"""Kappas: against scikit-learn, against Fleiss' own table, by hand, and where they are undefined."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.agreement import cohen_kappa, fleiss_kappa, kappa_estimate

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=60)


@given(PAIRS)
def test_cohens_kappa_is_scikit_learns(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    a, b = zip(*pairs, strict=True)
    ours = cohen_kappa(a, b)
    if len({*a, *b}) == 1:
        assert math.isnan(ours)  # one category: nothing beyond chance is left
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = metrics.cohen_kappa_score(a, b)
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_cohens_kappa_by_hand():
    # 50 applications: both yes 20, both no 15, a alone 5, b alone 10: p_o = 0.7, p_e = 0.5·0.6 + 0.5·0.4 = 0.5
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(a, b) == pytest.approx(0.4)


def test_fleiss_kappa_of_a_known_table():
    # ten items, fourteen raters, five categories: the worked example of Wikipedia's article on Fleiss' kappa, 0.210
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert fleiss_kappa(table) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_by_hand():
    # two items, three raters: P = (1 + 1/3) / 2 = 2/3; shares 4/6 and 2/6: P_e = 20/36; kappa = (2/3 − 5/9) / (4/9) = 1/4
    assert fleiss_kappa([[3, 0], [1, 2]]) == pytest.approx(0.25)


def test_where_kappa_is_undefined_it_is_nan():
    assert math.isnan(cohen_kappa([], []))
    assert math.isnan(cohen_kappa(["a", "a"], ["a", "a"]))
    assert math.isnan(fleiss_kappa([]))
    assert math.isnan(fleiss_kappa([[3, 0], [3, 0]]))


def test_what_is_no_rating_is_refused():
    with pytest.raises(ValueError, match="same items"):
        cohen_kappa("ab", "a")
    with pytest.raises(ValueError, match="same number of ratings"):
        fleiss_kappa([[1, 2], [2, 2]])
    with pytest.raises(ValueError, match="same number of ratings"):
        fleiss_kappa([[1, 0], [0, 1]])


@given(PAIRS)
def test_an_estimate_has_the_value_of_the_plain_formula_and_lies_in_its_interval(pairs):
    a, b = zip(*pairs, strict=True)
    found = kappa_estimate([a, b], resamples=50)
    assert found.n == len(pairs)
    assert found.value == pytest.approx(cohen_kappa(a, b), nan_ok=True)
    if found.low == found.low:
        assert -1 - 1e-9 <= found.low <= found.high <= 1 + 1e-9


def test_an_estimate_of_three_is_fleiss_over_what_all_three_rated():
    ratings = [["a", "a", "b", None, "b"], ["a", "b", "b", "a", "b"], ["a", "a", "b", "a", "a"]]
    found = kappa_estimate(ratings)
    assert (found.n, found.value) == (4, pytest.approx(fleiss_kappa([[3, 0], [2, 1], [0, 3], [1, 2]])))
    assert found.low <= found.value <= found.high


def test_an_estimate_without_common_items_is_undefined():
    found = kappa_estimate([["a", None], [None, "a"]])
    assert (math.isnan(found.value), found.n) == (True, 0)


def test_the_interval_covers_the_true_kappa_about_as_often_as_it_says():
    # two raters who copy a fair coin with probability 1/2 each agree by kappa 1/4 in the long run
    rng, covered, rounds = np.random.default_rng(7), 0, 200
    for _ in range(rounds):
        coin = rng.integers(0, 2, 150)
        raters = [np.where(rng.random(150) < 0.5, coin, rng.integers(0, 2, 150)).tolist() for _ in range(2)]
        found = kappa_estimate(raters, resamples=200)
        covered += found.low <= 0.25 <= found.high
    assert 0.89 <= covered / rounds <= 0.99
