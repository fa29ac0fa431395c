"""The samples behind a flip matrix."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guardeval.compare import compare
from guardeval.data import Target
from guardeval.errors import DataError
from guardeval.flipped import FlippedSamples
from guardeval.judged import Judgements
from guardeval.testing.builders import a_judged

LABELS = [(False, True, False), (False, False, True), (False, False, True), (True, True, None), (True, True, True)]


def run(which: int, order=(0, 1, 2, 3, 4)) -> Judgements:
    return Judgements.of(
        [a_judged(LABELS[i][0], LABELS[i][which], k, id=f"s{i}", prompt=f"p{i}") for k, i in enumerate(order)], Target.PROMPT
    )


def test_each_changed_cell_yields_its_samples_as_both_runs_judged_them():
    before, after = run(1), run(2, order=(4, 2, 0, 1, 3))
    (pair,) = compare(before, [after], ["a", "b"], resamples=10).pairs
    behind = FlippedSamples(before, after)
    shown = {}
    for flip in pair.flips:
        for one, two in behind.of(flip):
            assert one.sample.id == two.sample.id and one.sample.prompt == two.sample.prompt
            shown[one.sample.id] = (one.verdict.label, two.verdict.label)
    assert shown == {"s0": (True, False), "s1": (False, True), "s2": (False, True), "s3": (True, None)}
    lost = next(f for f in pair.flips if f.n == 2 and f.ids)
    assert [one.sample.id for one, _ in behind.of(lost, most=1)] == ["s1"]


def test_a_flip_of_other_runs_is_refused():
    before, after = run(1), run(2)
    (pair,) = compare(before, [after], ["a", "b"], resamples=10).pairs
    other = replace(next(f for f in pair.flips if f.ids), ids=("elsewhere",))
    with pytest.raises(DataError, match="'elsewhere'"):
        list(FlippedSamples(before, after).of(other))
