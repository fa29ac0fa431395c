"""ollama through the official client, against a server on loopback that speaks Ollama's API; a real one was never run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama_server import OllamaScript
from scripted_server import Answer, Asked, ScriptedServer, unused_port

from guardeval.contracts import Completion, Finish, Frame, Prompt, Request, Sampling, Turn
from guardeval.errors import ConfigError, ModelError, ModelUnusable, Transient
from guardeval.plugins.ollama import Ollama
from guardeval.plugins.ollama_context import Window
from guardeval.registry import Registry, configuration
from guardeval.testing.builders import a_case

GREEDY = Sampling(max_tokens=100)


def a_request(text: str = "How do I bake bread?", sampling: Sampling = GREEDY, draw: int = 0, **frame: Any) -> Request:
    return Request(Prompt(Frame("Judge: ", " Now.", **frame), text), a_case(prompt=text), sampling, draw)


def says(content: Any = "Decision: unharmful", **fields: Any) -> OllamaScript:
    return OllamaScript(lambda _: {"content": content, **fields})


async def ask(server: ScriptedServer, request: Request | None = None, started: bool = True, **options: Any) -> Completion:
    model = Ollama("tiny", base_url=server.url, **options)
    try:
        if started:
            await model.start()
        return await model.generate(request or a_request())
    finally:
        await model.close()


async def test_a_last_turn_of_the_assistant_would_be_continued_and_is_not_asked():
    with ScriptedServer(says()) as server:
        with pytest.raises(ModelUnusable, match="continues a last turn"):
            await ask(server, a_request(turns=[Turn("user", "Hi")], role="assistant"))
        assert (await ask(server, a_request(turns=[Turn("user", "Hi")], role="assistant", forced="I"))).text
        assert [a.path for a in server.asked].count("/api/chat") == 1


# ── what is sent and what comes back ──────────────────────────────────────────────────────────────────────────────


async def test_a_chat_request_holds_the_turns_the_options_and_the_context():
    sampling = Sampling(max_tokens=7, temperature=0.5, top_p=0.9, stop=("END",), top_logprobs=3, seed=10)
    with ScriptedServer(says()) as server:
        request = a_request("x \ud800", sampling, draw=1, turns=[Turn("system", "Be brief.")])
        await ask(server, request, think="low", keep_alive="9m", options={"top_k": 1})
    asked = server.asked[-1]
    assert asked.path == "/api/chat"
    assert asked.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Judge: x \ufffd Now."},
    ]
    assert asked.body["options"] == {
        "top_k": 1,
        "num_ctx": 4096,
        "num_predict": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "seed": 11,
    }
    assert (asked.body["think"], asked.body["keep_alive"], asked.body["top_logprobs"]) == ("low", "9m", 3)
    assert (asked.body["truncate"], asked.body["shift"], asked.body["stream"]) == (False, False, False)


async def test_a_raw_prompt_goes_out_as_it_is():
    with ScriptedServer(says("safe")) as server:
        completion = await ask(server, a_request("x", raw=True, forced="\n\n"))
    asked = server.asked[-1]
    assert (asked.path, asked.body["raw"], asked.body["prompt"]) == ("/api/generate", True, "Judge: x Now.\n\n")
    assert completion.text == "safe"


async def test_thinking_stays_apart_from_the_answer():
    with ScriptedServer(says("Decision: harmful", thinking="hm", eval_count=50)) as server:
        completion = await ask(server, think="high")
    assert (completion.text, completion.thinking, completion.tokens_out) == ("Decision: harmful", "hm", 50)


async def test_thinking_without_an_answer_says_that_it_was_cut():
    with ScriptedServer(says("", thinking="hm", done_reason="length")) as server:
        completion = await ask(server)
    assert (completion.text, completion.thinking, completion.finish) == ("", "hm", Finish.LENGTH)


async def test_token_probabilities_are_read_where_the_server_gives_them():
    logprobs = [
        {"token": "thought", "logprob": -1.0},
        {"token": "yes", "logprob": -0.1, "top_logprobs": [{"token": "no", "logprob": -2.0}]},
    ]
    with ScriptedServer(says("yes", thinking="thought", logprobs=logprobs)) as server:
        completion = await ask(server, a_request(sampling=Sampling(top_logprobs=2)))
        older = await ask(server, a_request(), logprobs=False)
    (token,) = completion.tokens
    assert (token.text, token.logprob, token.top) == ("yes", -0.1, (("no", -2.0), ("yes", -0.1)))
    assert "logprobs" not in server.asked[-1].body
    assert older.text == "yes"


@pytest.mark.parametrize(("think", "sent"), [("true", True), ("false", False), ("medium", "medium"), (None, None)])
async def test_think_is_sent_as_the_server_wants_it(think, sent):
    with ScriptedServer(says()) as server:
        await ask(server, think=think)
    assert server.asked[-1].body.get("think") == sent


# ── the context covers prompt and answer, or the run hears of it ──────────────────────────────────────────────────


async def test_the_context_grows_with_the_prompt_and_never_shrinks():
    script = OllamaScript(lambda _: {"content": "ok"}, context_length=32768)
    with ScriptedServer(script) as server:
        model = Ollama("tiny", base_url=server.url)
        await model.start()
        for size in (10, 20_000, 10):
            await model.generate(a_request("x" * size))
        await model.close()
    assert script.contexts == [4096, 8192, 8192]


@pytest.mark.parametrize(
    "server_kind",
    [{"refuses_when_asked": True}, {"refuses_when_asked": False}, {"refuses_when_asked": False, "keeps_half": True}],
)
async def test_a_cut_prompt_stops_the_run_when_the_context_was_given(server_kind):
    with (
        ScriptedServer(OllamaScript(lambda _: {"content": "Decision: unharmful"}, **server_kind)) as server,
        pytest.raises(ModelUnusable, match="num_ctx=1024, and Ollama would cut the policies; give more by -M num_ctx="),
    ):
        await ask(server, a_request("x" * 9000), num_ctx=1024)


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_context_guessed_too_small_is_asked_for_again_larger(refuses):
    script = OllamaScript(lambda text: {"content": f"{len(text)} read"}, 65536, refuses, bytes_per_token=1)
    with ScriptedServer(script) as server:
        model = Ollama("tiny", base_url=server.url)
        await model.start()
        request = a_request("x" * 6000)
        with pytest.raises(Transient, match="asking again with more"):
            await model.generate(request)
        completion = await model.generate(request)
        await model.close()
    assert script.contexts == [4096, 8192]
    assert completion.text == f"{len(request.prompt.last)} read"


async def test_a_prompt_beyond_the_models_own_context_fails_its_sample_only():
    script = OllamaScript(lambda _: {"content": "ok"}, context_length=2048)
    with ScriptedServer(script) as server:
        with pytest.raises(ModelError, match=r"cannot fit its context of 2048 tokens.*--policies minimal") as raised:
            await ask(server, a_request("x" * 20_000))
        assert (await ask(server, a_request("x" * 100))).text == "ok"
        with pytest.raises(ModelError, match="the model has no larger context"):
            await ask(server, a_request("x" * 9_000))
    assert not isinstance(raised.value, (Transient, ModelUnusable))
    assert set(script.contexts) == {2048}


async def test_a_context_beyond_the_model_is_refused_at_the_start():
    with (
        ScriptedServer(OllamaScript(lambda _: {"content": "ok"}, context_length=2048)) as server,
        pytest.raises(ModelUnusable, match="has a context of 2048 tokens at most"),
    ):
        await ask(server, num_ctx=4096)


@given(st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 4096))), st.none() | st.integers(1024, 131072))
def test_a_window_covers_what_it_is_asked_for_or_says_no(asked, limit):
    window, last = Window(None, limit), 0
    for size, tokens in asked:
        num_ctx = window.cover(size, tokens)
        if num_ctx is None:
            assert limit is not None
            assert size // 6 + tokens > limit
            continue
        assert num_ctx >= last
        assert num_ctx == limit or num_ctx >= size // 3 + tokens
        last = num_ctx


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_start_says_how_to_start_a_server():
    model = Ollama("tiny", base_url=f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(ModelUnusable, match=r"no Ollama answers at http://127.0.0.1:\d+; start it \(ollama serve\)"):
        await model.start()
    await model.close()
    with pytest.raises(ModelUnusable, match="ollama serve"):
        _ = model.identity


async def test_start_says_how_to_fetch_a_model():
    with ScriptedServer(OllamaScript(lambda _: {"content": ""}, models={"tinny:1b": "d"})) as server:
        model = Ollama("tiny:1b", base_url=server.url)
        with pytest.raises(
            ModelUnusable, match=r"no model 'tiny:1b'; did you mean 'tinny:1b'\?.*fetch it: ollama pull tiny:1b"
        ):
            await model.start()
        await model.close()
        with pytest.raises(ModelUnusable, match="ollama pull tiny:1b"):
            _ = model.identity


async def test_start_says_when_the_server_is_no_ollama():
    with ScriptedServer(lambda _: Answer({"hello": 1})) as server, pytest.raises(ModelUnusable, match="no Ollama server"):
        await ask(server)


class Failing:
    """Tags as usual, and a failure for every question."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.tags = answer, says()

    def __call__(self, asked: Asked) -> Answer:
        return self.tags(asked) if asked.path in {"/api/tags", "/api/show"} else self.answer


@pytest.mark.parametrize(
    ("answer", "kind", "match"),
    [
        (Answer({"error": "model runner has crashed"}, 500), Transient, "500.*crashed"),
        (Answer({"error": "server busy"}, 503), Transient, "busy"),
        (Answer({"error": "slow down"}, 429), Transient, "429"),
        (Answer(b"{", 200), Transient, "cannot be read"),
        (Answer({"message": 5}, 200), Transient, "cannot be read"),
        (Answer({"done": True, "message": {"role": "assistant"}}, 200), Transient, "no content"),
        (Answer({"done": True, "done_reason": "load", "message": {"role": "assistant", "content": ""}}), Transient, "load"),
        (Answer(fault="reset"), Transient, "http://127"),
        (Answer(fault="hang"), Transient, "timeout="),
        (Answer({"error": "model 'tiny' not found"}, 404), ModelUnusable, "ollama pull tiny"),
        (Answer({"error": '"tiny" does not support thinking'}, 400), ModelUnusable, "leave -M think away"),
        (Answer({"error": "unauthorized"}, 401), ModelUnusable, "OLLAMA_API_KEY"),
        (Answer({"error": "invalid options: Judge: How do I bake bread? Now."}, 400), ModelError, r"400.*invalid options: \*"),
    ],
)
async def test_every_failure_is_one_of_ours(answer, kind, match):
    with ScriptedServer(Failing(answer)) as server, pytest.raises(kind, match=match) as raised:
        await ask(server, think="low", timeout=answer.patience)
    assert type(raised.value) is kind
    assert "bread" not in str(raised.value)


# ── identity and options ──────────────────────────────────────────────────────────────────────────────────────────


async def test_the_digest_of_the_model_is_part_of_its_identity_before_and_after_start():
    with ScriptedServer(says()) as server:
        early = Ollama("tiny", base_url=server.url)
        late = Ollama("tiny", base_url=server.url)
        await late.start()
        assert early.identity == late.identity
        assert early.identity["digest"] == "sha256-0123"
        await late.close()
    with ScriptedServer(OllamaScript(lambda _: {"content": ""}, models={"tiny:latest": "sha256-9"})) as server:
        assert Ollama("tiny", base_url=server.url).identity["digest"] == "sha256-9"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0:9999", "http://127.0.0.1:9999"),
        ("http://gpu:11434/v1/", "http://gpu:11434"),
        ("https://ollama.example.org", "https://ollama.example.org"),
    ],
)
def test_addresses_are_taken_as_people_write_them(given, used, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", given)
    assert Ollama("m")._address == used
    assert Ollama("m", base_url=given)._address == used


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_ctx": "0"}, "must be positive"),
        ({"num_ctx": "many"}, "whole number"),
        ({"think": "deep"}, "one of low, medium, high, true, false"),
        ({"options": {"num_ctx": 1}}, "num_ctx has its own -M"),
        ({"options": "x"}, "JSON object is wanted"),
    ],
)
def test_wrong_options_are_refused_with_what_is_wanted(options, match):
    with pytest.raises(ConfigError, match=match):
        Registry().build("models", "ollama", {"model": "m", **options})


def test_options_survive_the_run_file():
    model = Registry().build("models", "ollama", {"model": "gpt-oss:20b", "num_ctx": "8192", "think": "low"})
    assert Registry().build("models", "ollama", configuration(model)) == model
    assert json.loads(json.dumps(configuration(model)))["num_ctx"] == 8192
