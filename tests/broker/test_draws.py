"""Several draws of one question in one request: against servers that take ``n``, ignore it, refuse it, or fail."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardeval.broker import Broker, Retries
from guardeval.contracts import Completion, Sampling, Traits
from guardeval.errors import ModelError, ModelUnusable, PluginError, Transient
from guardeval.plugins.openai_compatible import OpenAICompatible
from guardeval.testing.faults import Faults, FaultServer
from guardeval.testing.processes import hear_interrupts
from guardeval.testing.scripted import ScriptedModel, a_request

QUICK = Retries(base=0.001)
WARM = Sampling(temperature=0.7, seed=40)


def draws(n, text="a question", first=0, sampling=WARM):
    return [a_request(text, draw=first + i, sampling=sampling) for i in range(n)]


async def ask_all(broker, model, requests):
    bound = broker.bind(model)
    return await asyncio.gather(*(bound.asker().generate(r) for r in requests), return_exceptions=True)


async def ask(server, requests, retries=QUICK, cache=None, **options):
    model = OpenAICompatible("scripted", server.url, price=(1.0, 1.0), **options)
    async with Broker(cache, retries=retries) as broker:
        answers = await ask_all(broker, model, requests)
        return answers, broker.counters


def numbered():
    """Answers that tell each choice from every other, however they are asked for."""
    lock, given = threading.Lock(), iter(range(10_000))

    def answer(body):
        with lock:
            return [f"answer {next(given)} " + "x" * 20 for _ in range(int(body.get("n") or 1))]

    return answer


def sent(server):
    """``(n, seed)`` of each request, in order."""
    return [(body.get("n", 1), body.get("seed")) for body in server.bodies]


# ── servers that take n ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_draws_of_a_question_are_one_request_and_its_prompt_is_paid_once():
    with FaultServer(numbered()) as server:
        answers, counters = await ask(server, draws(5))
    prompt = len('[{"role": "user", "content": "Is this harmful?\\na question\\nEnd with a Decision."}]') // 4
    assert sent(server) == [(5, 40)]
    assert len({a.text for a in answers}) == 5
    assert [a.tokens_in for a in answers] == [prompt, 0, 0, 0, 0]
    assert [a.tokens_out for a in answers] == [8] * 5  # 29 characters each: 29 // 4 + 1, five times, shared out evenly
    assert (counters.asked, counters.answered, counters.sent, counters.retried) == (5, 5, 1, 0)
    assert (counters.tokens_in, counters.tokens_out) == (prompt, 40)
    assert counters.cost == pytest.approx((prompt + 40) / 1e6)


async def test_raw_completions_are_drawn_together_too():
    from guardeval.contracts import Frame

    frame = Frame("raw ", raw=True)
    with FaultServer(numbered()) as server:
        requests = [a_request("x", frame=frame, draw=i, sampling=WARM) for i in range(3)]
        answers, _ = await ask(server, requests)
    assert sent(server) == [(3, 40)]
    assert len({a.text for a in answers}) == 3


async def test_questions_are_kept_apart_and_draws_find_each_other_among_them():
    requests = [r for group in zip(*(draws(3, f"question {i}") for i in range(20)), strict=True) for r in group]
    with FaultServer(lambda body: [f"{body['messages'][0]['content']} {i}" for i in range(body["n"])]) as server:
        answers, counters = await ask(server, requests)
    assert counters.sent == 20
    for request, answer in zip(requests, answers, strict=True):
        assert answer.text == f"{request.prompt.last} {request.draw}"


async def test_other_sampling_is_another_question():
    cold = Sampling(temperature=0.1, seed=7)
    with FaultServer(numbered()) as server:
        _, counters = await ask(server, [*draws(2), *draws(3, sampling=cold)])
    assert sorted(sent(server)) == [(2, 40), (3, 7)]
    assert counters.sent == 2


async def test_no_more_draws_are_asked_for_at_once_than_was_said():
    with FaultServer(numbered()) as server:
        await ask(server, draws(7), draws=3)
    assert sorted(sent(server)) == [(1, 46), (3, 40), (3, 43)]


async def test_a_server_that_is_not_given_several_gets_a_request_a_draw_with_seeds_of_their_own():
    with FaultServer(numbered()) as server:
        _, counters = await ask(server, draws(4), draws=1)
    assert sorted(sent(server)) == [(1, 40), (1, 41), (1, 42), (1, 43)]
    assert counters.sent == 4


async def test_without_a_seed_none_is_sent():
    with FaultServer(numbered()) as server:
        await ask(server, draws(3, sampling=Sampling(temperature=0.7)))
    assert sent(server) == [(3, None)]


async def test_the_same_draws_asked_by_many_at_once_are_sent_once(tmp_path):
    with FaultServer(numbered(), latency=0.05) as server:
        answers, counters = await ask(server, draws(3) * 20, cache=tmp_path / "c.sqlite")
    assert sent(server) == [(3, 40)]
    assert [a.text for a in answers] == [a.text for a in answers[:3]] * 20
    assert (counters.asked, counters.answered, counters.joined, counters.sent) == (60, 3, 57, 1)


async def test_known_draws_are_not_asked_again_and_more_ask_for_the_new_ones_only(tmp_path):
    with FaultServer(numbered()) as server:
        three, _ = await ask(server, draws(3), cache=tmp_path / "c.sqlite")
        five, counters = await ask(server, draws(5), cache=tmp_path / "c.sqlite")
    assert sent(server) == [(3, 40), (2, 43)]
    assert five[:3] == three
    assert (counters.cached, counters.answered, counters.sent) == (3, 2, 1)


async def test_draws_with_a_gap_between_them_are_not_asked_together(tmp_path):
    """Of a server that counts seeds up itself, the second of draws 0 and 2 would be draw 1 again."""
    with FaultServer(numbered()) as server:
        await ask(server, draws(1, first=1), cache=tmp_path / "c.sqlite")
        await ask(server, draws(3), cache=tmp_path / "c.sqlite")
    assert sorted(sent(server)) == [(1, 40), (1, 41), (1, 42)]


# ── servers that do not ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("choices", "expected"), [(1, {1: 10}), (2, {2: 5})], ids=["ignores n", "two at most"])
async def test_draws_that_a_server_leaves_out_are_asked_for_in_smaller_numbers_and_so_are_later_ones(choices, expected):
    with FaultServer(numbered(), choices=choices) as server:
        model = OpenAICompatible("scripted", server.url, price=(1.0, 1.0))
        async with Broker() as broker:
            first = await ask_all(broker, model, draws(4))
            learnt = len(server.bodies)
            second = await ask_all(broker, model, draws(10, "another question"))
            counters = broker.counters
    assert len({a.text for a in (*first, *second)}) == 14
    assert Counter(n for n, _ in sent(server)[learnt:]) == expected
    assert sent(server)[0] == (4, 40)
    seeds = [seed for n, seed in sent(server)[learnt:]]
    assert len(set(seeds)) == len(seeds)
    assert counters.sent == len(server.bodies)
    assert (counters.answered, counters.retried, counters.failed) == (14, 0, 0)


async def test_what_a_server_left_out_keeps_its_own_seed():
    with FaultServer(numbered(), choices=1) as server:
        answers, _ = await ask(server, draws(4))
    assert sent(server)[0] == (4, 40)
    assert sorted(sent(server)[1:]) == [(1, 41), (1, 42), (1, 43)]
    assert all(a.tokens_in for a in answers)


async def test_a_server_that_refuses_n_is_asked_draw_by_draw_and_never_so_again():
    def answer(body):
        return {"error": {"message": "only one completion choice is allowed"}} if body.get("n") else "x"

    with FaultServer(answer) as server:
        model = OpenAICompatible("scripted", server.url)
        async with Broker() as broker:
            assert [a.text for a in await ask_all(broker, model, draws(3))] == ["x"] * 3
            assert [a.text for a in await ask_all(broker, model, draws(3, "later"))] == ["x"] * 3
            counters = broker.counters
    assert [n for n, _ in sent(server)] == [3, 1, 1, 1, 1, 1, 1]
    assert (counters.sent, counters.retried, counters.failed) == (7, 0, 0)


async def test_a_prompt_that_is_refused_fails_every_draw_and_later_questions_are_asked_together():
    def answer(body):
        wrong = "too long" in body["messages"][0]["content"]
        return {"error": {"message": "context length exceeded"}} if wrong else ["x"] * body["n"]

    with FaultServer(answer) as server:
        model = OpenAICompatible("scripted", server.url)
        async with Broker() as broker:
            await ask_all(broker, model, draws(2))
            answers = await ask_all(broker, model, draws(3, "too long"))
            await ask_all(broker, model, draws(3, "fine"))
            counters = broker.counters
    assert [type(a) for a in answers] == [ModelError] * 3
    assert [n for n, _ in sent(server)] == [2, 3, 1, 1, 1, 3]
    assert (counters.asked, counters.answered, counters.failed) == (8, 5, 3)


# ── failures that pass ──────────────────────────────────────────────────────────────────────────────────────────────


def first_time(kind):
    """Faults under which one question's first attempt fails so, and its second does not."""
    key = 'scripted|[{"role": "user", "content": "Is this harmful?\\na question\\nEnd with a Decision."}]'
    for seed in range(200):
        faults = Faults(**{kind: 0.5}, retry_after=0.01, seed=seed)
        if [bool(faults.draw(key, i)) for i in range(3)] == [True, False, False]:
            return faults
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["http_500", "throttled", "truncated", "dropped", "empty"])
async def test_all_draws_of_a_request_that_fails_are_asked_again_together(kind):
    with FaultServer(numbered(), first_time(kind)) as server:
        answers, counters = await ask(server, draws(4))
    assert sent(server) == [(4, 40), (4, 40)]
    assert len({a.text for a in answers}) == 4
    assert (counters.sent, counters.retried, counters.throttled) == (2, 1, int(kind == "throttled"))
    assert (counters.answered, counters.failed) == (4, 0)


async def test_a_server_that_breaks_on_n_alone_is_asked_draw_by_draw_after_two_failures():
    class Breaks(ScriptedModel):
        asked_together = 0

        async def generate_draws(self, requests):
            self.asked_together += 1
            raise Transient("HTTP 500")

    model = Breaks(lambda r: f"draw {r.draw}", traits=Traits(draws=8))
    async with Broker(retries=QUICK) as broker:
        assert [a.text for a in await ask_all(broker, model, draws(3))] == ["draw 0", "draw 1", "draw 2"]
        await ask_all(broker, model, draws(3, "later"))
        assert (model.asked_together, broker.counters.sent) == (2, 2 + 3 + 3)


async def test_one_draw_that_cannot_be_read_is_asked_again_and_the_others_are_kept(tmp_path):
    broken = {"index": 1, "finish_reason": "error", "message": {"content": "half"}}
    whole = [{"index": i, "finish_reason": "stop", "message": {"content": f"draw {i}"}} for i in range(3)]

    def answer(body):
        usage = {"prompt_tokens": 100, "completion_tokens": 21}
        return {"choices": [whole[0], broken, whole[2]], "usage": usage} if body.get("n") else "draw 1"

    with FaultServer(answer) as server:
        answers, counters = await ask(server, draws(3), cache=tmp_path / "c.sqlite")
    assert [a.text for a in answers] == ["draw 0", "draw 1", "draw 2"]
    assert [(a.tokens_in, a.tokens_out) for a in (answers[0], answers[2])] == [(100, 10), (0, 11)]
    assert sent(server) == [(3, 40), (1, 41)]
    assert (counters.answered, counters.retried, counters.failed) == (3, 1, 0)


async def test_draws_that_keep_failing_are_given_up_one_and_all():
    with FaultServer("x", Faults(http_500=1.0)) as server:
        answers, counters = await ask(server, draws(3), Retries(attempts=3, base=0.001))
    assert [type(a) for a in answers] == [ModelError] * 3
    assert counters.asked == counters.failed == 3
    assert [n for n, _ in sent(server)] == [3, 3, 1, 1, 1]


async def test_a_bad_server_loses_no_draw_and_mixes_none_up(tmp_path):
    def answer(body):
        return [f"{body['messages'][0]['content']} {body.get('seed')}+{i}" for i in range(int(body.get("n") or 1))]

    faults = Faults(http_500=0.1, throttled=0.05, truncated=0.03, empty=0.03, dropped=0.03, retry_after=0.01, seed=5)
    requests = [r for i in range(200) for r in draws(3, f"question {i}")]
    with FaultServer(answer, faults, latency=0.002) as server:
        answers, counters = await ask(server, requests, Retries(base=0.005), cache=tmp_path / "c.sqlite")
        again, known = await ask(server, requests, cache=tmp_path / "c.sqlite")
        stats = server.stats()
    for request, answer in zip(requests, answers, strict=True):
        text, _, seed = answer.text.rpartition(" ")
        assert text == request.prompt.last
        assert sum(map(int, seed.split("+"))) == 40 + request.draw
    assert (counters.answered, counters.failed, counters.sent) == (600, 0, stats["requests"])
    failed = sum(stats["faults"].values())
    assert counters.sent == 200 + counters.retried  # what failed twice is asked draw by draw: more requests than failures
    assert 20 < failed <= counters.retried <= 3 * failed
    assert again == answers
    assert (known.cached, known.sent) == (600, 0)


@pytest.mark.parametrize("error", [ModelUnusable("wrong key"), PluginError("no aiohttp")])
async def test_an_error_that_concerns_every_request_reaches_every_draw(error):
    class Broken(ScriptedModel):
        async def generate_draws(self, requests):
            raise error

    async with Broker() as broker:
        assert await ask_all(broker, Broken([], traits=Traits(draws=8)), draws(5)) == [error] * 5
        assert broker.counters.failed == 5


# ── who may take part ───────────────────────────────────────────────────────────────────────────────────────────────


class Drawing(ScriptedModel):
    """Says the draw's number; ``together`` holds the draws of each request."""

    def __init__(self, answer=lambda r: f"draw {r.draw}", **options):
        super().__init__(answer, **{"traits": Traits(draws=8)} | options)
        self.together = []

    async def generate(self, request):
        self.together.append([request.draw])
        return await super().generate(request)

    async def generate_draws(self, requests):
        self.together.append([r.draw for r in requests])
        said = [self._next(r) for r in requests]
        await asyncio.sleep(self.latency)
        return said


async def test_a_draw_that_nobody_wants_any_more_is_not_asked_for():
    model = Drawing(latency=0.02)
    async with Broker(max_connections=1) as broker:
        bound = broker.bind(model)
        first = asyncio.create_task(bound.asker().generate(a_request("first")))
        tasks = [asyncio.create_task(bound.asker().generate(r)) for r in draws(3)]
        await asyncio.sleep(0.005)
        tasks[1].cancel()
        await asyncio.gather(first, *tasks, return_exceptions=True)
    assert model.together == [[0], [0], [2]]


async def test_answers_of_draws_whose_askers_left_are_kept(tmp_path):
    model = Drawing(latency=0.02)
    async with Broker(tmp_path / "c.sqlite") as broker:
        bound = broker.bind(model)
        tasks = [asyncio.create_task(bound.asker().generate(r)) for r in draws(3)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.04)
        assert [a.text for a in await ask_all(broker, model, draws(3))] == ["draw 0", "draw 1", "draw 2"]
    assert model.together == [[0, 1, 2]]


@pytest.mark.parametrize("trait", ["classifies", "per_sample"])
async def test_models_that_answer_from_more_than_the_prompt_are_asked_one_by_one(trait):
    model = Drawing(traits=Traits(draws=8, **{trait: True}))
    async with Broker() as broker:
        await ask_all(broker, model, draws(3))
    assert model.together == [[0], [1], [2]]


def test_a_plugin_that_cannot_draw_what_it_says_it_can_is_named():
    async def bind():
        async with Broker() as broker:
            broker.bind(ScriptedModel([], traits=Traits(draws=4)), "mine")

    with pytest.raises(PluginError, match="mine: ScriptedModel says draws=4 and has no generate_draws"):
        asyncio.run(bind())


@pytest.mark.parametrize("said", ["abc", None, [Completion("x")] * 4])
async def test_a_plugin_that_gives_more_or_other_than_was_asked_breaks_its_contract(said):
    class Wrong(ScriptedModel):
        async def generate_draws(self, requests):
            return said

    async with Broker() as broker:
        answers = await ask_all(broker, Wrong([], traits=Traits(draws=8)), draws(3))
    assert [type(a) for a in answers] == [PluginError] * 3
    assert "to 3 requests" in str(answers[0])


async def test_money_is_set_aside_for_one_prompt_and_every_answer():
    """1000 tokens in and 100 out at 1 and 10 dollars a million: 3 draws cost 4 tenths of a cent together, 6 apart."""
    traits = Traits(remote=True, price=(1.0, 10.0), draws=8)
    sampling = Sampling(max_tokens=100, temperature=0.7)
    text = "x" * (4 * 1000 - 60)

    def said(request):
        return Completion("x", tokens_in=1000 if request.draw == 0 else 0, tokens_out=100)

    for limit, expected in ((0.0041, [[0, 1, 2]]), (0.0031, [[0, 1]])):
        model = Drawing(said, traits=traits)
        async with Broker(max_cost=limit) as broker:
            answers = await ask_all(broker, model, draws(3, text, sampling=sampling))
            assert broker.counters.cost == pytest.approx(0.001 + 0.001 * len(expected[0]))
        assert model.together == expected
        assert sum(isinstance(a, Completion) for a in answers) == len(expected[0])


# ── whatever happens ────────────────────────────────────────────────────────────────────────────────────────────────

_FATES = ("all", "few", "none", "transient", "refused", "odd", "one transient", "one refused")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=40),
    st.lists(st.sampled_from(_FATES), max_size=12),
    st.integers(2, 5),
    st.integers(1, 4),
)
def test_every_draw_is_accounted_for_exactly_once(tmp_path_factory, asked, fates, most, connections):
    """Whatever becomes of requests for several draws, each draw gets its own answer or an error of its own."""

    class Fateful(Drawing):
        fates_left = list(fates)

        async def generate_draws(self, requests):
            fate = self.fates_left.pop(0) if self.fates_left else "all"
            self.together.append([r.draw for r in requests])
            if fate in ("transient", "refused", "odd"):
                raise {"transient": Transient("HTTP 500"), "refused": ModelError("no"), "odd": KeyError("k")}[fate]
            said = [self._next(r) for r in requests]
            if fate.startswith("one"):
                said[-1] = Transient("half") if fate == "one transient" else ModelError("a tool")
            return said[: {"few": 1, "none": 0}.get(fate, len(said))]

    path = tmp_path_factory.mktemp("cache") / "c.sqlite"
    requests = [a_request(f"q{q}", draw=d, sampling=WARM) for q, d in asked]

    async def once():
        model = Fateful(lambda r: f"{r.prompt.text} {r.draw}", name="m", traits=Traits(draws=most))
        async with Broker(path, retries=Retries(attempts=4, base=0.0), max_connections=connections) as broker:
            return await ask_all(broker, model, requests), broker.counters, model

    answers, c, model = asyncio.run(once())
    for request, answer in zip(requests, answers, strict=True):
        refused = isinstance(answer, ModelError) and str(answer) == "a tool" and "one refused" in fates
        assert refused or answer.text == f"{request.prompt.text} {request.draw}"
    assert c.asked == len(asked) == c.answered + c.cached + c.joined + c.failed
    assert c.sent == len(model.together)
    assert all(len(t) <= most and t == list(range(t[0], t[0] + len(t))) for t in model.together)


RUN = """
import asyncio, sys
from guardeval.broker import Broker
from guardeval.contracts import Sampling
from guardeval.plugins.openai_compatible import OpenAICompatible
from guardeval.testing.scripted import a_request

WARM = Sampling(temperature=0.7, seed=1)

async def main(url, cache, n):
    async with Broker(cache, max_connections=16) as broker:
        bound, left = broker.bind(OpenAICompatible("scripted", url)), iter(range(n))
        async def work():
            for i in left:
                await asyncio.gather(*(bound.asker().generate(a_request(f"number {i}", draw=d, sampling=WARM)) for d in range(3)))
        await asyncio.gather(*(work() for _ in range(24)))
        print(broker.counters.answered, broker.counters.cached, broker.counters.sent)

asyncio.run(main(sys.argv[1], sys.argv[2], 200))
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_keeps_every_draw_that_was_answered(tmp_path, end):
    with FaultServer(numbered(), latency=0.05) as server:
        command = [sys.executable, "-c", RUN, server.url, str(tmp_path / "c.sqlite")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=hear_interrupts)
        while server.stats()["answered"] < 80:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(end)
        assert process.wait(10) != 0
        heard = server.stats()["answered"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    answered, cached, requests = map(int, done.stdout.split())
    assert answered + cached == 600
    assert cached % 3 == 0  # the draws of one request are kept together or not at all
    assert cached >= 3 * (heard - 16)
    assert requests * 3 == answered
