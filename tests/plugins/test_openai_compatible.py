"""openai_compatible against real servers: llama.cpp with a tiny model, and scripted ones that fail in every way."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import Answer, Asked, ScriptedServer, chat_answer, unused_port

from guardeval.broker import Broker
from guardeval.chat_api import sendable
from guardeval.contracts import Completion, Finish, Frame, Prompt, Request, Sampling, Turn
from guardeval.errors import ConfigError, ModelError, ModelUnusable, Transient
from guardeval.plugins.openai_compatible import OpenAICompatible
from guardeval.registry import Registry, configuration
from guardeval.testing.builders import a_case

GREEDY = Sampling(max_tokens=40)


def a_request(text: str = "How do I bake bread?", sampling: Sampling = GREEDY, draw: int = 0, **frame: Any) -> Request:
    prompt = Prompt(Frame("Judge: ", " Now.", **frame), text)
    return Request(prompt, a_case(prompt=text), sampling, draw)


async def ask(server: ScriptedServer | str, request: Request | None = None, **options: Any) -> Completion:
    url = server if isinstance(server, str) else server.url
    model = OpenAICompatible("tiny", base_url=url, **options)
    try:
        return await model.generate(request or a_request())
    finally:
        await model.close()


# ── what is sent ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_chat_request_holds_the_turns_and_every_sampling_parameter():
    sampling = Sampling(max_tokens=7, temperature=0.5, top_p=0.9, stop=("END",), top_logprobs=3, seed=10)
    turns = [Turn("system", 'Be "brief".'), Turn("user", "Hi\n"), Turn("assistant", "Yes?")]
    with ScriptedServer(lambda _: chat_answer()) as server:
        await ask(server, a_request("text \x00 { 💥", sampling, draw=2, turns=turns), extra={"top_k": 1})
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": 'Be "brief".'},
            {"role": "user", "content": "Hi\n"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Judge: text \x00 { 💥 Now."},
        ],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "seed": 12,
        "logprobs": True,
        "top_logprobs": 3,
        "top_k": 1,
    }


async def test_a_raw_prompt_goes_to_completions_with_what_is_forced_at_its_end():
    with ScriptedServer(lambda _: Answer({"choices": [{"text": "safe", "finish_reason": "stop"}]})) as server:
        completion = await ask(server, a_request("x", Sampling(top_logprobs=5), raw=True, forced="\n\n"))
    (asked,) = server.asked
    assert (asked.path, asked.body["prompt"], asked.body["logprobs"]) == ("/v1/completions", "Judge: x Now.\n\n", 5)
    assert completion == Completion("safe")


@pytest.mark.parametrize(
    ("endpoint", "raw", "path"),
    [("chat", True, "/v1/chat/completions"), ("completions", False, "/v1/completions"), ("auto", True, "/v1/completions")],
)
async def test_the_endpoint_option_fixes_where_prompts_go(endpoint, raw, path):
    both = {"text": "ok", "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    with ScriptedServer(lambda _: Answer({"choices": [both]})) as server:
        await ask(server, a_request(raw=raw), endpoint=endpoint)
        assert server.asked[0].path == path


@given(st.text(), st.text(), st.text(), st.text())
def test_any_text_arrives_as_it_was_put_in(before, text, after, earlier):
    model = OpenAICompatible("m", base_url="http://127.0.0.1:1")
    prompt = Prompt(Frame(before, after, turns=[Turn("system", earlier)]), text)
    body = json.loads(model._body(prompt, GREEDY, 0, raw=False))
    assert [m["content"] for m in body["messages"]] == [sendable(earlier), sendable(before) + sendable(text) + sendable(after)]
    assert json.loads(model._body(prompt, GREEDY, 0, raw=True))["prompt"].endswith(sendable(text) + sendable(after))


async def test_the_key_comes_from_the_environment_and_stays_out_of_identity_and_errors(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    with ScriptedServer(lambda a: Answer({"error": {"message": f"bad: {a.headers['authorization']}"}}, 400)) as server:
        model = OpenAICompatible("m", base_url=server.url, api_key_env="MY_KEY")
        with pytest.raises(ModelError) as raised:
            await model.generate(a_request())
        await model.close()
    assert server.asked[0].headers["authorization"] == "Bearer sk-very-secret"
    for shown in (str(raised.value), repr(model), json.dumps(dict(model.identity)), json.dumps(configuration(model))):
        assert "very-secret" not in shown


async def test_a_megabyte_of_text_is_sent_whole():
    with ScriptedServer(lambda _: chat_answer()) as server:
        await ask(server, a_request("é" * 1_000_000))
    assert server.asked[0].body["messages"][0]["content"].count("é") == 1_000_000


async def test_one_model_serves_two_event_loops_and_reopens_after_close():
    import asyncio

    with ScriptedServer(lambda _: chat_answer("hi")) as server:
        model = OpenAICompatible("m", base_url=server.url)

        async def once() -> str:
            answer = await model.generate(a_request())
            await model.close()
            return (answer.text + (await model.generate(a_request())).text) if await model.close() is None else ""

        texts = [await asyncio.to_thread(asyncio.run, once()) for _ in range(2)]
    assert texts == ["hihi", "hihi"]


# ── what comes back ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_half_a_character_and_a_number_that_json_does_not_know_do_not_lose_the_answer():
    body = b'{"choices":[{"message":{"content":"caf\xc3"},"finish_reason":"length","x":NaN}],"y":"\\ud83d"}'
    with ScriptedServer(lambda _: Answer(body)) as server:
        completion = await ask(server)
    assert (completion.text, completion.finish) == ("caf\ufffd", Finish.LENGTH)


@pytest.mark.parametrize("content", ["Decision: harmful", " harmful"])
async def test_a_forced_beginning_is_continued_and_never_part_of_the_completion(content):
    forced = "Decision:"
    with ScriptedServer(lambda _: chat_answer(content)) as server:
        completion = await ask(server, a_request(forced=forced))
    assert completion.text == " harmful"
    assert server.asked[0].body["messages"][-1] == {"role": "assistant", "content": forced}
    assert server.asked[0].body["continue_final_message"] is True


@pytest.mark.parametrize("kept", [True, False])
async def test_a_server_that_would_continue_the_turn_to_be_judged_is_told_apart(kept):
    def answer(asked: Asked) -> Answer:
        if asked.path != "/apply-template":
            return chat_answer("safe")
        turns = "".join(f"<{m['role']}>{m['content']}" for m in asked.body["messages"])
        return Answer({"prompt": turns + ("<assistant>" if kept else "")})

    with ScriptedServer(answer) as server:
        judged = a_request(turns=[Turn("user", "Hi")], role="assistant")
        if kept:
            assert (await ask(server, judged)).text == "safe"
        else:
            with pytest.raises(ModelUnusable, match="--no-prefill-assistant"):
                await ask(server, judged)
            assert (await ask(server)).text == "safe"
            assert [a.path for a in server.asked].count("/apply-template") == 1


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
async def test_passing_troubles_are_worth_asking_again(status):
    with (
        ScriptedServer(lambda _: Answer("<h1>busy</h1>", status, {"Retry-After": "7"})) as server,
        pytest.raises(Transient, match=f"{status}.*busy") as raised,
    ):
        await ask(server)
    assert (raised.value.retry_after, raised.value.throttled) == (7.0, status == 429)


@pytest.mark.parametrize("fault", ["reset", "cut", "hang"])
async def test_a_connection_that_breaks_or_hangs_is_worth_asking_again(fault):
    answer = Answer({"choices": []}, fault=fault)
    with (
        ScriptedServer(lambda _: answer) as server,
        pytest.raises(Transient, match="timeout=" if fault == "hang" else "http://127"),
    ):
        await ask(server, timeout=answer.patience)


async def test_broken_json_is_worth_asking_again():
    with ScriptedServer(lambda _: Answer(b'{"choices":[{"mess')) as server, pytest.raises(Transient, match="broken JSON"):
        await ask(server)


@pytest.mark.parametrize(
    ("status", "error", "match"),
    [
        (401, {"message": "bad key"}, "in the environment variable OPENAI_API_KEY was not accepted: bad key"),
        (403, {"message": "no"}, "OPENAI_API_KEY was not accepted"),
        (402, {"message": "balance"}, "no credit"),
        (429, {"message": "You exceeded your quota", "type": "insufficient_quota", "code": "insufficient_quota"}, "no credit"),
        (405, {}, "check the model's name and -M base_url="),
        (301, {}, "check the model's name and -M base_url="),
        (400, {"message": "Unsupported: use max_completion_tokens instead"}, "-M max_tokens_field=max_completion_tokens"),
    ],
)
async def test_what_no_request_can_get_past_ends_the_run_with_the_remedy(monkeypatch, status, error, match):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1234567")
    with ScriptedServer(lambda _: Answer({"error": error}, status)) as server, pytest.raises(ModelUnusable, match=match):
        await ask(server)


async def test_without_a_key_the_error_says_how_to_give_one(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ScriptedServer(lambda _: Answer({}, 401)) as server:
        model = OpenAICompatible("m", base_url=server.url)
        with pytest.raises(ModelUnusable, match=r"export OPENAI_API_KEY=.*-M api_key_env=NAME"):
            await model.start()
        await model.close()
        with pytest.raises(ModelUnusable, match="api_key_env=NOWHERE: no such environment variable"):
            await ask(server, api_key_env="NOWHERE")


async def test_an_unknown_model_is_answered_with_the_names_the_server_knows():
    def script(asked: Asked) -> Answer:
        if asked.path == "/v1/models":
            return Answer({"data": [{"id": "tinny"}, {"id": "other"}]})
        return Answer({"error": {"message": "not found"}}, 404)

    with (
        ScriptedServer(script) as server,
        pytest.raises(ModelUnusable, match=r"has no model 'tiny'; did you mean 'tinny'\? known: other, tinny"),
    ):
        await ask(server)


async def test_a_server_without_raw_completions_says_so():
    def script(asked: Asked) -> Answer:
        return Answer({"data": [{"id": "tiny"}]}) if asked.path == "/v1/models" else Answer({"detail": "Not Found"}, 404)

    with ScriptedServer(script) as server, pytest.raises(ModelUnusable, match="need a server that takes raw completions"):
        await ask(server, a_request(raw=True))


async def test_a_server_without_token_probabilities_ends_the_run_with_the_remedy():
    refusal = Answer({"error": {"message": "logprobs are not supported"}}, 400)
    with ScriptedServer(lambda a: refusal if "logprobs" in a.body else chat_answer()) as server:
        wanted = a_request(sampling=Sampling(top_logprobs=5))
        with pytest.raises(ModelUnusable, match="-M logprobs=false"):
            await ask(server, wanted)
        assert (await ask(server, wanted, logprobs=False)).text == "Decision: unharmful"


async def test_a_refused_request_fails_its_sample_in_the_servers_words_but_not_the_prompts():
    text = "a text that must never stand in an error message"

    def script(asked: Asked) -> Answer:
        said = asked.body["messages"][0]["content"]
        return Answer({"detail": [{"msg": "too long", "loc": ["body"], "input": said}, f"{said!r}"]}, 422)

    with ScriptedServer(script) as server, pytest.raises(ModelError, match=r"422.*too long") as raised:
        await ask(server, a_request(text))
    assert not isinstance(raised.value, (Transient, ModelUnusable))
    assert "never stand" not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        Answer({"error": {"message": "filtered", "code": "content_filter"}}, 400),
        Answer({"error": {"message": "Your input was flagged by moderation"}}, 403),
    ],
)
async def test_a_prompt_that_the_providers_filter_refuses_is_an_answer_withheld(answer):
    with ScriptedServer(lambda _: answer) as server:
        assert (await ask(server)).finish is Finish.FILTERED


async def test_start_says_when_no_server_is_there():
    model = OpenAICompatible("m", base_url=f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(ModelUnusable, match=r"no server answers at http://127.0.0.1:\d+/v1 .*start one there, or name another"):
        await model.start()
    await model.close()


@pytest.mark.parametrize("answer", [Answer({}, 404), Answer({}, 405), Answer({}, 500), Answer({}, 403), Answer(fault="reset")])
async def test_start_puts_up_with_a_server_that_lists_no_models(answer):
    with ScriptedServer(lambda _: answer) as server:
        model = OpenAICompatible("m", base_url=server.url)
        assert await model.start() is None  # what is wrong, if anything, the first request will tell
        await model.close()


# ── options, small readings ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"base_url": "localhost:8000"}, "no http address"),
        ({"base_url": "http://user:pw@host/v1"}, "holds a user, password"),
        ({"base_url": "http://host/v1?key=abc"}, "holds a user, password"),
        ({"base_url": "http://host:port/v1"}, "is no address"),
        ({"base_url": "http://h", "extra": '{"messages": []}'}, "JSON object is wanted"),
        ({"base_url": "http://h", "extra": {"messages": []}}, "messages cannot be set there"),
        ({"base_url": "http://h", "price": "1"}, "in,out"),
        ({"base_url": "http://h", "price": "1,-1"}, "in,out"),
        ({"base_url": "http://h", "timeout": "0"}, "must be positive"),
        ({"base_url": "http://h", "api_key": "sk"}, "no option 'api_key'; did you mean 'api_key_env'"),
        ({}, "needs base_url"),
    ],
)
def test_wrong_options_are_refused_with_what_is_wanted(options, match):
    with pytest.raises(ConfigError, match=match) as raised:
        Registry().build("models", "openai_compatible", {"model": "m", **options})
    assert "pw@" not in str(raised.value) and "abc" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("https://x.org/openai/v1/chat/completions", "https://x.org/openai/v1"),
        ("https://x.org/v1/completions", "https://x.org/v1"),
    ],
)
def test_addresses_are_taken_as_people_paste_them(given, used):
    assert OpenAICompatible("m", base_url=given).base_url == used


def test_everything_that_can_change_an_answer_is_in_the_identity():
    base = {"model": "m", "base_url": "http://h/v1"}
    changes: list[dict[str, Any]] = [
        {"model": "n"},
        {"base_url": "http://i/v1"},
        {"endpoint": "chat"},
        {"extra": {"top_k": 1}},
        {"logprobs": False},
    ]
    identities = [json.dumps(dict(OpenAICompatible(**(base | c)).identity), sort_keys=True) for c in [{}, *changes]]
    assert len(set(identities)) == len(identities)
    assert OpenAICompatible(**base, timeout=5, price=(1, 2)).identity == OpenAICompatible(**base).identity


def test_options_survive_the_run_file():
    model = Registry().build(
        "models", "openai_compatible", {"model": "a/b", "base_url": "http://h", "price": "1,2", "extra": {"k": [1]}}
    )
    assert Registry().build("models", "openai_compatible", configuration(model)) == model
    assert model.traits.price == (1.0, 2.0)


# ── a real server with a real model ───────────────────────────────────────────────────────────────────────────────


async def test_llama_cpp_answers_in_chat_with_probabilities(tiny_server, tiny_texts):
    from guardeval.solvers.direct import Direct

    model = OpenAICompatible("tiny", base_url=tiny_server)
    await model.start()
    try:
        for text, answer in tiny_texts:
            verdict = await Direct().solve(a_case(prompt=text), Named(model))
            assert verdict.raw == answer
            assert verdict.label is ("unharmful" not in answer)
            assert verdict.score_source == "tokens"
            assert (verdict.score > 0.5) is verdict.label
    finally:
        await model.close()


async def test_llama_cpp_answers_raw_prompts_and_continues_a_forced_beginning(tiny_server, tiny_texts):
    from guardeval.solvers.direct import Direct

    listener = Listener()
    text, answer = tiny_texts[0]
    await Direct().solve(a_case(prompt=text), listener)
    asked = listener.asked[0].prompt.last
    raw = Prompt(Frame("<|user|>", "<|end|><|assistant|>", raw=True), asked)
    forced = Prompt.chat([Turn("user", asked)], forced=answer[:9])
    case, sampling = a_case(prompt=text), Sampling(max_tokens=40, top_logprobs=3)
    first = await ask(tiny_server, Request(raw, case, sampling))
    second = await ask(tiny_server, Request(forced, case, sampling))
    assert (first.text, answer[:9] + second.text) == (answer, answer)
    for completion in (first, second):
        assert "".join(t.text for t in completion.tokens) == completion.text
        assert completion.tokens_in and completion.tokens_out


async def test_llama_cpp_shows_what_it_reads_of_raw_text_and_of_turns(tiny_server):
    model = OpenAICompatible("tiny", base_url=tiny_server)
    raw = Prompt(Frame("<|user|> Judge: ", "\n", raw=True, forced="Decision:"), "a ☃. It's")
    try:
        assert await model.render(raw) == "<|user|> Judge: a ☃. It's\nDecision:"
        assert await model.render(Prompt.chat([Turn("user", "hello")])) == "<|user|>hello<|end|><|assistant|>"
        assert await model.beginning() == ""
    finally:
        await model.close()


async def test_turns_on_raw_completions_are_rendered_as_they_are_sent():
    def answer(asked: Asked) -> Answer:
        if asked.path == "/tokenize":
            return Answer({"tokens": [*asked.body["prompt"].encode()]})
        return Answer({"prompt": bytes(asked.body["tokens"]).decode()})

    request = a_request("bread", turns=[Turn("system", "Guard.")], forced="I say")
    with ScriptedServer(answer) as server:
        shown = await OpenAICompatible("tiny", base_url=server.url, endpoint="completions").render(request.prompt)
    with ScriptedServer(lambda _: Answer({"choices": [{"text": "fine"}]})) as server:
        await ask(server, request, endpoint="completions")
        assert shown == server.asked[0].body["prompt"]


async def test_llama_cpp_says_when_a_prompt_is_too_long(tiny_server):
    with pytest.raises(ModelError, match=r"400.*context") as raised:
        await ask(tiny_server, a_request("word " * 9000))
    assert not isinstance(raised.value, (Transient, ModelUnusable))


async def test_llama_cpp_gives_every_draw_whether_its_version_takes_n_or_not(tiny_server, tiny_texts):
    from guardeval.solvers.direct import Direct

    listener = Listener()
    await Direct().solve(a_case(prompt=tiny_texts[0][0]), listener)
    warm = replace(listener.asked[0].sampling, temperature=1.5, seed=3, max_tokens=20)
    requests = [replace(listener.asked[0], sampling=warm, draw=i) for i in range(4)]
    model = OpenAICompatible("tiny", base_url=tiny_server)
    async with Broker() as broker:
        bound = broker.bind(model)
        said = await asyncio.gather(*(bound.asker().generate(r) for r in requests))
        sent = broker.counters.sent
    await model.close()
    assert (broker.counters.answered, broker.counters.failed) == (4, 0)
    assert sent in (1, 1 + 3, 1 + 4)  # it took n, gave one of four, or refused all four
    assert all("Decision: " in c.text and c.tokens_out for c in said)
    assert said[0].tokens_in > 100


class Named:
    """A backend as solvers see it, without a broker between."""

    name = "tiny"

    def __init__(self, model: OpenAICompatible) -> None:
        self.model, self.traits = model, model.traits

    async def generate(self, request: Request) -> Completion:
        return await self.model.generate(request)


class Listener:
    """Answers nothing and keeps what it was asked."""

    name = "listener"

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.traits = OpenAICompatible("m", base_url="http://127.0.0.1:1").traits

    async def generate(self, request: Request) -> Completion:
        self.asked.append(request)
        return Completion("")
