"""Which samples a page shows where there are more than it holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.data import Judged, Outcome, Sample, Target, Verdict
from guardeval.judged import Judgements
from guardeval.report.html.choice import chosen, is_error

SAID = {True: (Outcome.PARSED, True), False: (Outcome.PARSED, False), None: (Outcome.UNPARSEABLE, None)}


def judgements(pairs):
    """From (gold, said): None is no label, no verdict."""
    return Judgements.of(
        [
            Judged(
                Sample(str(i), i, f"p{i}", labels={} if gold is None else {Target.PROMPT: gold}),
                Verdict(Target.PROMPT, *SAID[said]),
            )
            for i, (gold, said) in enumerate(pairs)
        ],
        Target.PROMPT,
    )


pairs = st.lists(st.tuples(st.sampled_from([True, False, None]), st.sampled_from([True, False, None])), max_size=60)


@given(st.lists(pairs, min_size=1, max_size=3), st.integers(0, 120), st.integers(0, 9))
def test_as_many_as_asked_for_each_once_and_every_error_that_fits(parts, most, seed):
    judged = [judgements(p) for p in parts]
    rows = chosen(judged, most, seed)
    assert sum(map(len, rows)) == min(most, sum(map(len, judged)))
    assert all((np.diff(r) > 0).all() for r in rows)  # in order, none twice
    errors = sum(int(is_error(j).sum()) for j in judged)
    shown = sum(int(is_error(j)[r].sum()) for j, r in zip(judged, rows, strict=True))
    assert shown == min(errors, most)


def test_the_rest_keeps_its_proportions():
    judged = judgements([(True, True)] * 300 + [(False, False)] * 600 + [(False, True)] * 10)
    (rows,) = chosen([judged], 100)
    gold, right = judged.gold[rows], ~is_error(judged)[rows]
    assert [(~right).sum(), (gold[right] == 1).sum(), (gold[right] == 0).sum()] == [10, 30, 60]


def test_the_same_seed_draws_the_same_and_another_draws_others():
    judged = judgements([(False, False)] * 500)
    one, same, other = (chosen([judged], 50, seed)[0].tolist() for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize(
    ("gold", "said", "error"), [(True, True, 0), (False, True, 1), (True, False, 1), (True, None, 1), (None, True, 0)]
)
def test_an_error_is_a_labelled_sample_without_the_right_verdict(gold, said, error):
    assert is_error(judgements([(gold, said)])).sum() == error
