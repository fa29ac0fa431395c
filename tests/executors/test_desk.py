"""What workers share: answers and money, told apart from Ray."""

from __future__ import annotations

import pytest

from guardeval.broker import Broker, BudgetSpent
from guardeval.contracts import Traits
from guardeval.errors import ConfigError, ModelUnusable
from guardeval.executors.desk import Desk, SharedAnswers, SharedBudget
from guardeval.executors.worker import portable
from guardeval.testing import ScriptedBatchModel, ScriptedModel, a_request


def caller(desk: Desk):
    def call(method, *arguments):
        value, error = desk.call(method, *arguments)
        if error is not None:
            raise error
        return value

    return call


async def test_an_answer_that_one_worker_heard_is_known_to_all_and_to_a_later_run(tmp_path):
    desk = Desk(tmp_path / "answers.sqlite", None)
    model = ScriptedModel(["one answer"], traits=Traits(remote=True))
    for _ in range(2):
        async with Broker(SharedAnswers(caller(desk), tmp_path / "answers.sqlite")) as broker:
            asker = broker.bind(model, "scripted").asker()
            assert (await asker.generate(a_request("x"))).text == "one answer"
    assert len(model.asked) == 1
    desk.close()
    async with Broker(tmp_path / "answers.sqlite") as broker:  # without workers, too
        assert (await broker.bind(model, "scripted").asker().generate(a_request("x"))).text == "one answer"


async def test_what_a_classifying_model_in_this_process_says_goes_to_no_desk(tmp_path):
    desk = Desk(tmp_path / "answers.sqlite", None)
    model = ScriptedBatchModel(lambda _: "Decision: harmful", traits=Traits(classifies=True))
    async with Broker(SharedAnswers(caller(desk), tmp_path / "answers.sqlite")) as broker:
        await broker.bind(model, "scripted").asker().generate(a_request("x"))
    async with Broker(tmp_path / "answers.sqlite") as broker:
        asker = broker.bind(model, "scripted").asker()
        await asker.generate(a_request("x"))
        assert not asker.exchanges[0].cached


async def test_workers_divide_a_models_connections():
    async with Broker(max_connections=10, sharers=4) as broker:
        assert broker.bind(ScriptedModel([]), "scripted").lane.limit.ceiling == 2
    async with Broker(sharers=100) as broker:
        assert broker.bind(ScriptedModel([], traits=Traits(connections=64)), "scripted").lane.limit.ceiling == 1


def test_workers_spend_from_one_purse_and_what_a_lost_one_had_set_aside_counts_as_spent():
    desk = Desk(None, 1.0)
    a, b = (SharedBudget(caller(desk), worker, 1.0) for worker in (0, 1))
    assert a.reserve(0.6)
    assert not b.reserve(0.6)  # the other's may turn out cheaper: not the end yet
    assert b.closed is None
    a.release(0.6, 0.1)
    assert b.reserve(0.6)
    desk.forget(1)
    assert not a.reserve(0.6)
    assert isinstance(a.closed, BudgetSpent)
    assert "$0.7000 of $1.0000" in str(a.closed)
    assert a.reserve(0.1) is False  # closed is closed


def test_a_cache_that_cannot_be_used_is_an_error_that_says_so(tmp_path):
    (tmp_path / "answers.sqlite").write_bytes(b"no database at all, whatever its name says")
    with pytest.raises(ConfigError, match=r"answers\.sqlite"):
        Desk(tmp_path / "answers.sqlite", None)


def test_errors_cross_processes_in_their_own_words():
    class Special(ModelUnusable):
        def __init__(self, a, b):
            super().__init__(f"{a} and {b}")

    assert type(portable(ConfigError("x"))) is ConfigError
    crossed = portable(Special("this", "that"))
    assert (type(crossed), str(crossed)) == (ModelUnusable, "this and that")
