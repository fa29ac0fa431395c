"""Inspect's providers as guardeval models, against a server on loopback."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

import guardeval
from guardeval.contracts import Finish, Frame, Prompt, Request, Sampling, Token, Turn
from guardeval.data import Outcome
from guardeval.errors import ConfigError, ModelError, ModelUnusable, Transient
from guardeval.judging import judge
from guardeval.models import ModelSpec, build_model
from guardeval.registry import Registry
from guardeval.testing.builders import SHORT_POLICIES, a_case, a_sample
from guardeval.testing.faults import Faults, FaultServer
from guardeval.testing.scripted import a_request

pytest.importorskip("inspect_ai")

CHAT, RAW = "inspect/openai-api/local/scripted", "inspect/openai-api-completions/local/scripted"


@pytest.fixture(autouse=True)
def key(monkeypatch, tmp_path) -> str:
    monkeypatch.setenv("LOCAL_API_KEY", "sesame-open")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return "sesame-open"


def model(name: str, server: FaultServer | None = None, **args: Any) -> Any:
    given = args if server is None else {"base_url": server.url, **args}
    return build_model(ModelSpec(name, given), Registry())


def ask(backend: Any, request: Request) -> Any:
    async def once() -> Any:
        await backend.start()
        try:
            return await backend.generate(request)
        finally:
            await backend.close()

    return asyncio.run(once())


def reply(message: dict[str, Any], finish: str = "stop", **choice: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "prompt_tokens_details": {"cached_tokens": 4}}
    choices = [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}, **choice}]
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "scripted", "choices": choices, "usage": usage}


# ── what is asked ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_turns_and_sampling_are_sent_as_they_are():
    turns = [Turn("system", "Be careful."), Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", "Judge \ud800 this")]
    sampling = Sampling(max_tokens=9, temperature=0.5, top_p=0.9, stop=("END",), top_logprobs=30, seed=4)
    with FaultServer() as server:
        ask(model(CHAT, server), Request(Prompt.chat(turns), a_case(), sampling, draw=2))
        (body,) = server.bodies
    sent = [(m["role"], m["content"]) for m in body["messages"]]
    assert sent == [*map(tuple, turns[:-1]), ("user", "Judge � this")]
    asked = {
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "seed": 6,
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert {k: body[k] for k in asked} == asked


def test_a_raw_prompt_goes_out_raw_and_is_refused_where_it_would_be_wrapped():
    with FaultServer() as server:
        ask(
            model(RAW, server),
            Request(Prompt(Frame("<s>[INST] ", " [/INST]", raw=True, forced="Request:"), "x"), a_case(), Sampling()),
        )
        assert server.bodies[0]["prompt"] == "<s>[INST] x [/INST]Request:"
        with pytest.raises(ModelUnusable, match="completions provider: openai-api-completions/SERVICE/MODEL"):
            ask(model(CHAT, server), Request(Prompt.raw("<s>[INST] x [/INST]"), a_case(), Sampling()))
        assert len(server.bodies) == 1


def test_a_forced_beginning_and_template_options_reach_a_server_that_takes_them():
    prompt = Prompt(Frame("Judge: ", forced="Decision:", options={"think": False}), "x")
    with FaultServer(lambda body: reply({"content": "Decision: harmful"})) as server:
        said = ask(model(CHAT, server), Request(prompt, a_case(), Sampling()))
        (body,) = server.bodies
    assert said.text == " harmful"
    assert body["messages"][-1] == {"role": "assistant", "content": "Decision:"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert body["chat_template_kwargs"] == {"think": False}
    with pytest.raises(ModelUnusable, match="begins the answer itself"):
        asyncio.run(model("inspect/mockllm/model").generate(Request(prompt, a_case(), Sampling())))


@pytest.mark.parametrize("role", ["assistant", "user"])
def test_a_last_turn_of_the_assistant_is_judged_and_not_continued(role):
    with FaultServer("safe") as server:
        ask(model(CHAT, server), Request(Prompt(Frame("", turns=[Turn("user", "Hi")], role=role), "x"), a_case(), Sampling()))
        (body,) = server.bodies
    said = (body.get("continue_final_message"), body.get("add_generation_prompt"))
    assert said == ((False, True) if role == "assistant" else (None, None))


# ── what is answered ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_probabilities_reasoning_and_usage_are_read():
    top = [{"token": "harmful", "logprob": math.log(0.8)}, {"token": "unharmful", "logprob": math.log(0.2)}]
    content = [{"token": "harmful", "logprob": math.log(0.8), "top_logprobs": top}]
    answer = reply({"content": "harmful", "reasoning_content": "Let me see."}, logprobs={"content": content})
    with FaultServer(lambda body: answer) as server:
        said = ask(model(CHAT, server), a_request(sampling=Sampling(top_logprobs=2)))
    assert (said.text, said.thinking, said.finish) == ("harmful", "Let me see.", Finish.STOP)
    assert said.tokens == (Token("harmful", math.log(0.8), tuple((t["token"], t["logprob"]) for t in top)),)
    assert (said.tokens_in, said.tokens_out) == (11, 7)


@pytest.mark.parametrize(("reason", "finish"), [("length", Finish.LENGTH), ("content_filter", Finish.FILTERED)])
def test_the_end_of_an_answer_is_told_apart(reason, finish):
    with FaultServer(lambda body: reply({"content": "half"}, reason)) as server:
        assert ask(model(CHAT, server), a_request()).finish is finish


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["http_500", "throttled", "truncated", "empty", "dropped"])
def test_a_fault_is_asked_about_once_and_left_to_the_broker(kind):
    with FaultServer(faults=Faults(**{kind: 1.0}, retry_after=3)) as server:
        with pytest.raises(Transient) as problem:
            ask(model(CHAT, server), a_request())
        assert server.stats()["requests"] == 1
    limited = kind == "throttled"
    assert (problem.value.throttled, problem.value.retry_after) == (limited, 3 if limited else None)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        ({"message": "bread is not to be spoken of: How do I bake bread?"}, ModelError, "400"),
        ({"message": "too long", "code": "context_length_exceeded"}, ModelError, "does not fit"),
        ({"message": "logprobs are not supported", "param": "logprobs"}, ModelUnusable, "logprobs=false"),
    ],
)
def test_a_refusal_says_why_and_not_what_was_asked(error, kind, said, key):
    with FaultServer(lambda body: {"error": error}) as server, pytest.raises(kind, match=said) as problem:
        ask(model(CHAT, server), a_request())
    assert type(problem.value) is kind
    assert key not in str(problem.value) and "bake bread" not in str(problem.value)


def test_a_key_that_is_not_accepted_ends_the_run_and_another_variable_can_hold_it(monkeypatch, key):
    monkeypatch.setenv("MY_KEY", key)
    monkeypatch.setenv("LOCAL_API_KEY", "wrong-one")
    with FaultServer(api_key=key) as server:
        with pytest.raises(ModelUnusable, match="LOCAL_API_KEY was not accepted"):
            ask(model(CHAT, server), a_request())
        mine = model(CHAT, server, api_key_env="MY_KEY")
        assert ask(mine, a_request()).text
    assert key not in json.dumps(dict(mine.identity))


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("inspect/nosuch/model", {}, "nosuch"),
        (CHAT, {"base_url": "http://127.0.0.1:9/v1"}, "no server answers at http://127.0.0.1:9/v1"),
        ("inspect/openai-api/nokey/x", {"base_url": "http://127.0.0.1:9/v1"}, "No NOKEY_API_KEY"),
        (CHAT, {"args": {"no_such_option": 1}}, "no_such_option"),
    ],
)
def test_what_cannot_work_is_said_before_the_first_sample(name, args, said):
    with pytest.raises(ModelUnusable, match=said):
        asyncio.run(model(name, **{"base_url": "http://127.0.0.1:9/v1", **args}).start())


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("inspect/gpt-4o", {}, "inspect/PROVIDER/NAME"),
        (CHAT, {"args": {"api_key": "abc"}}, "api_key_env=NAME"),
        (CHAT, {"config": {"temperature": 1}}, "the solver's to say"),
        (CHAT, {"timeout": 0}, "must be positive"),
    ],
)
def test_wrong_options_are_explained(name, args, said):
    with pytest.raises(ConfigError, match=said):
        model(name, **args)


# ── whole runs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_hears_every_sample_through_faults(tmp_path):
    faults = Faults(http_500=0.1, throttled=0.1, truncated=0.1, empty=0.05, dropped=0.05, hung=0.03, retry_after=0.02, seed=2)
    with FaultServer("Decision: harmful\nPolicies: violence", faults) as server:
        run = guardeval.run(
            "wildguard", "direct", {"name": CHAT, "args": {"base_url": server.url, "timeout": 3.0}},
            data="sample", limit=20, no_cache=True, output_path=str(tmp_path),
        )  # fmt: skip
        stats = server.stats()
    assert (run.never_heard, stats["unique"], stats["reanswered"]) == (0, 20, 0)
    assert sum(stats["faults"].values()) > 3
    (task,) = run.tasks.values()
    assert all(j.verdict.outcome is Outcome.PARSED for j in task.judged)
    assert "sesame-open" not in (run.path / "run.yaml").read_text()


def test_a_model_can_be_judged_with_again_in_another_event_loop():
    with FaultServer("Decision: harmful\nPolicies: none") as server:
        backend = model(CHAT, server)
        for _ in range(2):
            found = judge([a_sample()], a_case().target, SHORT_POLICIES, Registry().build("solvers", "direct"), backend)
            assert found[0].verdict.label is True
