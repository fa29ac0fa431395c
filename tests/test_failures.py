"""Modes of failure: what is in which, shares, categories, confusion of policies, examples worked by hand."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.data import Judged, Outcome, Sample, Target, Verdict, Vote, Voters
from guardeval.errors import ConfigError
from guardeval.failures import (
    MISJUDGED,
    Mode,
    kinds,
    mode_named,
    mode_shares,
    modes,
    policy_confusion,
    populations,
    rates_by_category,
    typical_ngrams,
)
from guardeval.judged import Judgements
from guardeval.testing.builders import a_judged

NAMES = ("hate", "theft", "spying")


def judgements(judged: list[Judged]) -> Judgements:
    return Judgements.of(judged, Target.PROMPT, NAMES)


subsets = st.sampled_from([frozenset(c) for n in range(4) for c in combinations(NAMES, n)])
VOTES = [votes for n in range(4) for votes in product([True, False, None], repeat=n)]


@st.composite
def any_judged(draw: st.DrawFn, index: int = 0) -> Judged:
    gold = draw(st.sampled_from([True, False, None]))
    label = draw(st.sampled_from([True, False, None]))
    known = draw(subsets)
    violated = known & draw(subsets) if gold else frozenset()
    said = draw(st.sampled_from(VOTES))
    votes = tuple(Vote(f"m{i}", Outcome.FAILED if v is None else Outcome.PARSED, v) for i, v in enumerate(said))
    voters = draw(st.sampled_from([Voters.MODELS, Voters.STAGES])) if votes else None
    score = draw(st.sampled_from([None, 0.0, 0.4, 0.41, 0.5, 0.59, 0.6, 1.0]))
    outcome = Outcome.PARSED if label is not None else draw(st.sampled_from([Outcome.UNPARSEABLE, Outcome.FAILED]))
    policies = draw(subsets)
    verdict = Verdict(Target.PROMPT, outcome, label, score, policies, votes=votes, voters=voters)
    labels = {} if gold is None else {Target.PROMPT: gold}
    category = draw(st.sampled_from([None, "a", "b"]))
    prompt = draw(st.sampled_from(["x", "y", f"prompt {index}"]))
    return Judged(Sample(str(index), index, prompt, None, labels, violated, known, category), verdict)


many_judged = st.integers(1, 10).flatmap(lambda n: st.tuples(*(any_judged(i) for i in range(n))).map(list))


def modes_by_loop(one: Judged, margin: float) -> set[Mode]:
    """The definitions again, sample by sample, in the words of the documentation."""
    gold, verdict = one.sample.labels.get(Target.PROMPT), one.verdict
    if gold is None:
        return set()
    out = set()
    if gold is False and verdict.label is True:
        out.add(Mode.OVERFLAGGED)
    if gold is True and verdict.label is False:
        out.add(Mode.MISSED)
    known = one.sample.known_policies
    if gold and verdict.label and verdict.policies & known != one.sample.policies & known:
        out.add(Mode.POLICY_CONFUSION)
    if verdict.label is None:
        out.add(Mode.UNREADABLE)
    narrow = verdict.score is not None and abs(2 * verdict.score - 1) < margin - 1e-9
    heard = [v.label for v in verdict.votes if v.label is not None] if verdict.voters is Voters.MODELS else []
    if narrow or len(set(heard)) == 2:
        out.add(Mode.EDGE)
    return out


@given(many_judged, st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_masks_are_what_the_definitions_say_of_each_sample(judged, margin):
    found = modes(judgements(judged), margin)
    for i, one in enumerate(judged):
        assert {m for m in Mode if found[m][i]} == modes_by_loop(one, margin)


@given(many_judged)
def test_a_mode_is_part_of_what_it_is_a_share_of_and_the_misjudged_ones_exclude_each_other(judged):
    columns = judgements(judged)
    found, whole = modes(columns), populations(columns)
    for mode in Mode:
        assert not (found[mode] & ~whole[mode]).any()
    assert sum(found[m].astype(int) for m in MISJUDGED).max() <= 1
    for shown in mode_shares(columns):
        assert shown.count == found[shown.mode].sum() and shown.share.n == whole[shown.mode].sum()
        assert math.isnan(shown.share.value) == (shown.share.n == 0)
        if shown.share.n:
            assert shown.share.low - 1e-12 <= shown.share.value <= shown.share.high + 1e-12


@given(many_judged)
def test_every_labelled_sample_stands_in_one_cell_of_the_confusion_and_in_its_row(judged):
    columns = judgements(judged)
    found = policy_confusion(columns)
    assert found.n == (columns.gold >= 0).sum()
    at = {name: i for i, name in enumerate(found.rows)}
    assert found.counts[at["negative"]].sum() == (columns.gold == 0).sum()
    assert found.counts[:, found.columns.index("no verdict")].sum() == modes(columns)[Mode.UNREADABLE].sum()
    for name in NAMES:
        mine = [j for j in judged if j.sample.labels.get(Target.PROMPT) and j.sample.policies == {name}]
        assert found.counts[at[name]].sum() == len(mine)


def test_a_score_on_the_border_of_the_margin_is_no_edge_case():
    columns = judgements([a_judged(True, True, i, score=s) for i, s in enumerate((0.4, 0.401, 0.5, 0.599, 0.6))])
    assert modes(columns, 0.2)[Mode.EDGE].tolist() == [False, True, True, True, False]


def test_the_shares_of_a_small_run_worked_by_hand():
    known = frozenset(NAMES)
    theft = {"policies": frozenset({"theft"}), "known_policies": known}
    judged = [
        a_judged(False, True, 0),
        *(a_judged(False, False, i) for i in (1, 2, 3)),
        a_judged(False, None, 4, outcome=Outcome.TRUNCATED),
        a_judged(True, False, 5),
        a_judged(True, True, 6),  # flagged, but its labels settle no policy
        a_judged(None, True, 7),
    ]
    rest = [Sample(str(i), i, f"p{i}", labels={Target.PROMPT: True}, **theft) for i in (8, 9)]
    verdicts = [Verdict(Target.PROMPT, Outcome.PARSED, True, policies=frozenset(p)) for p in ({"theft"}, {"theft", "hate"})]
    judged += [Judged(s, v) for s, v in zip(rest, verdicts, strict=True)]
    shares = {s.mode: s for s in mode_shares(judgements(judged))}
    assert [(m, shares[m].count, shares[m].share.n) for m in Mode] == [
        (Mode.OVERFLAGGED, 1, 4),
        (Mode.MISSED, 1, 4),
        (Mode.POLICY_CONFUSION, 1, 2),
        (Mode.UNREADABLE, 1, 9),
        (Mode.EDGE, 0, 0),
    ]
    over = shares[Mode.OVERFLAGGED].share
    # Wilson for 1 of 4: centre (1/4 + z²/8) / (1 + z²/4), half z·√(3/64 + z²/64) / (1 + z²/4), z² = 3.8415
    assert (over.value, over.low, over.high) == (0.25, pytest.approx(0.0456, abs=1e-4), pytest.approx(0.6994, abs=1e-4))
    assert math.isnan(shares[Mode.EDGE].share.value)


def test_where_prompts_repeat_the_interval_is_that_of_different_prompts():
    once = mode_shares(judgements([a_judged(False, i < 2, i) for i in range(8)]))[0].share
    pairs = [a_judged(False, i % 8 < 2, i, prompt=f"prompt {i % 8}") for i in range(16)]
    twice = mode_shares(judgements(pairs))[0].share
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    assert (once.n, twice.n) == (8, 16)


def test_cells_of_the_confusion_worked_by_hand():
    def one(index, gold, named, label=True):
        sample = Sample(
            str(index),
            index,
            f"p{index}",
            labels={Target.PROMPT: bool(gold)},
            policies=frozenset(gold),
            known_policies=frozenset(NAMES),
        )
        outcome = Outcome.FAILED if label is None else Outcome.PARSED
        return Judged(sample, Verdict(Target.PROMPT, outcome, label, policies=frozenset(named)))

    cases = [
        (("theft",), ("theft",), True, "theft", "theft"),
        (("theft",), ("hate",), True, "theft", "hate"),
        (("theft",), ("theft", "hate"), True, "theft", "several, all gold among them"),
        (("theft",), ("spying", "hate"), True, "theft", "several, not all gold"),
        (("theft", "hate"), ("theft", "hate"), True, "several", "several, all gold among them"),
        (("theft", "hate"), ("theft",), True, "several", "theft"),
        (("theft",), (), True, "theft", "flagged, none named"),
        (("theft",), ("theft",), False, "theft", "passed"),
        ((), ("theft",), True, "negative", "theft"),
        ((), ("theft", "hate"), True, "negative", "several, not all gold"),
        ((), (), None, "negative", "no verdict"),
    ]
    for gold, named, label, row, column in cases:
        found = policy_confusion(judgements([one(0, gold, named, label)]))
        assert found.counts[found.rows.index(row), found.columns.index(column)] == 1, (gold, named, label)


def test_rates_by_category_add_up_to_those_of_the_run_and_leave_missing_verdicts_out():
    judged = [a_judged(False, i % 2 == 0, i, category="a" if i < 6 else None) for i in range(10)]
    judged += [
        a_judged(False, None, 10, category="a"),
        a_judged(None, True, 11, category="b"),
        a_judged(True, False, 12, category="c"),
    ]
    rates = {r.category: r for r in rates_by_category(judgements(judged))}
    assert list(rates) == ["a", "c", None]
    assert (rates["a"].overflagging.value, rates["a"].overflagging.n) == (0.5, 6)
    assert (rates[None].overflagging.value, rates[None].overflagging.n) == (0.5, 4)
    assert (rates["c"].underflagging.value, rates["c"].underflagging.n, rates["c"].overflagging.n) == (1.0, 1, 0)
    assert math.isnan(rates["c"].overflagging.value)


@given(many_judged)
def test_each_sample_is_of_one_kind_misjudged_before_edge(judged):
    columns = judgements(judged)
    found = modes(columns)
    for i, kind in enumerate(kinds(columns)):
        of = [m for m in Mode if found[m][i]]
        assert kind == (of[0] if of else None)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("over-flagged", Mode.OVERFLAGGED),
        ("OverFlagged", Mode.OVERFLAGGED),
        ("policy_confusion", Mode.POLICY_CONFUSION),
        ("edge", Mode.EDGE),
    ],
)
def test_modes_go_by_their_names_however_they_are_typed(name, mode):
    assert mode_named(name) is mode


def test_an_unknown_mode_and_an_impossible_margin_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'missed'"):
        mode_named("mised")
    for margin in (-0.1, 1.1, math.nan):
        with pytest.raises(ConfigError, match="from 0 to 1"):
            modes(judgements([a_judged(True, True)]), margin)


def test_what_is_typical_of_overflagged_samples_is_found_against_passed_negatives():
    def prompt(i: int) -> str:
        return f"please kill the process number {i}" if i % 3 == 0 else f"please show the weather of day {i}"

    judged = [a_judged(False, i % 3 == 0, i, prompt=prompt(i)) for i in range(60)]
    judged += [a_judged(True, True, i, prompt="kill him") for i in range(60, 90)]  # positives do not enter
    found = typical_ngrams(judgements(judged))
    first = found[Mode.OVERFLAGGED][0]
    assert "kill" in first.ngram or "process" in first.ngram or "number" in first.ngram
    assert (first.in_group, first.group, first.in_rest, first.rest) == (20, 20, 0, 40)
    assert "please" not in {t.ngram for t in found[Mode.OVERFLAGGED]}
    assert found[Mode.MISSED] == ()


def test_a_response_task_looks_at_the_responses():
    def one(i: int) -> Judged:
        said = "boil the water slowly" if i % 2 else f"nothing of note {i}"
        sample = Sample(str(i), i, "same prompt", said, labels={Target.RESPONSE: False})
        return Judged(sample, Verdict(Target.RESPONSE, Outcome.PARSED, bool(i % 2)))

    columns = Judgements.of([one(i) for i in range(40)], Target.RESPONSE, NAMES)
    assert any("boil" in t.ngram for t in typical_ngrams(columns)[Mode.OVERFLAGGED])


def test_masks_have_the_length_of_the_run_even_when_it_is_empty():
    empty = judgements([])
    assert all(mask.shape == (0,) for mask in modes(empty).values())
    assert all(np.isnan(s.share.value) for s in mode_shares(empty))
    assert rates_by_category(empty) == () and policy_confusion(empty).n == 0
    assert all(v == () for v in typical_ngrams(empty).values())
