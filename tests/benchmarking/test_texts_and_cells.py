"""What is asked, and in which order."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.benchmarking.cells import Cell, Kind, cells_of, in_order, models_in_order
from guardeval.benchmarking.settings import BenchSettings
from guardeval.benchmarking.texts import FILLER, distinct, lengthened, numbered, of_length
from guardeval.contracts import Traits
from guardeval.data import Target
from guardeval.errors import ConfigError
from guardeval.testing import a_sample


@given(st.text(max_size=300), st.integers(1, 2000), st.integers(0, 99))
def test_a_text_gets_exactly_the_length_asked_for_and_keeps_its_beginning(text, characters, start):
    found = lengthened(text, characters, start)
    assert len(found) == characters
    assert found.startswith(text[:characters])
    assert found == lengthened(text, characters, start)


def test_filler_begins_with_another_sentence_for_every_sample():
    assert len({lengthened("same", 400, start) for start in range(len(FILLER))}) == len(FILLER)


def test_the_text_that_is_judged_is_lengthened():
    sample = a_sample("ask", "answer")
    assert [
        len(t) for t in (of_length(sample, Target.PROMPT, 80, 0).prompt, of_length(sample, Target.REFUSAL, 80, 0).response)
    ] == [80, 80]
    assert of_length(sample, Target.RESPONSE, 80, 0).prompt == "ask"


def test_equal_questions_are_asked_once_and_numbers_make_them_differ():
    samples = [a_sample("a", id="1"), a_sample("a", id="2"), a_sample("a", "b", id="3"), a_sample("c", id="4")]
    assert [s.id for s in distinct(samples, 9)] == ["1", "3", "4"]
    assert [s.id for s in distinct(samples, 2)] == ["1", "3"]
    assert len({numbered(a_sample("a"), i).prompt for i in range(50)}) == 50


def test_a_local_model_has_a_cell_a_setting():
    cells, left_out = cells_of(BenchSettings(), Traits(batch=32), local=True, n=50)
    assert Counter(c.kind for c in cells) == {Kind.CONCURRENCY: 4, Kind.LENGTH: 3, Kind.BATCH: 3, Kind.FIRST_TOKEN: 1}
    assert left_out == []


@pytest.mark.parametrize(
    ("traits", "local", "n", "gone", "why"),
    [
        (Traits(batch=8), True, 50, {Cell(Kind.BATCH, 16)}, "at most 8 prompts a call"),
        (Traits(batch=32), True, 10, {Cell(Kind.BATCH, 16)}, "10 samples do not fill one"),
        (Traits(remote=True), False, 50, {Cell(Kind.BATCH, b) for b in (1, 4, 16)}, "makes its own batches"),
        (Traits(batch=32, classifies=True), True, 50, {Cell(Kind.FIRST_TOKEN, 1)}, "writes no tokens"),
    ],
)
def test_what_cannot_be_measured_is_left_out_and_said(traits, local, n, gone, why):
    every, _ = cells_of(BenchSettings(), Traits(batch=32), local=True, n=50)
    cells, left_out = cells_of(BenchSettings(), traits, local=local, n=n)
    assert set(every) - set(cells) == gone
    assert any(why in said for said in left_out)


def test_every_round_has_an_order_of_its_own_and_the_same_seed_the_same_one():
    cells, _ = cells_of(BenchSettings(), Traits(batch=32), local=True, n=50)
    orders = [tuple(in_order(cells, 0, turn, 0)) for turn in range(5)]
    assert len(set(orders)) == 5
    assert all(set(order) == set(cells) for order in orders)
    assert orders[2] == tuple(in_order(cells, 0, 2, 0))


def test_no_model_is_always_first():
    orders = [models_in_order(3, turn) for turn in range(3)]
    assert {order[0] for order in orders} == {0, 1, 2}
    assert all(sorted(order) == [0, 1, 2] for order in orders)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": ()}, "no model"),
        ({"concurrency": (1, 1)}, "different whole numbers"),
        ({"batch": (0,)}, "--batch 0"),
        ({"n": 0}, "--n 0"),
        ({"rounds": 0}, "--rounds 0"),
        ({"max_tokens": 0}, "--max_tokens 0"),
        ({"accuracy_floor": 70.0}, "share in"),
        ({"limit_ms": 0.0}, "above 0"),
        ({"limit_ms": float("nan")}, "above 0"),
        ({"concurrency": (), "batch": (), "lengths": ()}, "nothing to measure"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        BenchSettings(**wrong)
