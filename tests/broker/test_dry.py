from __future__ import annotations

import asyncio

import pytest

from guardeval.broker import Broker, Estimate
from guardeval.contracts import Completion, Frame, Sampling, Traits
from guardeval.plugins.dummy import Dummy
from guardeval.testing.scripted import ScriptedModel, a_request

PRICED = Traits(remote=True, price=(1.0, 10.0))


async def ask_all(broker, model, requests):
    bound = broker.bind(model)
    return await asyncio.gather(*(bound.asker().generate(r) for r in requests))


async def test_a_dry_run_sends_nothing_and_foresees_requests_tokens_and_money(tmp_path):
    model = ScriptedModel([], traits=PRICED)
    frame = Frame("p" * 4000)
    async with Broker(tmp_path / "none.sqlite", dry=True) as broker:
        requests = [a_request("x" * 3, frame=frame, sampling=Sampling(max_tokens=100), draw=i) for i in range(10)]
        answers = await ask_all(broker, model, requests * 2)
        assert broker.estimate == Estimate(10, 0, 10 * 1001, 1000, pytest.approx(10 * (1001 + 1000) / 1e6))
    assert {a.text for a in answers} == {""}
    assert (model.asked, model.started, model.closed) == ([], 0, 0)
    assert list(tmp_path.iterdir()) == []


async def test_a_dry_run_knows_what_is_answered_already_and_reads_it(tmp_path):
    requests = [a_request(f"q{i}") for i in range(10)]
    model = ScriptedModel(lambda _: "Decision: harmful", traits=PRICED)
    async with Broker(tmp_path / "c.sqlite") as broker:
        await ask_all(broker, model, requests[:4])
    async with Broker(tmp_path / "c.sqlite", dry=True, max_cost=0) as broker:
        answers = await ask_all(broker, model, requests)
        assert (broker.estimate.distinct, broker.estimate.cached) == (10, 4)
        assert broker.estimate.tokens_out == 6 * 1024
    assert answers == [Completion("Decision: harmful")] * 4 + [Completion("")] * 6
    assert len(model.asked) == 4


async def test_the_cost_of_a_model_without_a_price_is_unknown_not_zero():
    async with Broker(dry=True) as broker:
        await ask_all(broker, ScriptedModel([]), [a_request()])
        await ask_all(broker, ScriptedModel([], name="b", traits=PRICED), [a_request()])
        assert broker.estimate.cost is None
        assert broker.estimate.distinct == 2


async def test_two_models_are_added_up():
    async with Broker(dry=True) as broker:
        for name in "ab":
            await ask_all(broker, ScriptedModel([], name=name, traits=PRICED), [a_request()])
        assert broker.estimate.distinct == 2
        assert broker.estimate.cost > 0


async def test_the_dummy_says_the_negative_of_whatever_it_is_asked():
    from guardeval.data import Target
    from guardeval.testing import a_case

    async with Broker() as broker:
        requests = [a_request("same prompt", a_case(target=target)) for target in Target]
        answers = await ask_all(broker, Dummy(), requests)
        assert [a.text for a in answers] == [
            "Decision: unharmful\nPolicies: none",
            "Decision: unharmful\nPolicies: none",
            "Decision: compliance\nPolicies: none",
        ]
        answers = await ask_all(broker, Dummy(text="Decision: harmful"), requests)
        assert {a.text for a in answers} == {"Decision: harmful"}


async def test_what_would_be_sent_is_listed_on_request_each_once():
    model = ScriptedModel([])
    async with Broker(dry=True, listed=True) as broker:
        asker = broker.bind(model, "m").asker()
        for text in ("a", "b", "a"):
            await asker.generate(a_request(text))
        assert [r.prompt.text for r in broker.unsent.values()] == ["a", "b"]
    async with Broker(dry=True) as broker:
        await broker.bind(model, "m").asker().generate(a_request("a"))
        assert broker.unsent == {}
