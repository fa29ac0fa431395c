"""The joint test: exact where it can be counted, free of the order of samples, stricter for many checks than for one."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from gates_simulation import Trade
from gates_support import bench, benches, missing_more, pair_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guardeval.data import Target
from guardeval.gates.measures import measures_of
from guardeval.gates.pairs import Said, TaskPair
from guardeval.gates.swaps import counts_of, joint_test, losses, step_down


def a_pair(gold, before, after, cluster=None) -> TaskPair:
    gold = np.asarray(gold)
    none = np.zeros(len(gold), np.int64)
    cluster = np.arange(len(gold)) if cluster is None else np.asarray(cluster)
    said = [Said(np.asarray(label), none) for label in (before, after)]
    return TaskPair("t", Target.PROMPT, (), gold, none, none, cluster, none - 1, (), *said)


def found_in(pairs, metrics=("accuracy",), tolerance=0.0, permutations=4999, seed=0):
    measures = [m for p in pairs for m in measures_of(p, metrics, policies=False, slices=False)]
    counts = counts_of(pairs, measures, "strict")
    n = len(measures)
    return joint_test(counts, np.eye(n), np.full(n, tolerance), np.ones(n, bool), 0.05, permutations, seed)


def flips(lost: int, gained: int, same: int = 20) -> TaskPair:
    """Right before and wrong after, the other way round, and right in both."""
    n = lost + gained + same
    before = np.array([1] * lost + [0] * gained + [1] * same)
    return a_pair([1] * n, before, np.array([0] * lost + [1] * gained + [1] * same))


@pytest.mark.parametrize(("lost", "gained"), [(5, 0), (8, 2), (12, 9), (3, 6)])
def test_one_check_agrees_with_the_exact_sign_test(lost, gained):
    n = lost + gained
    exact = sum(comb(n, k) for k in range(lost, n + 1)) / 2**n  # one-sided: as many losses or more
    found = found_in([flips(lost, gained)], permutations=40_000)
    assert found.p[0] == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 40_000) ** 0.5 + 1e-4)
    assert found.adjusted[0] == found.p[0]


def test_nothing_changed_is_no_evidence():
    found = found_in([flips(0, 0)])
    assert (found.loss[0], found.spread[0], found.p[0]) == (0.0, 0.0, 1.0)


def test_a_tolerance_asks_for_more():
    pair = flips(12, 2, same=186)
    p = [float(found_in([pair], tolerance=t).p[0]) for t in (0.0, 0.01, 0.03, 0.05, 0.2)]
    assert p == sorted(p)
    assert p[0] < 0.02 < p[3]
    assert p[4] > 0.99


def test_many_checks_ask_for_more_than_one_and_fewer_than_bonferroni():
    rng = np.random.default_rng(3)
    tasks = benches(200, 3, tasks=3)
    said = [(b.said(rng), b.said(rng)) for b in tasks]
    said[0] = (said[0][0], missing_more(tasks[0], said[0][0], 0.12, rng))
    found = found_in([pair_of(b, *s) for b, s in zip(tasks, said, strict=True)], ("f1", "recall", "accuracy", "underflagging"))
    worst = int(np.argmin(found.p))
    assert found.p[worst] < found.adjusted[worst] < 12 * found.p[worst]


def test_the_order_of_samples_and_tasks_changes_nothing():
    rng = np.random.default_rng(1)
    tasks = benches(80, 2, tasks=2)
    pairs = [pair_of(b, b.said(rng), b.said(rng)) for b in tasks]
    found = found_in(pairs, ("f1", "overflagging"))
    order = rng.permutation(80)
    shuffled = [_ordered(p, order) for p in pairs]
    assert found_in(shuffled, ("f1", "overflagging")).p.tolist() == found.p.tolist()


def _ordered(pair: TaskPair, order) -> TaskPair:
    columns = {c: getattr(pair, c)[order] for c in ("gold", "gold_policies", "known_policies", "cluster", "category")}
    before, after = (Said(s.label[order], s.policies[order]) for s in (pair.before, pair.after))
    return replace(pair, **columns, before=before, after=after)


def test_a_loss_is_measured_by_its_standard_error_where_swaps_show_less():
    """A guard that flags next to nothing in place of half: F1 stays, and over samples it varies by more than swaps show."""
    rng, trade, n = np.random.default_rng(0), Trade(0.1, 0.9, 0.5, 0.2), 1500
    losses_drawn, spreads = [], []
    for _ in range(200):
        gold = (rng.random(n) < trade.positives).astype(int)
        luck = rng.random(n)
        said = [
            luck < np.where(gold, *sure) for sure in ((trade.found, trade.flagged), (trade.found_later, trade.flagged_later))
        ]
        found = found_in([a_pair(gold, *(s.astype(int) for s in said))], ("f1",), permutations=99)
        losses_drawn.append(found.loss[0])
        spreads.append(found.spread[0])
    assert np.mean(spreads) == pytest.approx(np.std(losses_drawn), rel=0.07)


def test_rows_of_one_prompt_count_as_one_flip():
    once = flips(5, 0)
    label = [np.repeat(s.label, 6) for s in (once.before, once.after)]
    six = a_pair(np.repeat(once.gold, 6), *label, cluster=np.repeat(once.cluster, 6))
    apart = a_pair(np.repeat(once.gold, 6), *label)
    assert found_in([six]).p[0] == pytest.approx(found_in([once]).p[0], abs=0.02)  # 2⁻⁵, not 2⁻³⁰
    assert found_in([apart]).p[0] < 0.001


def test_a_prompt_in_two_tasks_is_swapped_in_both():
    """Two tasks over the same five prompts hold five flips between them, not ten: their average is no surer than either."""
    one = flips(5, 0)
    two = replace(one, name="u")
    pairs = [one, two]
    measures = [m for p in pairs for m in measures_of(p, ("accuracy",), policies=False, slices=False)]
    counts = counts_of(pairs, measures, "strict")
    both = joint_test(counts, np.array([[0.5, 0.5]]), np.zeros(1), np.ones(1, bool), 0.05, 20_000, 0)
    assert both.p[0] == pytest.approx(2**-5, abs=0.005)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_what_one_side_loses_the_other_gains(seed):
    rng = np.random.default_rng(seed)
    one = bench("t", 30, rng)
    pair = pair_of(one, one.said(rng), one.said(rng))
    measures = measures_of(pair, ("f1", "overflagging", "coverage", "accuracy", "mcc"), policies=True, slices=True)
    counts = counts_of([pair], measures, "strict")
    back = counts_of([replace(pair, before=pair.after, after=pair.before)], measures, "strict")
    assert losses(measures, counts.before, counts.after) == pytest.approx(-losses(measures, back.before, back.after))


_T = arrays(float, st.integers(1, 6), elements=st.floats(-3, 6))


@settings(max_examples=50)
@given(_T, st.integers(0, 1000))
def test_adjusted_p_values_are_no_smaller_and_in_the_order_of_the_statistics(t, seed):
    drawn = np.random.default_rng(seed).normal(size=(99, len(t)))
    p, adjusted = step_down(t, drawn)
    assert (adjusted >= p - 1e-12).all()
    assert (np.diff(adjusted[np.argsort(-t, kind="stable")]) >= 0).all()
    assert ((p >= 1 / 100) & (adjusted <= 1.0)).all()
