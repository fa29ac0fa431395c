"""What reviewers' marks say about labels."""

from __future__ import annotations

import math

import pytest

from guardeval.errors import DataError
from guardeval.label_audit import confident_against, label_error_rate


def mark(sample: str, said: str | None, reviewer: str = "x") -> dict[str, str | None]:
    return {"sample": sample, "mark": said, "reviewer": reviewer}


def test_the_majority_of_reviewers_decides_and_a_tie_decides_nothing():
    found = label_error_rate(
        [
            mark("a", "wrong_label"), mark("a", "wrong_label", "y"), mark("a", "agree", "z"),
            mark("b", "wrong_label"), mark("b", "agree", "y"),
            mark("c", "agree"), mark("c", "wrong_label"), mark("c", "agree"),  # the last mark of one reviewer counts
            mark("d", None),
        ]
    )  # fmt: skip
    assert (found.wrong, found.errors.n, found.undecided, found.reviewers) == (1, 2, 1, 3)
    # Wilson (1927) for 1 of 2: (0.5 + z²/4 ± z·sqrt(1/8 + z²/16)) / (1 + z²/2), z = 1.95996
    assert (found.errors.low, found.errors.high) == pytest.approx((0.094531, 0.905469), abs=1e-6)


def test_without_marks_there_is_no_rate():
    assert math.isnan(label_error_rate([]).errors.value)
    assert math.isnan(label_error_rate([mark("a", "wrong_label")], among={"b"}).errors.value)
    with pytest.raises(DataError, match="names no sample"):
        label_error_rate([{"mark": "agree"}])


def test_members_without_probabilities_need_to_be_unanimous():
    nan = math.nan
    listed, confidence = confident_against(
        [0, 0, 1, -1], [[nan, 0.6], [nan, 0.6], [nan, nan], [nan, nan]], [[1, 1], [1, 0], [0, 0], [1, 1]]
    )
    assert listed.tolist() == [True, False, True, False]
    assert confidence[[0, 2]].tolist() == [1.0, 1.0]


def test_one_member_agrees_with_nobody():
    assert confident_against([0], [[0.99]], [[1]])[0].tolist() == [False]
