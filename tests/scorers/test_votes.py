"""Scorers of runs in which models or draws voted, by hand; nothing where nobody did."""

from __future__ import annotations

import math

import pytest

from guardeval.data import Outcome, Vote, Voters
from guardeval.judged import Judgements
from guardeval.registry import Registry
from guardeval.testing.builders import a_judged


def voted(i: int, said, gold: bool | None = True, voters: Voters = Voters.MODELS):
    """``said``: for each member (label, score)."""
    votes = tuple(
        Vote(f"m{k}", Outcome.PARSED if label is not None else Outcome.FAILED, label, score)
        for k, (label, score) in enumerate(said)
    )
    return a_judged(gold, True, i, votes=votes, voters=voters)


SAID = [
    [(True, 0.9), (True, 0.6), (False, 0.1)],  # 1.6, split, hard
    [(True, 0.8), (True, 0.8), (True, 0.8)],  # 0, unanimous
    [(True, 0.9), (None, None), (False, 0.3)],  # 0.6 of one pair: 1.8, split, hard
    [(True, 0.9), (None, None), (None, None)],  # apart
]


def scored(name: str, said=SAID, **more):
    return Registry().build("scorers", name).score(Judgements.of([voted(i, s, **more) for i, s in enumerate(said)]))


def test_disagreement_by_hand():
    found = scored("disagreement")
    assert found["disagreement"] == pytest.approx((1.6 + 0 + 1.8) / 3)
    assert found["disagreement_n"] == 3
    low, high = found["disagreement_ci"]
    assert 0 <= low < found["disagreement"] < high <= 2
    assert (found["unanimous"], found["split"]) == pytest.approx((1 / 3, 2 / 3))
    assert found["probability_pairs"] == pytest.approx((3 + 3 + 1 + 0) / 12)
    assert (found["disagreement_apart"], found["disagreement_apart_n"]) == (1, 4)


def test_members_that_always_agree_are_not_certain_to():
    found = scored("disagreement", [[(True, 0.5)] * 3] * 4)
    assert found["disagreement"] == 0
    # Wilson's upper bound for 0 of 4, z²/(4 + z²), times the 2 that three members can differ by
    assert found["disagreement_ci"] == pytest.approx((0.0, 2 * 3.841459 / 7.841459), abs=1e-5)


def test_hard_samples_by_hand():
    found = scored("hard_samples")
    assert (found["hard_samples"], found["hard_samples_n"]) == (2, 4)
    assert found["hard_share"] == 0.5
    assert found["hard_weight"] == pytest.approx((-1 + 0) / 2)  # wrong minus right: 1 - 2, 1 - 1
    unlabelled = scored("hard_samples", gold=None)
    assert math.isnan(unlabelled["hard_samples"]) and unlabelled["hard_samples_n"] == 0
    assert math.isnan(unlabelled["hard_share"])
    assert math.isnan(unlabelled["hard_weight"])


@pytest.mark.parametrize("name", ["disagreement", "hard_samples"])
def test_nothing_is_said_where_nobody_voted_side_by_side(name):
    scorer = Registry().build("scorers", name)
    assert scorer.score(Judgements.of([a_judged(True, True)])) == {}
    assert scored(name, voters=Voters.POLICIES) == {}
    everybody_silent = scored(name, [[(None, None)] * 2])
    assert all(
        k.endswith(("_n", "_apart", "_samples")) or v != v or isinstance(v, tuple) or v == 0
        for k, v in everybody_silent.items()
    )
