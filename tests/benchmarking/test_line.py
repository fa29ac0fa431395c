"""The line of 100 ms and 70 %: both or neither, and only what intervals decide."""

from __future__ import annotations

import math

import pytest

from guardeval.benchmarking.line import line_of
from guardeval.stats import Estimate


def around(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half, 100)


FAST, SLOW, NEAR = around(60, 10), around(140, 10), around(99, 5)
RIGHT, WRONG, UNSURE = around(0.9, 0.05), around(0.5, 0.05), around(0.72, 0.05)


@pytest.mark.parametrize(
    ("latency", "accuracy", "said"),
    [
        (FAST, RIGHT, "inside"),
        (SLOW, RIGHT, "outside: too slow"),
        (FAST, WRONG, "outside: accuracy below"),
        (SLOW, WRONG, "outside: too slow, accuracy below"),
        (FAST, UNSURE, "not decided: accuracy"),
        (NEAR, RIGHT, "not decided: speed"),
        (NEAR, UNSURE, "not decided: speed, accuracy"),
        (SLOW, UNSURE, "outside: too slow"),  # one side alone can put it outside, never inside
        (NEAR, WRONG, "outside: accuracy below"),
    ],
)
def test_both_intervals_decide(latency, accuracy, said):
    assert str(line_of(latency, accuracy, 100, 0.7)) == said


def test_what_is_unknown_decides_nothing():
    unknown = Estimate(math.nan, math.nan, math.nan, 0)
    assert str(line_of(unknown, unknown, 100, 0.7)) == "not decided: speed, accuracy"


def test_a_latency_without_an_upper_bound_is_not_inside():
    assert str(line_of(Estimate(20, 19, math.inf, 50), RIGHT, 100, 0.7)) == "not decided: speed"


def test_a_guard_that_never_answers_is_too_slow():
    assert str(line_of(Estimate(math.inf, math.inf, math.inf, 50), WRONG, 100, 0.7)) == "outside: too slow, accuracy below"
