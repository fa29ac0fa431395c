"""``--model lm_eval/NAME``: backends of lm-eval asked over loopback servers, and what is refused before anything is asked."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from guardeval.contracts import Finish, Frame, Prompt, Sampling, Turn
from guardeval.errors import ConfigError, ModelError, ModelUnusable
from guardeval.models import ModelSpec, build_model
from guardeval.plugins.lm_eval_model import LmEval
from guardeval.registry import Registry, build, configuration
from guardeval.testing.faults import FaultServer
from guardeval.testing.scripted import a_request


def reply(text: str | None, finish: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "text": text, "finish_reason": finish}
    return {"id": "1", "model": "guard", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}


def said(body: Any) -> dict[str, Any]:
    asked = json.dumps(body)
    if "cut me off" in asked:
        return reply("Decision: harm", "length")
    if "say nothing" in asked:
        return reply(None, "content_filter")
    return reply(f"about {body['messages'][-1]['content'][-9:]}" if "messages" in body else f"raw {body['prompt'][-9:]}")


@pytest.fixture(scope="module")
def server():
    with FaultServer(said, models=("guard",)) as running:
        yield running


def chat(server: FaultServer, **more: Any) -> LmEval:
    return LmEval("local-chat-completions", options={"base_url": f"{server.url}/chat/completions", "model": "guard", **more})


def completions(server: FaultServer) -> LmEval:
    options = {"base_url": f"{server.url}/completions", "model": "guard", "tokenizer_backend": "none"}
    return LmEval("local-completions", options=options)


def chatted(text: str, **fields: Any) -> Any:
    return a_request(text, frame=Frame("Judge: ", ""), **fields)


def test_a_batch_is_answered_in_order_and_quietly(server, capfd):
    texts = [f"number {i}" for i in (3, 1, 20, 2)]
    done = chat(server).generate_batch([chatted(t) for t in texts])
    assert [c.text for c in done] == [f"about {('Judge: ' + t)[-9:]}" for t in texts]
    assert {(c.finish, c.tokens_out) for c in done} == {(Finish.STOP, 4)}
    assert capfd.readouterr() == ("", "")


def test_answers_under_way_at_once_keep_their_endings(server):
    texts = ["cut me off", "fine 1", "fine 2", "say nothing", "fine 3"] * 3
    done = chat(server, num_concurrent="4").generate_batch([chatted(f"{i} {t}") for i, t in enumerate(texts)])
    assert [c.finish for c in done] == [Finish.LENGTH, Finish.STOP, Finish.STOP, Finish.FILTERED, Finish.STOP] * 3
    assert [c.text for c in done][3::5] == [""] * 3


@pytest.mark.parametrize("text, finish", [("cut me off", Finish.LENGTH), ("say nothing", Finish.FILTERED)])
def test_an_answer_that_was_cut_off_or_withheld_is_told(server, text, finish):
    (done,) = chat(server).generate_batch([chatted(text)])
    assert (done.finish, done.text) == (finish, "Decision: harm" if text == "cut me off" else "")


def test_sampling_and_draws_reach_the_server(server):
    server.reset()
    sampling = Sampling(max_tokens=7, temperature=0.5, top_p=0.9, stop=("END",), seed=40)
    chat(server).generate_batch([chatted("draws", sampling=sampling, draw=d) for d in (0, 1)])
    bodies = sorted(server.bodies, key=lambda b: b["seed"])
    assert [b["seed"] for b in bodies] == [40, 41]
    assert {(b["max_tokens"], b["temperature"], b["top_p"], tuple(b["stop"])) for b in bodies} == {(7, 0.5, 0.9, ("END",))}


def test_turns_go_as_messages_and_raw_prompts_as_they_are(server):
    server.reset()
    turns = Prompt.chat([Turn("system", "Be strict."), Turn("user", "Hello")])
    raw = a_request(frame=Frame("<s>[INST] ", " [/INST]", raw=True, forced="Safety:"), text="Hi")
    chat(server).generate_batch([a_request().__class__(turns, a_request().case, Sampling())])
    (done,) = completions(server).generate_batch([raw])
    messages = [{"role": "system", "content": "Be strict."}, {"role": "user", "content": "Hello"}]
    assert [{k: m[k] for k in ("role", "content")} for m in server.bodies[0]["messages"]] == messages
    assert server.bodies[1]["prompt"] == "<s>[INST] Hi [/INST]Safety:"
    assert done.text == f"raw {'<s>[INST] Hi [/INST]Safety:'[-9:]}"


def test_a_raw_prompt_is_not_wrapped_by_a_chat_server(server):
    model = chat(server)
    assert not model.traits.raw
    with pytest.raises(ModelUnusable, match="local-completions"):
        model.generate_batch([a_request(frame=Frame("", raw=True))])


def test_turns_are_not_sent_to_a_completions_server_without_a_template(server):
    with pytest.raises(ModelUnusable, match="no chat template"):
        completions(server).generate_batch([chatted("Hello")])


def test_a_server_that_is_not_there_is_told_as_such():
    model = LmEval("local-chat-completions", options={"base_url": "http://127.0.0.1:9/v1", "model": "m", "max_retries": "1"})
    with pytest.raises(ModelUnusable, match="-M base_url="):
        model.generate_batch([chatted("Hello")])


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("local-chat-completions", {"model": "m"}, "has no address: give the server's, -M base_url="),
        ("openai-chat-completions", {"model": "m"}, "API key not found"),
    ],
)
async def test_a_key_or_address_that_is_missing_is_told_before_the_first_sample(name, options, said, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelUnusable, match=said):
        await LmEval(name, options=options).start()


def test_what_a_server_says_to_a_request_that_it_refuses_is_told():
    def refusing(body: Any) -> Any:
        return {"error": {"message": "this one I will not take", "type": "invalid_request_error"}}

    with FaultServer(refusing) as server, pytest.raises(ModelError, match="this one I will not take"):
        chat(server, max_retries="1").generate_batch([chatted("Hello")])


def test_options_pass_to_lm_eval_and_come_back_from_a_record(server):
    spec = ModelSpec("lm_eval/local-chat-completions", {"model": "guard", "base_url": "http://127.0.0.1:9", "batch": "3"})
    model = build_model(spec, Registry())
    assert isinstance(model, LmEval)
    assert (model.backend, model.batch, model.options["model"]) == ("local-chat-completions", 3, "guard")
    assert build(LmEval, configuration(model), "model") == model


def test_identity_is_content_and_holds_what_changes_an_answer(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    one = LmEval("hf", options={"pretrained": str(tmp_path), "batch_size": "1"})
    assert one.identity == LmEval("hf", options={"pretrained": str(tmp_path), "batch_size": "8"}).identity
    assert str(tmp_path) not in json.dumps(one.identity)
    before = json.dumps(one.identity)
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert json.dumps(LmEval("hf", options={"pretrained": str(tmp_path)}).identity) != before
    assert LmEval("hf", options={"pretrained": str(tmp_path), "dtype": "float16"}).identity != one.identity


@pytest.mark.parametrize("name", ["api_key", "auth_token", "token", "header", "OPENAI_API_KEY"])
def test_a_secret_among_the_options_is_refused_without_being_repeated(name):
    with pytest.raises(ConfigError, match="environment") as refused:
        LmEval("local-chat-completions", options={name: "sk-123"})
    assert "sk-123" not in str(refused.value)


def test_options_that_only_sound_like_secrets_pass():
    options = {"think_end_token": "</think>", "max_gen_toks": "4", "tokenizer": "t", "add_bos_token": "true"}
    assert LmEval("hf", options=options).options == options


def test_an_unknown_backend_is_met_with_the_nearest_name():
    with pytest.raises(ConfigError, match="local-completions"):
        LmEval("local-completion").generate_batch([chatted("Hello")])


def test_a_backend_that_does_not_open_says_why():
    with pytest.raises(ModelUnusable, match="does not open"):
        LmEval("hf", options={"pretrained": "/no/such/folder"}).generate_batch([chatted("Hello")])


def test_a_backend_without_anything_to_tell_still_answers(server):
    (done,) = LmEval("dummy").generate_batch([a_request(frame=Frame("", raw=True))])
    assert (done.text, done.finish, done.tokens_out) == ("lol", Finish.STOP, None)
    assert logging.getLogger("lm_eval").level == logging.ERROR


def test_variables_of_a_template_are_refused(server):
    with pytest.raises(ModelError, match="enable_thinking"):
        chat(server).generate_batch([a_request(frame=Frame("", options={"enable_thinking": False}))])
