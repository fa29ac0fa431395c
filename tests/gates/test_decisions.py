"""What a gate decides: noise passes, a worse model does not, and what it could not have seen is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gates_simulation import SIZES, TRADES, Alarms, Change, alarms_at_tolerance, alarms_of_trade, coverage, false_alarms, power
from gates_support import benches, flagging_more, missing_more, pair_of

from guardeval.gates.decisions import decide
from guardeval.gates.findings import Kind, Status
from guardeval.gates.limits import Key, Limit, Limits
from guardeval.gates.pairs import Said
from guardeval.gates.settings import GateSettings

QUICK = GateSettings(permutations=999, resamples=100)


def status(findings, task, metric="f1", part=""):
    return next(f.status for f in findings if (f.task, f.metric, f.part) == (task, metric, part))


def budget_of(findings):
    return next(f for f in findings if f.kind is Kind.BUDGET)


@pytest.fixture(scope="module")
def tasks():
    return benches(600, 4)


@pytest.fixture(scope="module")
def baseline(tasks):
    rng = np.random.default_rng(9)
    return [b.said(rng) for b in tasks]


def pairs_of(tasks, before, after):
    return [pair_of(b, x, y) for b, x, y in zip(tasks, before, after, strict=True)]


def test_the_same_verdicts_pass_every_check(tasks, baseline):
    findings, _ = decide(pairs_of(tasks, baseline, baseline), QUICK, ["task0"])
    assert {f.status for f in findings} == {Status.PASSED}
    assert {f.adjusted for f in findings} == {1.0}
    assert all(f.difference == 0.0 and f.interval[0] < 0 < f.interval[1] for f in findings)  # n samples show no certainty


def test_where_nothing_changed_the_interval_is_of_the_samples_that_count(tasks, baseline):
    """Over-flagging is of negatives alone; F1 of a policy hangs on its few positives, of whom each counts more than one of n."""
    gold = np.repeat([1, 0], [480, 20])
    one = replace(
        tasks[0], gold=gold, gold_policies=(np.arange(500) < 6).astype(int), cluster=np.arange(500), category=np.arange(500) % 5
    )
    said = Said(gold.astype(np.int8), one.gold_policies)
    found = {(f.metric, f.part): f for f in decide([pair_of(one, said, said)], replace(QUICK, min_positives=1))[0]}
    overflagging = found["overflagging", ""]
    assert (overflagging.n, found["f1", ""].n, found["coverage", ""].n) == (20, 500, 500)
    assert overflagging.interval == pytest.approx((-0.161, 0.161), abs=5e-4)  # Wilson's for 0 of 20
    assert found["coverage", ""].interval == pytest.approx((-0.0076, 0.0076), abs=5e-5)  # for 0 of 500
    assert found["f1", "policy:hate_speech"].interval == pytest.approx((-0.270, 0.270), abs=5e-4)


@pytest.mark.parametrize(
    "change",
    [
        Change("overflagging", 480, 20, 0.8, 0.1, added=0.02),
        Change("f1", 6, 50, 0.9, 0.02, missed=0.26, part="policy:violence"),
        Change("recall", 20, 36, 0.8, 0.1, missed=0.1),
    ],
)
def test_an_interval_holds_the_true_difference(change):
    found = coverage(change, 200)
    assert found.unchanged > 20  # the case that a bootstrap knows nothing of
    assert found.rate >= found.least


@pytest.mark.parametrize("worse", [missing_more, flagging_more])
def test_a_worse_model_fails_where_it_is_worse_and_nowhere_else(tasks, baseline, worse):
    after = [worse(tasks[0], baseline[0], 0.3, np.random.default_rng(1)), *baseline[1:]]
    findings, _ = decide(pairs_of(tasks, baseline, after), QUICK)
    assert status(findings, "task0") is Status.FAILED
    assert {f.task for f in findings if f.status is Status.FAILED} == {"task0"}
    assert status(findings, "task0", "overflagging") is (Status.FAILED if worse is flagging_more else Status.PASSED)


def test_a_better_model_passes(tasks, baseline):
    before = [missing_more(b, said, 0.3, np.random.default_rng(1)) for b, said in zip(tasks, baseline, strict=True)]
    findings, _ = decide(pairs_of(tasks, before, baseline), QUICK)
    assert {f.status for f in findings} == {Status.PASSED}


def test_verdicts_that_go_missing_cost_coverage(tasks, baseline):
    silent = np.random.default_rng(2).random(600) < 0.1
    after = replace(baseline[0], label=np.where(silent, -1, baseline[0].label).astype(np.int8))
    findings, _ = decide(pairs_of(tasks[:1], baseline[:1], [after]), QUICK)
    assert status(findings, "task0", "coverage") is Status.FAILED


def test_a_loss_of_one_policy_alone_is_found(tasks, baseline):
    violence = 1 << 2
    blind = replace(baseline[0], policies=baseline[0].policies & ~violence)
    findings, _ = decide(pairs_of(tasks[:1], baseline[:1], [blind]), QUICK)
    assert {f.part for f in findings if f.status is Status.FAILED} == {"policy:violence"}
    assert decide(pairs_of(tasks[:1], baseline[:1], [blind]), replace(QUICK, policies=False))[0][0].status is Status.PASSED


def test_a_slice_can_be_held_too(tasks, baseline):
    one, said = tasks[0], baseline[0]
    wrong = (one.category == 3) & (np.random.default_rng(0).random(600) < 0.5)
    after = replace(said, label=np.where(wrong, 1 - one.gold, said.label).astype(np.int8))
    pairs = pairs_of(tasks[:1], baseline[:1], [after])
    findings, _ = decide(pairs, replace(QUICK, slices=True, policies=False))
    assert status(findings, "task0", "accuracy", "category:d") is Status.FAILED
    assert status(findings, "task0", "accuracy", "category:a") is Status.PASSED
    small, _ = decide(pairs, replace(QUICK, slices=True, policies=False, min_slice=500))
    assert {f.status for f in small if f.part} == {Status.SKIPPED}


def test_a_tolerance_allows_its_loss(tasks, baseline):
    after = [missing_more(tasks[0], baseline[0], 0.2, np.random.default_rng(1)), *baseline[1:]]
    pairs = pairs_of(tasks, baseline, after)
    allowed = replace(QUICK, tolerance=Limits({Key("f1", "task0"): Limit(0.2)}), policies=False)
    assert status(decide(pairs, replace(QUICK, policies=False))[0], "task0") is Status.FAILED
    found = decide(pairs, allowed)[0]
    assert status(found, "task0") is Status.PASSED
    assert "within the 0.2 allowed" in found[0].message


def gain(one, said, rng):
    """Half of what was judged wrong becomes right."""
    right = (rng.random(len(one.gold)) < 0.5) & (said.label != one.gold)
    return replace(said, label=np.where(right, one.gold, said.label).astype(np.int8))


def test_a_gain_in_family_does_not_pay_for_a_loss_out_of_family(tasks, baseline):
    rng = np.random.default_rng(6)
    lost = [missing_more(b, said, 0.2, rng) for b, said in zip(tasks[1:], baseline[1:], strict=True)]
    settings = replace(QUICK, tolerance=Limits({Key("f1"): Limit(0.5)}), metrics=("f1",), policies=False)
    findings, notes = decide(pairs_of(tasks, baseline, [gain(tasks[0], baseline[0], rng), *lost]), settings, ["task0"])
    assert budget_of(findings).status is Status.FAILED
    assert [f.kind for f in findings if f.status is Status.FAILED] == [Kind.BUDGET]
    assert "in family it rises" in budget_of(findings).message
    assert len(notes) == 1 and notes[0].startswith("in family (task0): macro F1")


def test_a_gain_in_family_alone_keeps_the_budget(tasks, baseline):
    after = [gain(tasks[0], baseline[0], np.random.default_rng(6)), *baseline[1:]]
    findings, _ = decide(pairs_of(tasks, baseline, after), QUICK, ["task0"])
    assert budget_of(findings).status is Status.PASSED
    assert budget_of(findings).n == 1800


def test_a_loss_that_may_be_noise_keeps_the_budget_unless_it_is_strict(tasks, baseline):
    label = baseline[1].label.copy()
    label[np.flatnonzero((tasks[1].gold == 1) & (label == 1))[:2]] = 0  # two samples say nothing
    small = replace(baseline[1], label=label)
    pairs = pairs_of(tasks, baseline, [baseline[0], small, *baseline[2:]])
    settings = replace(QUICK, budget=0.0, in_family=("task0",))
    assert budget_of(decide(pairs, settings, ["task0"])[0]).status is Status.PASSED
    strict = budget_of(decide(pairs, replace(settings, budget_strict=True), ["task0"])[0])
    assert strict.status is Status.FAILED
    assert strict.difference < 0 and "budget_strict" in strict.message


def test_a_budget_without_tasks_out_of_family_is_skipped(tasks, baseline):
    findings, _ = decide(pairs_of(tasks[:1], baseline[:1], baseline[:1]), QUICK, ["task0"])
    assert budget_of(findings).status is Status.SKIPPED
    assert "no task out of family" in budget_of(findings).message


def test_a_task_without_positives_neither_passes_on_f1_nor_thins_out_the_budget(tasks, baseline):
    rng = np.random.default_rng(6)
    none = replace(tasks[0], name="none", gold=0 * tasks[0].gold, gold_policies=0 * tasks[0].gold_policies)
    lost = [missing_more(b, said, 0.2, rng) for b, said in zip(tasks[1:], baseline[1:], strict=True)]
    pairs = pairs_of(tasks[1:], baseline[1:], lost)
    found, _ = decide([pair_of(none, baseline[0], baseline[0]), *pairs], QUICK, [])
    assert status(found, "none") is Status.SKIPPED
    assert budget_of(found).difference == budget_of(decide(pairs, QUICK, [])[0]).difference


def test_a_check_says_what_it_could_have_seen_and_may_be_required_to_see_it(tasks, baseline):
    pairs = pairs_of(tasks, baseline, baseline)
    few = [pair_of(b, said, said) for b, said in ((b, b.said(np.random.default_rng(1))) for b in benches(40, 3))]
    seen = {f.task: f.detectable for f in decide(pairs, QUICK)[0] if (f.metric, f.part) == ("f1", "")}
    of_few = {f.task: f.detectable for f in decide(few, QUICK)[0] if (f.metric, f.part) == ("f1", "")}
    assert all(seen[t] < 0.06 < (of_few[t] or 1.0) for t in seen)
    wanted = replace(QUICK, require_detectable=Limits({Key("f1"): Limit(0.06)}))
    assert {f.status for f in decide(pairs, wanted)[0]} == {Status.PASSED}
    blind = [f for f in decide(few, wanted)[0] if f.status is Status.FAILED]
    assert {f.task for f in blind} == set(of_few)
    assert all("0.06 is required (require_detectable)" in f.message for f in blind)


def test_what_cannot_be_decided_is_skipped_with_the_reason(tasks, baseline):
    positive = np.flatnonzero(tasks[0].gold == 1)[:30]
    one = replace(tasks[0], **{c: getattr(tasks[0], c)[positive] for c in ("gold", "gold_policies", "cluster", "category")})
    said = replace(baseline[0], label=baseline[0].label[positive], policies=baseline[0].policies[positive])
    findings, _ = decide([pair_of(one, said, said)], replace(QUICK, min_positives=31))
    told = {f.metric + f.part: f.message for f in findings if f.status is Status.SKIPPED}
    assert "overflagging is undefined: 30 samples, 30 of them positive" in told["overflagging"]
    assert "known positives; 31 are wanted (min_positives)" in told["f1policy:violence"]
    assert status(findings, "task0") is Status.PASSED


def test_reruns_seldom_fail():
    found = [false_alarms(n, reruns, tasks=2) for n, reruns in ((60, 60), (400, 30), (1500, 10))]
    together = Alarms(sum(f.reruns for f in found), sum(f.alarms for f in found), 0.0)
    assert together.rate <= together.most


def test_a_loss_of_the_printed_size_is_found():
    found = power(400, 20, tasks=2)
    assert found.tries == 20
    assert found.rate >= found.least


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
def test_of_a_thousand_reruns_no_more_fail_than_alpha(n):
    found = false_alarms(n, 1000)
    assert found.rate <= found.most


@pytest.mark.slow
@pytest.mark.parametrize("trade", TRADES)
def test_one_error_traded_for_another_seldom_fails(trade):
    """Verdicts are not exchangeable then, so it holds for many samples, and not to the last false alarm."""
    assert alarms_of_trade(trade, 1500, 1000).rate <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("worse", [missing_more, flagging_more])
def test_a_loss_of_just_the_tolerance_seldom_fails(n, worse):
    found = alarms_at_tolerance(n, 500, worse=worse)
    assert found.rate <= found.most


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "worse"), [(60, missing_more), (400, missing_more), (400, flagging_more), (1500, missing_more), (1500, flagging_more)]
)
def test_power_is_as_printed(n, worse):
    found = power(n, 300, worse)
    assert found.tries >= 200
    assert found.rate >= found.least
