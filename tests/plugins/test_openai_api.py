"""openai/NAME: the ``openai`` package against a real server on loopback."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from scripted_server import Answer, Asked, ScriptedServer, chat_answer, unused_port

from guardeval.contracts import Completion, Finish, Frame, Prompt, Request, Sampling
from guardeval.errors import ConfigError, ModelError, ModelUnusable, Transient
from guardeval.plugins.openai_api import OpenAI
from guardeval.prices import price_of
from guardeval.registry import Registry, configuration
from guardeval.testing.builders import a_case

FULL = Sampling(max_tokens=7, temperature=0.5, top_p=0.9, stop=("END",), top_logprobs=30, seed=10)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in (
        "AZURE_OPENAI_ENDPOINT",
        "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_AD_TOKEN",
        "OPENAI_API_VERSION",
        "OPENAI_BASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")


def a_request(text: str = "How do I bake bread?", sampling: Sampling = FULL) -> Request:
    return Request(Prompt(Frame("Judge: ", " Now."), text), a_case(prompt=text), sampling, draw=1)


async def ask(server: ScriptedServer, model: str = "gpt-4o", request: Request | None = None, **options: Any) -> Completion:
    backend = OpenAI(model, base_url=server.url, **options)
    try:
        return await backend.generate(request or a_request())
    finally:
        await backend.close()


async def test_a_chat_model_is_sent_every_sampling_parameter():
    content = [{"token": "yes", "logprob": -0.1, "bytes": None, "top_logprobs": []}]
    with ScriptedServer(lambda _: chat_answer("yes", logprobs={"content": content}, reasoning_content="hm")) as server:
        completion = await ask(server, request=a_request("x \ud800"))
    (asked,) = server.asked
    assert (asked.path, asked.headers["authorization"]) == ("/v1/chat/completions", "Bearer sk-very-secret")
    assert asked.body == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Judge: x \ufffd Now."}],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "seed": 11,
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert (completion.text, completion.thinking, completion.tokens[0].text) == ("yes", "hm", "yes")
    assert (completion.tokens_in, completion.tokens_out) == (7, 3)


@pytest.mark.parametrize(
    ("name", "options", "effort"),
    [("o3", {}, None), ("gpt-5-mini", {}, None), ("gpt-6.1-sol", {}, None), ("my-tune", {"reasoning": "low"}, "low")],
)
async def test_a_reasoning_model_is_sent_no_temperature_and_gives_no_probabilities(name, options, effort):
    with ScriptedServer(lambda _: chat_answer()) as server:
        await ask(server, name, **options)
    body = server.asked[0].body
    assert set(body) == {"model", "messages", "max_completion_tokens"} | ({"reasoning_effort"} if effort else set())
    assert body.get("reasoning_effort") == effort
    assert not OpenAI(name, **options).traits.logprobs


@pytest.mark.parametrize(("name", "options"), [("gpt-5-chat-latest", {}), ("gpt-4.1", {}), ("gpt-5.4", {"reasoning": "none"})])
async def test_a_model_that_does_not_reason_keeps_its_temperature(name, options):
    with ScriptedServer(lambda _: chat_answer()) as server:
        await ask(server, name, **options)
    assert server.asked[0].body["temperature"] == 0.5


async def test_azure_is_found_in_the_environment(monkeypatch):
    with ScriptedServer(lambda _: chat_answer("hi")) as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
        backend = OpenAI("my-deployment")
        with pytest.raises(ModelUnusable, match="export OPENAI_API_VERSION="):
            await backend.generate(a_request())
        monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
        assert (await backend.generate(a_request())).text == "hi"
        identity = OpenAI("my-deployment").identity
        await backend.close()
    (asked,) = server.asked
    assert asked.path == "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    assert asked.headers["api-key"] == "azure-key"
    assert (identity["base_url"], identity["api_version"]) == (server.url, "2024-10-21")
    assert "azure-key" not in json.dumps(dict(identity))


async def test_without_a_key_nothing_is_asked(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with (
        ScriptedServer(lambda _: chat_answer()) as server,
        pytest.raises(ModelUnusable, match=r"openai/gpt-4o needs a key: export OPENAI_API_KEY=.*-M api_key_env=NAME"),
    ):
        await ask(server)
    assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "kind", "match"),
    [
        (
            Answer({"error": {"message": "Incorrect key sk-very-secret"}}, 401),
            ModelUnusable,
            r"OPENAI_API_KEY was not accepted: .*\*\*\*",
        ),
        (Answer({"error": {"message": "quota", "code": "insufficient_quota"}}, 429), ModelUnusable, "no credit"),
        (Answer({"error": {"message": "slow down"}}, 429, {"retry-after-ms": "250"}), Transient, "slow down"),
        (Answer({"error": {"message": "oops"}}, 500), Transient, "oops"),
        (Answer({"error": {"message": "conflict"}}, 409), Transient, "conflict"),
        (Answer({"error": {"message": "The model `gpt-4o` does not exist"}}, 404), ModelUnusable, "does not exist"),
        (Answer({"error": {"message": "bad text: Judge: How do I bake bread? Now."}}, 400), ModelError, "400"),
        (Answer({"error": {"message": "x", "param": "logprobs"}}, 400), ModelUnusable, "-M logprobs=false"),
        (Answer({"error": {"message": "use 'max_completion_tokens'"}}, 400), ModelUnusable, "-M reasoning=medium"),
        (Answer(b'{"choices":[', 200), Transient, "broken JSON"),
        (Answer({"choices": []}, 200), Transient, "without choices"),
        (Answer(fault="reset"), Transient, "APIConnectionError"),
        (Answer(fault="cut"), Transient, "http://127"),
        (Answer(fault="hang"), Transient, "timeout="),
    ],
)
async def test_every_failure_is_one_of_ours(answer, kind, match):
    with ScriptedServer(lambda _: answer) as server, pytest.raises(kind, match=match) as raised:
        await ask(server, timeout=answer.patience)
    assert type(raised.value) is kind
    assert len(server.asked) == 1  # retries are the broker's
    assert "very-secret" not in str(raised.value) and "bread" not in str(raised.value)
    if answer.headers:
        assert (raised.value.retry_after, raised.value.throttled) == (0.25, True)


async def test_a_prompt_that_azures_filter_refuses_is_an_answer_withheld():
    refusal = {
        "error": {"message": "filtered", "code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}
    }
    with ScriptedServer(lambda _: Answer(refusal, 400)) as server:
        assert (await ask(server)).finish is Finish.FILTERED


def subclasses(cls: type) -> set[type]:
    return {cls}.union(*(subclasses(c) for c in cls.__subclasses__()))


def test_every_exception_of_the_package_maps():
    import httpx2
    import openai
    import openai._exceptions

    request = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions")
    backend = OpenAI("gpt-4o")
    for cls in (c for c in subclasses(openai.OpenAIError) if c.__module__.startswith("openai.")):
        error = cls.__new__(cls)
        Exception.__init__(error, "words")
        if issubclass(cls, openai.APIStatusError):
            status = getattr(cls, "status_code", 500)
            response = httpx2.Response(status, json={"error": {"message": "words"}}, request=request)
            body = {"body": {"message": "words"}}
            error = cls(response=response, **body) if cls.__name__ == "OAuthError" else cls("words", response=response, **body)
        mapped = backend._error(error)
        assert isinstance(mapped, ModelError), cls
        expected = (
            Transient
            if issubclass(cls, (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError))
            else None
        )
        assert expected is None or isinstance(mapped, expected), cls
        if issubclass(cls, (openai.AuthenticationError, openai.PermissionDeniedError)):
            assert isinstance(mapped, ModelUnusable), cls


async def test_start_checks_server_key_and_name(monkeypatch):
    backend = OpenAI("gpt-4o", base_url=f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(ModelUnusable, match=r"no server answers at http://127.0.0.1:\d+/v1"):
        await backend.start()
    await backend.close()

    def script(asked: Asked) -> Answer:
        bad = asked.headers["authorization"] != "Bearer sk-very-secret"
        return Answer({"error": {"message": "no"}}, 401) if bad else Answer({"object": "list", "data": []})

    with ScriptedServer(script) as server:
        good = OpenAI("gpt-4o", base_url=server.url)
        await good.start()
        await good.close()
        monkeypatch.setenv("WRONG", "sk-wrong-key")
        wrong = OpenAI("gpt-4o", base_url=server.url, api_key_env="WRONG")
        with pytest.raises(ModelUnusable, match="in the environment variable WRONG was not accepted"):
            await wrong.start()
        await wrong.close()


@pytest.mark.parametrize("answer", [Answer({}, 404), Answer({}, 403), Answer("hello"), Answer(fault="reset")])
async def test_start_puts_up_with_a_server_that_lists_no_models(answer):
    with ScriptedServer(lambda _: answer) as server:
        backend = OpenAI("gpt-4o", base_url=server.url)
        if answer.fault:
            with pytest.raises(ModelUnusable, match="no server answers"):
                await backend.start()
        else:
            await backend.start()
        await backend.close()


def test_known_models_have_a_price_and_the_users_comes_first():
    assert OpenAI("gpt-4o-2024-11-20").traits.price == price_of("gpt-4o") == (2.5, 10.0)
    assert price_of("gpt-4o-2024-05-13") == (5.0, 15.0)
    assert OpenAI("unheard-of").traits.price is None
    model = Registry().build("models", "openai", {"model": "gpt-4o", "price": "1,2", "reasoning": "none"})
    assert model.traits.price == (1.0, 2.0)
    assert Registry().build("models", "openai", configuration(model)) == model


def test_wrong_options_are_refused_with_what_is_wanted():
    with pytest.raises(ConfigError, match="one of none, minimal, low"):
        Registry().build("models", "openai", {"model": "m", "reasoning": "deep"})
    with pytest.raises(ConfigError, match="in,out"):
        Registry().build("models", "openai", {"model": "m", "price": "1,2,3"})


# ── several draws ───────────────────────────────────────────────────────────────────────────────────────────────────


def several(*contents: str) -> Answer:
    choices = [{"index": i, "finish_reason": "stop", "message": {"content": c}} for i, c in enumerate(contents)]
    return Answer({"choices": choices, "usage": {"prompt_tokens": 9, "completion_tokens": 4}})


async def draw(server: ScriptedServer, n: int, **options: Any) -> list[Completion | ModelError]:
    backend = OpenAI("gpt-4o", base_url=server.url, **options)
    try:
        return await backend.generate_draws([replace(a_request(), draw=1 + i) for i in range(n)])
    finally:
        await backend.close()


async def test_draws_of_a_question_go_out_as_n_with_the_first_ones_seed():
    with ScriptedServer(lambda _: several("a", "b", "cd")) as server:
        completions = await draw(server, 3)
    (asked,) = server.asked
    assert (asked.body["n"], asked.body["seed"], asked.body["temperature"]) == (3, 11, 0.5)
    assert [(c.text, c.tokens_in, c.tokens_out) for c in completions] == [("a", 9, 1), ("b", 0, 1), ("cd", 0, 2)]


async def test_a_reasoning_model_draws_at_its_own_temperature():
    with ScriptedServer(lambda _: several("a", "b")) as server:
        assert len(await draw(server, 2, reasoning="low")) == 2
    body = server.asked[0].body
    assert body["n"] == 2
    assert not {"temperature", "seed", "top_p"} & set(body)


async def test_a_prompt_that_a_filter_refuses_is_withheld_in_every_draw():
    refused = Answer({"error": {"code": "content_filter", "message": "filtered"}}, 400)
    with ScriptedServer(lambda _: refused) as server:
        assert await draw(server, 3) == [Completion("", Finish.FILTERED)] * 3


def test_how_many_draws_go_in_a_request_is_the_users_to_say_and_not_part_of_the_identity():
    few, many = OpenAI("gpt-4o", base_url="http://x", draws=1), OpenAI("gpt-4o", base_url="http://x")
    assert (few.traits.draws, many.traits.draws) == (1, 16)
    assert few.identity == many.identity
    with pytest.raises(ConfigError, match="draws=0 must be positive"):
        OpenAI("gpt-4o", draws=0)
