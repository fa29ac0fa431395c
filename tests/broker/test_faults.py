from __future__ import annotations

import asyncio
import collections
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from guardeval.broker import Broker, Retries
from guardeval.errors import ModelError, ModelUnusable
from guardeval.plugins.openai_compatible import OpenAICompatible
from guardeval.testing.faults import Faults, FaultServer
from guardeval.testing.processes import hear_interrupts
from guardeval.testing.scripted import a_request

pytest.importorskip("aiohttp", reason="needs guardeval[openai]")
MIX = Faults(http_500=0.05, throttled=0.05, truncated=0.01, hung=0.01, empty=0.01, dropped=0.01, retry_after=0.1, seed=7)


def number(body):
    """The answer repeats the number asked about, so that a mix-up would show."""
    return "number " + body["messages"][0]["content"].split("number ")[1].split("\n")[0]


async def ask_numbers(broker, model, n, workers):
    bound, left, answers = broker.bind(model), iter(range(n)), {}

    async def work():
        for i in left:
            try:
                answers[i] = (await bound.asker().generate(a_request(f"number {i}"))).text
            except ModelUnusable:
                raise
            except ModelError as e:
                answers[i] = e

    await asyncio.gather(*(work() for _ in range(workers)))
    return answers


async def test_a_bad_server_loses_nothing_and_nothing_is_asked_more_often_than_it_failed(tmp_path):
    with FaultServer(number, MIX, latency=0.01) as server:
        model = OpenAICompatible("scripted", server.url, timeout=3.0)
        async with Broker(tmp_path / "c.sqlite", retries=Retries(base=0.05)) as broker:
            answers = await ask_numbers(broker, model, 1000, workers=64)
            counters = broker.counters
        stats = server.stats()
    assert answers == {i: f"number {i}" for i in range(1000)}
    assert (counters.answered, counters.failed) == (1000, 0)
    assert stats["answered"] == stats["unique"] == 1000
    assert stats["reanswered"] == 0
    assert stats["repeated"] == sum(stats["faults"].values()) == counters.retried
    assert set(stats["faults"]) == {"http_500", "throttled", "truncated", "hung", "empty", "dropped"}


async def test_a_server_with_few_slots_gets_what_it_bears_and_everything_is_answered():
    with FaultServer(number, Faults(retry_after=0.05), latency=0.01, slots=6) as server:
        async with Broker(retries=Retries(base=0.05)) as broker:
            answers = await ask_numbers(broker, OpenAICompatible("scripted", server.url), 400, workers=64)
        stats = server.stats()
    assert answers == {i: f"number {i}" for i in range(400)}
    assert len(answers) == stats["answered"] == 400
    assert stats["max_under_way"] <= 64


async def test_a_server_that_dies_ends_the_run_and_the_same_run_goes_on_when_it_is_back(tmp_path):
    path = tmp_path / "c.sqlite"
    with FaultServer(number, latency=0.005) as server:
        port = server.port

        async def dies():
            await asyncio.sleep(0.2)
            await asyncio.to_thread(server.stop)

        async with Broker(path, retries=Retries(attempts=3, base=0.01)) as broker:
            model = OpenAICompatible("scripted", server.url)
            death = asyncio.create_task(dies())
            with pytest.raises(ModelUnusable, match=r"stopped answering: the last 20 requests all failed"):
                await ask_numbers(broker, model, 100_000, workers=32)
            await death
        heard = server.stats()["answered"]
        assert heard > 30
    with FaultServer(number, port=port) as server:
        async with Broker(path) as broker:
            answers = await ask_numbers(broker, OpenAICompatible("scripted", server.url), heard + 50, workers=32)
        assert server.stats()["answered"] <= 50 + 32
    assert answers == {i: f"number {i}" for i in range(heard + 50)}


RUN = """
import asyncio, sys
from pathlib import Path
from guardeval.broker import Broker
from guardeval.plugins.openai_compatible import OpenAICompatible
from guardeval.testing.scripted import a_request

async def main(url, cache, n):
    async with Broker(cache, max_connections=32) as broker:
        bound, left = broker.bind(OpenAICompatible("scripted", url)), iter(range(n))
        async def work():
            for i in left:
                await bound.asker().generate(a_request(f"number {i}"))
        await asyncio.gather(*(work() for _ in range(48)))
        print(broker.counters.answered, broker.counters.cached)

asyncio.run(main(sys.argv[1], sys.argv[2], 400))
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_repeats_at_most_what_was_under_way(tmp_path, end):
    with FaultServer(number, latency=0.05) as server:
        command = [sys.executable, "-c", RUN, server.url, str(tmp_path / "c.sqlite")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=hear_interrupts)
        while server.stats()["answered"] < 150:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(end)
        assert process.wait(10) != 0
        first = server.stats()
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        stats = server.stats()
    answered, cached = map(int, done.stdout.split())
    assert 150 <= first["answered"] < 400
    assert answered + cached == 400
    assert cached >= first["answered"] - 32
    assert stats["repeated"] <= 32
    assert stats["unique"] == 400


# ── the server itself ───────────────────────────────────────────────────────────────────────────────────────────────


def test_faults_depend_on_the_messages_and_the_attempt_alone():
    faults = Faults(http_500=0.5, seed=3)
    drawn = {(key, attempt): faults.draw(key, attempt) for key in "abcdefgh" for attempt in range(8)}
    assert {(k, a): faults.draw(k, a) for k, a in reversed(drawn)} == drawn
    assert set(drawn.values()) == {"", "http_500"}
    assert {Faults(http_500=0.5, seed=s).draw("a", 0) for s in range(20)} == {"", "http_500"}


def test_faults_come_as_often_as_asked_for():
    drawn = collections.Counter(MIX.draw(f"number {i}", 0) for i in range(20_000))
    for kind, share in (("http_500", 0.05), ("throttled", 0.05), ("hung", 0.01), ("empty", 0.01), ("", 0.86)):
        assert abs(drawn[kind] / 20_000 - share) < 0.006


def post(url, body, **headers):
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=5) as reply:
        return json.loads(reply.read())


def test_the_server_speaks_chat_and_raw_completions_and_counts():
    with FaultServer(lambda body: f"to {body['model']}") as server:
        chat = post(f"{server.url}/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hi"}], "n": 2})
        raw = post(f"{server.url}/completions", {"model": "m", "prompt": "hi"})
        assert [c["message"]["content"] for c in chat["choices"]] == ["to m", "to m"]
        assert raw["choices"][0]["text"] == "to m"
        stats = post(f"{server.url.removesuffix('/v1')}/stats", {})
        assert (stats["requests"], stats["unique"], stats["answered"]) == (2, 2, 2)
        server.reset()
        assert server.stats()["requests"] == 0


def test_the_server_takes_its_key_only():
    with FaultServer(api_key="secret") as server:
        body = {"model": "m", "messages": []}
        assert post(f"{server.url}/chat/completions", body, Authorization="Bearer secret")["choices"]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            post(f"{server.url}/chat/completions", body, Authorization="Bearer wrong")


def test_the_server_runs_from_the_command_line():
    command = [sys.executable, "-m", "guardeval.testing.faults", "--text", "hello", "--http_500", "0.0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=hear_interrupts) as process:
        url = process.stdout.readline().strip()
        reply = post(f"{url}/chat/completions", {"model": "m", "messages": []})
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert reply["choices"][0]["message"]["content"] == "hello"
