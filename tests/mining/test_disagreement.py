"""Σ |P(θi) − P(θj)| by hand and against the double loop; who is left out; the paper's rule and weights."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.data import Outcome, Vote, Voters
from guardeval.disagreement import disagreement, runs_matrix, votes_matrix
from guardeval.errors import ConfigError, DataError
from guardeval.hard_draws import alphas, choose_pair, mixed_draws
from guardeval.judged import Judgements
from guardeval.testing.builders import a_judged
from guardeval.testing.columns import judgements_of

NAN = math.nan


def by_double_loop(scores: list[float], labels: list[int]) -> float:
    """Design section 7, read word by word."""
    m = len(scores)
    heard = [i for i in range(m) if labels[i] >= 0]
    if len(heard) < 2:
        return NAN
    values = scores if all(not math.isnan(scores[i]) for i in heard) else labels
    pairs = list(itertools.combinations(heard, 2))
    return sum(abs(values[i] - values[j]) for i, j in pairs) / len(pairs) * (m * (m - 1) / 2)


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([0.9, 0.6, 0.1], [1, 1, 0], 0.3 + 0.8 + 0.5),
        ([0.5, 0.5, 0.5], [1, 1, 1], 0.0),
        ([0.9, NAN, 0.1], [1, -1, 0], 0.8 * 3),  # one of three missing: the one heard pair stands for all three
        ([0.9, NAN, 0.1], [1, 1, 0], 2.0),  # one without a probability: 1, 1, 0
        ([NAN, NAN, NAN], [1, 0, 0], 2.0),
        ([0.9, NAN, 0.2], [1, -1, -1], NAN),  # a score without a verdict was not heard
        ([0.2, 0.8], [0, 1], 0.6),
        ([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1], 4.0),
    ],
)
def test_disagreement_by_hand(scores, labels, expected):
    found = disagreement([scores], [labels])
    assert found.values[0] == pytest.approx(expected, nan_ok=True)
    assert bool(found.apart[0]) is math.isnan(expected)


def test_pairs_with_both_probabilities_are_counted_over_all_pairs():
    found = disagreement([[0.9, 0.6, 0.1], [0.9, NAN, 0.1], [NAN, NAN, 0.3]], [[1, 1, 0], [1, 1, 0], [-1, -1, 0]])
    assert (found.pairs, found.pairs_with_both) == (9, 3 + 1 + 0)
    assert found.share_with_both == pytest.approx(4 / 9)
    assert found.substituted.tolist() == [False, True, False]
    assert math.isnan(disagreement(np.zeros((0, 3)), np.zeros((0, 3), int)).share_with_both)


MEMBERS = st.tuples(st.one_of(st.just(NAN), st.floats(0, 1)), st.sampled_from([-1, 0, 1]))


@given(st.integers(1, 7).flatmap(lambda m: st.lists(st.lists(MEMBERS, min_size=m, max_size=m), min_size=1, max_size=6)))
def test_sorting_gives_what_the_double_loop_gives(rows):
    scores, labels = ([[member[k] for member in row] for row in rows] for k in (0, 1))
    found = disagreement(scores, labels)
    expected = [by_double_loop(s, y) for s, y in zip(scores, labels, strict=True)]
    assert found.values == pytest.approx(expected, nan_ok=True, abs=1e-9)
    assert found.apart.tolist() == [math.isnan(v) for v in expected]


@given(st.lists(MEMBERS, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_members_changes_no_digit(row, random):
    mixed = random.sample(row, len(row))
    one, two = (disagreement([[s for s, _ in r]], [[y for _, y in r]]).values[0] for r in (row, mixed))
    assert one == two or (math.isnan(one) and math.isnan(two))


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="samples, members"):
        disagreement([0.1, 0.2], [0, 1])


def vote(member: str, label: bool | None, score: float | None = None) -> Vote:
    return Vote(member, Outcome.PARSED if label is not None else Outcome.FAILED, label, score)


def test_votes_of_models_and_draws_become_columns_and_those_of_stages_do_not():
    said = [
        a_judged(True, True, 0, votes=(vote("a", True, 0.9), vote("b", None)), voters=Voters.MODELS),
        a_judged(True, True, 1),
        a_judged(False, True, 2, votes=(vote("cheap", True, 0.5),), voters=Voters.STAGES),
        a_judged(False, True, 3, votes=(vote("b", False, 0.2), vote("a", True)), voters=Voters.MODELS),
    ]
    members, scores, labels = votes_matrix(Judgements.of(said))
    assert members == ("a", "b")
    assert labels.tolist() == [[1, -1], [-1, -1], [-1, -1], [1, 0]]
    assert np.isnan(scores).tolist() == [[False, True], [True, True], [True, True], [True, False]]


def test_draws_of_one_name_are_told_apart():
    votes = (vote("guard", True), vote("guard", False), vote("guard", True))
    members, _, labels = votes_matrix(Judgements.of([a_judged(True, True, votes=votes, voters=Voters.DRAWS)]))
    assert members == ("guard", "guard 2", "guard 3")
    assert labels.tolist() == [[1, 0, 1]]


def test_runs_are_matched_by_id():
    one = judgements_of([1, 0, 1], [1, 1, -1], ids=["a", "b", "c"], score=[0.9, 0.6, NAN], cluster=[1, 2, 3])
    two = judgements_of([1, 1, 0], [0, 1, 0], ids=["c", "a", "z"], score=[0.4, 0.8, 0.1], cluster=[3, 1, 9])
    ids, scores, labels = runs_matrix([one, two])
    assert ids == ("a", "c")
    assert labels.tolist() == [[1, 1], [-1, 0]]
    assert scores[0].tolist() == [0.9, 0.8]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"gold": [0, 0], "cluster": [1, 2]}, "gold label of 1 of 2"),
        ({"gold": [1, 0], "cluster": [1, 5]}, "prompt of 1 of 2"),
    ],
)
def test_runs_on_other_data_are_refused(other, message):
    one = judgements_of([1, 0], [1, 1], cluster=[1, 2])
    two = judgements_of(other["gold"], [1, 1], cluster=other["cluster"])
    with pytest.raises(DataError, match=message):
        runs_matrix([one, two])


# ---- the paper's rule ----


def test_the_papers_rule_and_weights_by_hand():
    gold = [1, 1, 0, 1, 0]
    labels = [
        [1, 0, 0, 0],  # 1 right, 3 wrong: w = 2
        [1, 1, 1, 0],  # w = -2
        [0, 1, -1, -1],  # two could not be read: w = 0
        [1, 1, 1, 1],  # never wrong: not hard
        [1, 0, 1, -1],  # 1 right, 2 wrong: w = 1
    ]
    mixed = mixed_draws(gold, labels)
    assert mixed.hard.tolist() == [True, True, True, False, True]
    assert mixed.weight[mixed.hard].tolist() == [2, -2, 0, 1]
    # min-max over the four mined: 1 + (w + 2) * 0.4 / 4 - 0.2
    assert alphas(mixed.weight[mixed.hard]) == pytest.approx([1.2, 0.8, 1.0, 1.1])


def test_equal_weights_are_all_one_and_unlabelled_samples_are_never_hard():
    assert alphas([2, 2]).tolist() == [1.0, 1.0]
    assert alphas([]).tolist() == []
    assert mixed_draws([-1], [[1, 0]]).hard.tolist() == [False]
    with pytest.raises(ConfigError, match="gamma"):
        alphas([1, 2], gamma=1.0)


@given(st.lists(st.integers(-4, 4), min_size=1), st.floats(0, 0.99))
def test_weights_lie_around_one(weights, gamma):
    found = alphas(weights, gamma)
    assert (np.abs(found - 1) <= gamma + 1e-12).all()
    assert (np.diff(found[np.argsort(weights, kind="stable")]) >= -1e-12).all()


DRAWS = [
    (True, "short"),
    (False, "wrong, and long"),
    (None, "unreadable and the longest of all"),
    (True, "longer"),
    (False, "no"),
]


def test_pairs_are_the_longest_right_and_wrong_answers_as_the_code_has_it():
    assert choose_pair(True, DRAWS) == ("longer", "wrong, and long")
    assert choose_pair(False, DRAWS) == ("wrong, and long", "longer")
    assert choose_pair(True, [(True, "a"), (None, "b")]) is None


def test_random_pairs_are_those_of_the_seed():
    found = {choose_pair(True, DRAWS, "random", str(seed)) for seed in range(40)}
    assert found == set(itertools.product(["short", "longer"], ["wrong, and long", "no"]))
    assert choose_pair(True, DRAWS, "random", "7") == choose_pair(True, DRAWS, "random", "7")
    with pytest.raises(ConfigError, match="did you mean 'longest'"):
        choose_pair(True, DRAWS, "longst")
