"""What may be said of a measured number beside an expected one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.programme.verdicts import Measured, word


@pytest.mark.parametrize(
    ("interval", "expected", "said"),
    [
        ((0.60, 0.61), (0.59, 0.62), "inside"),
        ((0.63, 0.66), (0.59, 0.62), "above"),
        ((0.50, 0.58), (0.59, 0.62), "below"),
        ((0.58, 0.60), (0.59, 0.62), "not decided: the interval spans 59"),
        ((0.58, 0.63), (0.59, 0.62), "not decided: the interval spans 59 and 62"),
        ((0.01, 0.02), (0.0, None), "inside"),
        ((-0.02, -0.01), (0.0, None), "below"),
        ((math.nan, math.nan), (0.5, 0.6), "n/a"),
        ((0.1, 0.2), (None, None), ""),
    ],
)
def test_words(interval, expected, said):
    assert word(*interval, *expected) == said


def test_where_the_value_itself_lies_is_said_too():
    assert word(0.58, 0.63, 0.59, 0.62, 0.60) == "not decided: the value is inside, the interval spans 59 and 62"


shares = st.floats(0, 1)


@given(shares, shares, shares, shares)
def test_a_side_is_taken_only_where_the_whole_interval_is(a, b, c, d):
    low, high = sorted((a, b))
    expected_low, expected_high = sorted((c, d))
    said = word(low, high, expected_low, expected_high)
    if said == "inside":
        assert expected_low <= low and high <= expected_high
    elif said == "above":
        assert low > expected_high
    elif said == "below":
        assert high < expected_low
    else:
        assert said.startswith("not decided")
        assert low <= expected_low <= high or low <= expected_high <= high


def test_a_number_survives_the_ledger():
    one = Measured(21, "wildguard", "multistep", "accuracy", math.nan, expected_low=0.62, expected_high=0.65)
    again = Measured.from_dict(one.as_dict())
    assert math.isnan(again.value) and again.expected_low == 0.62 and again.verdict == "n/a"
