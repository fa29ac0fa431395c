"""Votes: worked by hand, and what must hold whatever is voted."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.data import Outcome, Target, Verdict, Voters
from guardeval.testing import a_verdict
from guardeval.voting import TIE, VOTES, Ballot, Said, Voting, decide, united

ballots = st.lists(
    st.builds(Ballot, st.none() | st.booleans(), st.none() | st.floats(0, 1)), min_size=1, max_size=7
)  # fmt: skip
votes, ties = st.sampled_from(VOTES), st.sampled_from(["positive", "negative", "abstain"])


def said(*labels: bool | None, scores: tuple[float | None, ...] = (), policies: tuple[str, ...] = ()) -> list[Said]:
    out = []
    for i, label in enumerate(labels):
        named = frozenset(policies[i].split("+")) if policies and policies[i] else frozenset()
        out.append(Said(f"m{i}", a_verdict(label, score=scores[i] if scores else None, policies=named)))
    return out


@pytest.mark.parametrize(
    ("vote", "label", "share"),
    [
        ("majority", True, 2 / 3),
        ("mean", False, (0.6 + 0.6 + 0.1) / 3),  # 1.3 / 3 is below one half
        ("weighted", False, (0.2 + 0.2) / (0.2 + 0.2 + 0.8)),  # |2p − 1| = 0.2, 0.2, 0.8
        ("any", True, 2 / 3),
        ("all", False, 2 / 3),
    ],
)
def test_three_members_worked_by_hand(vote, label, share):
    found = decide([Ballot(True, 0.6), Ballot(True, 0.6), Ballot(False, 0.1)], vote)
    assert found.label is label
    assert found.share == pytest.approx(share)


def test_a_missing_verdict_is_no_vote():
    assert decide([Ballot(True), Ballot(None), Ballot(None)]).label is True
    assert decide([Ballot(False), Ballot(None)], "any").label is False
    assert decide([Ballot(True), Ballot(None)], "all").label is True
    assert decide([Ballot(None), Ballot(None)], "any", "positive").label is None


def test_where_one_heard_member_has_no_probability_all_count_by_their_labels():
    with_one = [Ballot(True, 0.51), Ballot(True, 0.51), Ballot(False)]
    assert decide(with_one, "mean").share == pytest.approx(2 / 3)
    assert decide(with_one, "weighted").weights == (1.0, 1.0, 1.0)
    assert decide([*with_one[:2], Ballot(None)], "mean").share == pytest.approx(0.51)  # the one without was not heard


@pytest.mark.parametrize(("how", "label"), [("positive", True), ("negative", False), ("abstain", None)])
@pytest.mark.parametrize(
    ("vote", "pair"),
    [
        ("majority", [Ballot(True), Ballot(False)]),
        ("mean", [Ballot(True, 0.9), Ballot(False, 0.1)]),
        ("weighted", [Ballot(True, 0.7), Ballot(False, 0.3)]),
        ("weighted", [Ballot(True, 0.5), Ballot(True, 0.5)]),  # nobody is sure of anything
    ],
)
def test_ties_are_settled_as_declared(vote, pair, how, label):
    assert decide(pair, vote, how).label is label
    assert decide(pair, vote, how).tied


def test_fitted_weights_can_outvote_a_majority():
    three = said(True, False, False)
    assert (
        united(Target.PROMPT, three, Voters.MODELS, Voting("weighted", weights={"m0": 3.0, "m1": 1.0, "m2": 1.0})).label is True
    )
    assert (
        united(Target.PROMPT, three, Voters.MODELS, Voting("weighted", weights={"m0": 1.0, "m1": 1.0, "m2": 1.0})).label
        is False
    )


@given(ballots, votes, ties, st.randoms(use_true_random=False))
def test_the_order_of_members_changes_nothing(given_ballots, vote, how, rng):
    shuffled = list(given_ballots)
    rng.shuffle(shuffled)
    one, other = decide(given_ballots, vote, how), decide(shuffled, vote, how)
    assert (one.label, one.tied) == (other.label, other.tied)
    assert one.share == other.share or math.isclose(one.share, other.share)


@given(ballots, votes, ties)
def test_missing_ballots_change_nothing_but_their_own_weight(given_ballots, vote, how):
    heard = [b for b in given_ballots if b.label is not None]
    one = decide(given_ballots, vote, how)
    if not heard:
        assert (one.label, one.share) == (None, None)
        return
    other = decide(heard, vote, how)
    assert (one.label, one.share, one.tied) == (other.label, other.share, other.tied)
    assert [w for w, b in zip(one.weights, given_ballots, strict=True) if b.label is not None] == list(other.weights)
    assert all(w == 0 for w, b in zip(one.weights, given_ballots, strict=True) if b.label is None)
    assert 0 <= one.share <= 1


@given(ballots, ties)
def test_any_and_all_bound_every_majority(given_ballots, how):
    labels = {vote: decide(given_ballots, vote, how).label for vote in ("any", "all", "majority")}
    if labels["all"]:
        assert labels["any"]
        assert labels["majority"]
    if labels["any"] is False:
        assert not labels["majority"]


def test_policies_are_those_that_half_of_the_flagging_members_name():
    three = said(True, True, True, False, policies=("illegal+violence", "illegal", "harassment", "self_harm"))
    assert united(Target.PROMPT, three, Voters.MODELS).policies == {"illegal"}
    assert united(Target.PROMPT, three, Voters.MODELS, Voting("any")).policies == {"illegal", "violence", "harassment"}
    apart = said(True, True, True, policies=("illegal", "violence", "harassment"))
    assert united(Target.PROMPT, apart, Voters.MODELS).policies == {"illegal", "violence", "harassment"}  # all named as often
    assert united(Target.PROMPT, said(True, False, False, policies=("illegal", "", "")), Voters.MODELS).policies == set()


def test_the_score_is_the_share_and_the_mean_score_stands_apart():
    found = united(Target.PROMPT, said(True, True, False, scores=(0.6, 0.9, 0.2)), Voters.DRAWS)
    assert (found.score, found.score_source) == (pytest.approx(2 / 3), "votes")
    assert found.mean_score == pytest.approx(1.7 / 3)
    assert united(Target.PROMPT, said(True, False, scores=(0.6, None)), Voters.DRAWS).mean_score is None


def test_how_many_were_heard_is_recorded():
    found = united(Target.PROMPT, said(True, None, True), Voters.MODELS)
    assert [v.outcome for v in found.votes] == [Outcome.PARSED, Outcome.UNPARSEABLE, Outcome.PARSED]
    assert "heard 2 of 3" in found.notes


def test_nobody_heard_is_no_verdict_and_keeps_the_reason():
    failed = Said("a", Verdict(Target.PROMPT, Outcome.FAILED, raw="HTTP 500"))
    silent = Said("b", Verdict(Target.PROMPT, Outcome.UNPARSEABLE, raw="hm"))
    found = united(Target.PROMPT, [silent, failed], Voters.MODELS)
    assert (found.outcome, found.label, found.raw) == (Outcome.FAILED, None, "HTTP 500")
    assert united(Target.PROMPT, [silent], Voters.MODELS).outcome is Outcome.UNPARSEABLE


def test_a_tie_that_abstains_is_no_verdict_and_says_so():
    found = united(Target.PROMPT, said(True, False), Voters.MODELS, Voting(ties="abstain"))
    assert (found.outcome, found.label) == (Outcome.UNPARSEABLE, None)
    assert TIE in found.notes
