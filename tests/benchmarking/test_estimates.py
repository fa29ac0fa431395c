"""From times to figures, by hand."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.benchmarking.estimates import late, mean_rate, order_ranks, paired_ratio, quantile_rank, ratio_over_rounds

TIMES = [5.0, 1.0, 4.0, 2.0, 3.0]


def test_a_quantile_is_one_of_the_times_and_its_bounds_are_order_statistics():
    found = late(range(1, 101), 0, 0.5)
    # of Bin(100, 1/2): P(X <= 39) = 0.0176, P(X <= 40) = 0.0284, so the bounds are the 40th and the 61st
    assert (found.value, found.low, found.high, found.n) == (50, 40, 61, 100)


def test_the_95th_percentile_has_an_upper_bound_from_72_times_on():
    assert 0.95**71 > 0.025 > 0.95**72  # how likely it is that no time lies above the true one
    assert late(range(71), 0, 0.95).high == math.inf
    assert late(range(72), 0, 0.95).high == 71


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_bounds_hold_the_true_quantile_as_often_as_they_say(q):
    rng = random.Random(0)
    held = 0
    for _ in range(600):
        found = late([rng.random() for _ in range(80)], 0, q)
        held += found.low <= q <= found.high
    assert held >= 0.95 * 600 - 3 * math.sqrt(600 * 0.95 * 0.05)


def test_ranks_agree_with_the_binomial_law():
    n, q = 30, 0.7
    law = [math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)]
    low, high = order_ranks(n, q)
    assert sum(law[:low]) <= 0.025 < sum(law[: low + 1])
    assert sum(law[high:]) <= 0.025 < sum(law[high - 1 :])


def test_failures_never_ended_however_fast_they_failed():
    assert late(TIMES, 0, 0.5).value == 3.0
    found = late(TIMES, 4, 0.5)  # 1 2 3 4 5 and four that never ended: the fifth of nine
    assert (found.value, found.n) == (5.0, 9)
    assert late(TIMES, 6, 0.5).value == math.inf
    assert late([], 3, 0.5).value == math.inf


def test_queries_that_share_a_batch_are_worth_one():
    batches = [float(i) for i in range(100) for _ in range(4)]
    alone, shared = late(range(100), 0, 0.5), late(batches, 0, 0.5, together=4)
    assert (shared.value, shared.low, shared.high) == (alone.value, alone.low, alone.high)
    assert late(batches, 0, 0.5).high < shared.high  # taken as independent they would seem to say more
    assert late(batches[:200], 0, 0.95, together=4).high == math.inf  # fifty batches bound no p95


def test_without_a_query_nothing_is_said():
    found = late([], 0, 0.5)
    assert math.isnan(found.value)
    assert found.n == 0


@given(
    st.lists(st.floats(0.001, 100), min_size=1, max_size=200),
    st.integers(0, 20),
    st.sampled_from([0.5, 0.95, 0.99]),
    st.integers(1, 9),
)
def test_a_failure_more_never_makes_a_guard_faster(times, failed, q, together):
    one, more = late(times, failed, q, together), late(times, failed + 1, q, together)
    assert one.low <= one.value <= one.high
    assert more.value >= one.value


def test_rates_have_students_interval_over_the_rounds():
    found = mean_rate([10, 20, 30], [1.0, 1.0, 1.0], 60)
    half = 4.303 * 10 / math.sqrt(3)  # t of two degrees of freedom, standard deviation 10
    assert found.value == 20
    assert found.low == pytest.approx(max(0.0, 20 - half))
    assert found.high == pytest.approx(20 + half)
    one = mean_rate([10], [2.0], 10)
    assert one.value == 5
    assert math.isnan(one.low)


def test_students_quantiles_are_those_of_the_law():
    stats = pytest.importorskip("scipy.stats")
    for rounds in range(2, 32):
        values = np.arange(rounds, dtype=float) + 1
        found = mean_rate(list(values), [1.0] * rounds, rounds)
        half = stats.t.ppf(0.975, rounds - 1) * values.std(ddof=1) / math.sqrt(rounds)
        assert found.high - found.value == pytest.approx(half, rel=1e-3)


def test_an_unknown_count_of_tokens_is_no_rate():
    assert math.isnan(mean_rate([10, None], [1.0, 1.0], 2).value)
    assert mean_rate([None, None], [1.0, 1.0], 2).n == 0


def test_a_ratio_is_paired_by_sample():
    first = np.array([[1.0, 1.1], [10.0, 11.0], [100.0, 101.0], [50.0, 51.0], [5.0, 5.5]])
    found = paired_ratio(first, 2 * first, 0.5)
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)  # twice as slow on every sample: nothing is uncertain
    assert paired_ratio(first, first[::-1], 0.5).high > 1.0


def test_a_ratio_with_what_never_ended_is_undefined():
    times = np.ones((4, 2))
    assert math.isnan(paired_ratio(times, np.full((4, 2), math.inf), 0.5).value)
    assert math.isnan(paired_ratio(np.full((4, 2), math.inf), times, 0.5).low)


def test_rates_are_compared_round_by_round():
    found = ratio_over_rounds([10, 20, 40], [20, 40, 80], 9)  # the machine slowed down for both alike
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert math.isnan(ratio_over_rounds([10, 0], [1, 1], 9).value)


@pytest.mark.parametrize(("n", "q", "rank"), [(1, 0.99, 1), (2, 0.5, 1), (3, 0.5, 2), (100, 0.95, 95), (20, 0.99, 20)])
def test_ranks_of_quantiles(n, q, rank):
    assert quantile_rank(n, q) == rank


@pytest.mark.parametrize(("n", "q"), [(0, 0.5), (5, 0.0), (5, 1.0)])
def test_there_is_no_bound_for_nothing(n, q):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        order_ranks(n, q)
