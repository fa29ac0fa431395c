"""Comparing runs: matching samples, what flipped, tests and intervals of the difference."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardeval.compare import COMPARED, compare
from guardeval.data import Outcome, Target
from guardeval.errors import ConfigError, DataError
from guardeval.judged import OUTCOMES
from guardeval.pairing import check_comparable, pair
from guardeval.significance import mcnemar_p, sign_flip_p
from guardeval.testing.columns import judgements_of

GOLD = [1, 1, 1, 1, 0, 0, 0, 0]
BEFORE = [1, 1, 0, -1, 0, 0, 1, -1]
AFTER = [1, 0, 1, 1, 0, 1, 0, -1]


def two(before=BEFORE, after=AFTER, gold=GOLD, **options):
    found = compare(judgements_of(gold, before), [judgements_of(gold, after)], ["base", "new"], **options)
    return found.pairs[0]


def differences(found):
    return {d.metric: d for d in found.differences}


def test_a_comparison_worked_by_hand():
    found = two()
    # base right on 0 1 4 5, new right on 0 2 3 4 6: lost 1 5, gained 2 3 6
    assert found.matrix == {"right→right": 2, "right→wrong": 2, "wrong→right": 3, "wrong→wrong": 1}
    accuracy = differences(found)["accuracy"]
    assert (accuracy.reference, accuracy.other, accuracy.difference, accuracy.n) == (0.5, 0.625, 0.125, 8)
    assert (accuracy.test, accuracy.p_value) == ("exact McNemar", mcnemar_p(2, 3))
    assert accuracy.low <= 0.125 <= accuracy.high
    assert found.odds_ratio == 3.5 / 2.5 and found.cohens_g == pytest.approx(0.1)
    overflagging = differences(found)["overflagging"]
    assert (overflagging.higher_is_better, overflagging.n, overflagging.difference) == (False, 4, 0.0)
    assert overflagging.p_value is None  # shown with its interval, not in the family of tests


def test_runs_that_agree_on_every_sample_are_not_certainly_equal():
    labels = [1, 0] * 50
    same = differences(two([1] * 60 + [0] * 40, [1] * 60 + [0] * 40, labels))
    bound = 1.959964**2 / (100 + 1.959964**2)  # Wilson (1927) for 0 of 100: z² / (n + z²)
    assert (same["accuracy"].low, same["accuracy"].high) == pytest.approx((-bound, bound), abs=1e-6)
    assert same["accuracy"].difference == 0.0 and same["accuracy"].n == 100
    bound = 1.959964**2 / (50 + 1.959964**2)  # 50 negatives
    assert (same["overflagging"].low, same["overflagging"].high) == pytest.approx((-bound, bound), abs=1e-6)


def test_where_prompts_repeat_they_are_what_bounds_an_unchanged_difference():
    run = judgements_of([1, 0] * 50, [1, 1] * 50, cluster=[i // 10 for i in range(100)])
    (accuracy, *_) = compare(run, [run], ["base", "new"]).pairs[0].differences
    bound = 1.959964**2 / (10 + 1.959964**2)
    assert (accuracy.low, accuracy.high) == pytest.approx((-bound, bound), abs=1e-6)


def test_a_difference_of_everything_stays_a_difference():
    accuracy = differences(two([0, 1, 0, 1], [1, 0, 1, 0], [1, 0, 1, 0]))["accuracy"]
    assert (accuracy.difference, accuracy.high) == (1.0, 1.0) and accuracy.low < 1.0


def test_every_flip_names_its_samples_missing_verdicts_included():
    cells = {(f.gold, f.before, f.after): (f.right_before, f.right_after, f.ids, f.n) for f in two().flips}
    assert cells[("harmful", "harmful", "unharmful")] == (True, False, ("1",), 1)
    assert cells[("harmful", "no verdict", "harmful")] == (False, True, ("3",), 1)
    assert cells[("unharmful", "no verdict", "no verdict")] == (False, False, (), 1)  # nothing flipped: no ids
    assert sum(n for *_, n in cells.values()) == 8


def test_an_accounting_decides_what_a_missing_verdict_is():
    closed = two(accounting="fail_closed")
    assert closed.matrix["right→right"] == 3  # the unheard positive counts as flagged
    parsed = two(accounting="parsed")
    assert (parsed.n, parsed.left_out) == (6, 2)
    assert differences(parsed)["accuracy"].reference == pytest.approx(4 / 6)
    with pytest.raises(ConfigError, match="counts some samples twice"):
        two(accounting="paper")


def test_runs_are_matched_by_id_whatever_their_order():
    order = [3, 1, 0, 2]
    before = judgements_of([1, 0, 1, 0], [1, 0, 0, 1], ids=list("abcd"), cluster=[10, 11, 12, 13])
    after = judgements_of(
        np.array([1, 0, 1, 0])[order], np.array([0, 0, 1, 1])[order], ids=[*"dbac"], cluster=np.array([10, 11, 12, 13])[order]
    )
    found = compare(before, [after], ["base", "new"]).pairs[0]
    assert {f.ids for f in found.flips if f.before != f.after} == {("a",), ("c",)}


def test_samples_of_one_run_only_are_counted_and_left_out():
    before = judgements_of([1, 0, 1], [1, 0, 0], ids=["a", "b", "c"], cluster=[1, 2, 3])
    after = judgements_of([0, 1, 0, 1], [0, 1, 1, 1], ids=["b", "c", "d", "e"], cluster=[2, 3, 4, 5])
    found = compare(before, [after], ["base", "new"]).pairs[0]
    assert (found.n, found.only_reference, found.only_other) == (2, 1, 2)
    assert found.matrix == {"right→right": 1, "right→wrong": 0, "wrong→right": 1, "wrong→wrong": 0}


@pytest.mark.parametrize(
    "after, message",
    [
        (judgements_of([1, 0], [1, 0], target=Target.REFUSAL), "asked for prompt_harmfulness, run 'new' for refusal"),
        (judgements_of([1, 0], [1, 0], ids=["x", "y"]), "share no sample id"),
        (judgements_of([1, 1], [1, 0]), "disagree on the gold label of 1 of 2 shared samples, first '1'"),
        (judgements_of([1, 0], [1, 0], cluster=[0, 9]), "disagree on the prompt of 1 of 2"),
        (judgements_of([1, 0], [1, 0], ids=["0", "0"]), "holds sample id '0' 2 times"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(after, message):
    with pytest.raises(DataError, match=message):
        compare(judgements_of([1, 0], [1, 0]), [after], ["base", "new"])


def test_runs_of_different_tasks_or_data_are_refused_with_the_fact():
    facts = {"task": "wildguard", "version": 1.0, "data": "sample"}
    check_comparable(["a", "b"], [facts, dict(facts)])
    with pytest.raises(DataError, match="'a' and 'b' cannot be compared: data is 'sample' in one and 'hub'"):
        check_comparable(["a", "b"], [facts, {**facts, "data": "hub"}])


def test_unknown_metrics_and_missing_names_are_refused():
    run = judgements_of([1, 0], [1, 0])
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        compare(run, [run], ["a", "b"], family=["acuracy"])
    with pytest.raises(ConfigError, match="2 runs and 1 names"):
        compare(run, [run], ["a"])


def runs(n=400, seed=0, rates=(0.25, 0.2, 0.12)):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 2, n)
    return gold, [np.where(rng.random(n) < r, 1 - gold, gold) for r in rates]


def test_several_runs_are_corrected_as_one_family():
    gold, said = runs()
    judged = [judgements_of(gold, s) for s in said]
    found = compare(judged[0], judged[1:], ["base", "one", "two"], family=["accuracy", "overflagging"])
    assert (found.tests, found.family, found.correction) == (4, ("accuracy", "overflagging"), "Holm (1979)")
    raw = [d.p_value for p in found.pairs for d in p.differences if d.p_value is not None]
    adjusted = [d.p_adjusted for p in found.pairs for d in p.differences if d.p_value is not None]
    assert min(adjusted) == pytest.approx(4 * min(raw))
    assert all(a >= p for a, p in zip(adjusted, raw, strict=True))


def test_repeated_prompts_are_tested_as_wholes():
    gold, said = runs(90)
    cluster = np.repeat(np.arange(30), 3)
    judged = [judgements_of(gold, s, cluster=cluster) for s in said[:2]]
    found = compare(judged[0], [judged[1]], ["base", "new"]).pairs[0]
    accuracy = differences(found)["accuracy"]
    gains = ((said[1] == gold).astype(int) - (said[0] == gold)).reshape(30, 3).sum(axis=1)
    assert (found.prompts, accuracy.test) == (30, "exact permutation over prompts")
    assert accuracy.p_value == pytest.approx(sign_flip_p(gains))


def test_the_interval_of_a_difference_agrees_with_a_plain_paired_bootstrap():
    gold, said = runs(500, seed=3)
    one, two_ = said[:2]
    found = compare(judgements_of(gold, one), [judgements_of(gold, two_)], ["a", "b"], resamples=4000).pairs[0]

    def f1(g, s):
        return 2 * (g & s).sum() / (g.sum() + s.sum())

    rng = np.random.default_rng(8)
    index = rng.integers(0, 500, (4000, 500))
    plain = [f1(gold[i], two_[i]) - f1(gold[i], one[i]) for i in index]
    low, high = np.percentile(plain, [2.5, 97.5])
    difference = differences(found)["f1"]
    assert difference.difference == pytest.approx(f1(gold, two_) - f1(gold, one))
    # 5 standard errors of the gap of two 4,000-resample percentiles: see test_bootstrap
    assert (difference.low, difference.high) == pytest.approx((low, high), abs=0.076 * (high - low))


VERDICTS = st.lists(st.tuples(*[st.sampled_from([0, 1]), *[st.sampled_from([-1, 0, 1])] * 2]), min_size=2, max_size=40)


@settings(deadline=None, max_examples=40)
@given(VERDICTS)
def test_turning_a_comparison_round_turns_its_numbers_round(samples):
    gold, one, other = (list(c) for c in zip(*samples, strict=True))
    there, back = two(one, other, gold, resamples=50), two(other, one, gold, resamples=50)
    assert there.matrix["right→wrong"] == back.matrix["wrong→right"]
    assert sum(there.matrix.values()) == sum(f.n for f in there.flips) == len(samples)
    for d, e in zip(there.differences, back.differences, strict=True):
        assert d.difference == pytest.approx(-e.difference, nan_ok=True)
        assert d.p_value == pytest.approx(e.p_value)
        assert math.isnan(d.difference) == math.isnan(d.low)


def test_equal_runs_show_no_difference():
    found = two(BEFORE, BEFORE, family=COMPARED)
    assert {d.difference for d in found.differences} == {0.0}
    assert {d.p_value for d in found.differences} == {1.0}
    assert math.isnan(found.cohens_g) and found.odds_ratio == 1.0


def test_a_sample_never_heard_makes_the_pair_provisional():
    failed = OUTCOMES.index(Outcome.FAILED)
    after = judgements_of([1, 0], [1, -1], outcome=[0, failed])
    assert compare(judgements_of([1, 0], [1, 0]), [after], ["a", "b"]).pairs[0].provisional
    assert not two().provisional


def test_a_comparison_travels_as_json():
    found = compare(judgements_of([1, 1], [1, 0]), [judgements_of([1, 1], [1, 1])], ["base", "new"])
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["pairs"][0]["flips"][0]["ids"] == ["1"] or plain["pairs"][0]["flips"][1]["ids"] == ["1"]
    overflagging = next(d for d in plain["pairs"][0]["differences"] if d["metric"] == "overflagging")
    assert overflagging["difference"] is None  # no negatives: n/a


def test_unlabelled_samples_make_no_pairs():
    found = pair(judgements_of([1, -1], [1, 1]), judgements_of([1, -1], [0, 1]), ("a", "b"))
    assert (len(found), found.left_out) == (1, 1)
