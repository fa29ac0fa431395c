"""Draws of any solver: told apart from each other however they are nested, and each with its own account."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.broker import Broker
from guardeval.contracts import Completion, Sampling, Traits
from guardeval.drawing import Redraw
from guardeval.errors import ConfigError
from guardeval.testing.scripted import ScriptedModel, a_request

COLD = Sampling(max_tokens=9, temperature=0.0, stop=("END",), top_logprobs=5)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(1, 5))
def test_no_two_draws_share_a_number_however_deep_they_are_nested(ns, own):
    """A solver that makes ``own`` draws itself, inside self-consistency inside self-consistency."""
    layers = [Redraw(n, 0.7, 0) for n in ns]

    def numbers(draw, left):
        if not left:
            return [draw]
        layer, *rest = left
        asked = (layer.request(a_request(draw=draw), i).draw for i in range(layer.n))
        return [number for each in asked for number in numbers(each, rest)]

    found = [number for d in range(own) for number in numbers(d, layers)]
    total = own
    for n in ns:
        total *= n
    assert sorted(found) == list(range(total))


@given(st.integers(1, 8), st.integers(0, 5))
def test_more_draws_of_a_plain_solver_begin_with_those_of_fewer(n, more):
    few, many = Redraw(n, 0.7, 3), Redraw(n + more, 0.7, 3)
    for i in range(n):
        assert few.request(a_request(), i) == many.request(a_request(), i)


def test_a_draw_changes_temperature_seed_and_number_and_nothing_else():
    request = a_request(sampling=COLD, steps=("Intent",), draw=2)
    asked = Redraw(3, 0.8, 5).request(request, 1)
    assert (asked.prompt, asked.case, asked.steps) == (request.prompt, request.case, request.steps)
    assert asked.sampling == Sampling(max_tokens=9, temperature=0.8, stop=("END",), top_logprobs=5, seed=5)
    assert asked.draw == 2 * 3 + 1


def test_a_sampling_is_made_once_for_all_samples_and_draws():
    redraw = Redraw(3, 0.7, 0)
    made = {id(redraw.request(a_request(f"q{j}", sampling=COLD), i).sampling) for i in range(3) for j in range(4)}
    assert len(made) == 1
    assert redraw.request(a_request(sampling=Sampling(max_tokens=8)), 0).sampling.max_tokens == 8


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ((0, 0.7, 0), "n=0: at least 1"),
        ((3, 0.0, 0), "at 0 all draws are alike"),
        ((3, float("nan"), 0), "above 0"),
        ((3, float("inf"), 0), "above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        Redraw(*options)


async def test_each_draw_keeps_its_own_account_and_the_sample_all_of_them():
    model = ScriptedModel(lambda r: Completion(f"{r.prompt.text} {r.draw}", tokens_in=10, tokens_out=r.draw))
    async with Broker() as broker:
        whole = broker.bind(model).asker()
        draws = Redraw(3, 0.7, 0).askers(whole)
        twice = [[await d.generate(a_request(q)) for q in ("a", "b")] for d in draws]
    assert [[c.text for c in each] for each in twice] == [[f"{q} {i}" for q in "ab"] for i in range(3)]
    assert [(d.usage().requests, d.usage().tokens_in, d.usage().tokens_out) for d in draws] == [
        (2, 20, 2 * i) for i in range(3)
    ]
    assert (whole.usage().requests, whole.usage().tokens_out) == (6, 6)


async def test_draws_that_are_asked_at_once_do_not_mix_up_their_accounts():
    model = ScriptedModel(lambda r: Completion("x", tokens_out=r.draw), latency=0.005)
    async with Broker() as broker:
        outer = Redraw(2, 0.7, 0).askers(broker.bind(model).asker())
        inner = [d for o in outer for d in Redraw(3, 0.9, 4).askers(o)]
        await asyncio.gather(*(d.generate(a_request()) for d in inner))
    assert sorted(d.usage().tokens_out for d in inner) == [0, 1, 2, 3, 4, 5]
    assert [o.usage().tokens_out for o in outer] == [0 + 2 + 4, 1 + 3 + 5]


async def test_a_model_without_an_account_gives_draws_none():
    (draw,) = Redraw(1, 0.7, 0).askers(ScriptedModel(["x"]))
    await draw.generate(a_request())
    assert draw.usage() is None


async def test_a_model_that_classifies_is_asked_as_if_there_were_no_draws():
    model = ScriptedModel(lambda _: "x", traits=Traits(classifies=True))
    for draw in Redraw(3, 0.7, 0).askers(model):
        await draw.generate(a_request(sampling=COLD))
    assert {(r.draw, r.sampling) for r in model.asked} == {(0, COLD)}
