"""Answers of OpenAI-shaped servers, read: what is said stays, what is missing is never made up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.chat_api import read_answer, read_answers
from guardeval.contracts import Completion, Finish
from guardeval.errors import ModelError, ModelUnusable, Transient


def answered(**choice: Any) -> Completion:
    return read_answer({"choices": [choice]}, "http://x")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_stays_apart_from_the_answer(field):
    completion = answered(message={"content": "Decision: harmful", field: "hm"}, finish_reason="stop")
    assert (completion.text, completion.thinking) == ("Decision: harmful", "hm")


def test_parts_of_content_are_read_by_their_type():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    completion = answered(message={"content": parts}, finish_reason="stop")
    assert (completion.text, completion.thinking) == ("yes", "hm")


def test_reasoning_without_an_answer_is_an_empty_text_beside_its_thinking():
    completion = answered(message={"content": None, "reasoning_content": "hm"}, finish_reason="length")
    assert (completion.text, completion.thinking, completion.finish) == ("", "hm", Finish.LENGTH)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"message": {"content": None, "refusal": "I cannot."}, "finish_reason": "stop"}, "I cannot."),
        ({"message": {"content": None}, "finish_reason": "content_filter"}, ""),
        ({"message": {"content": "Deci"}, "finish_reason": "content_filter"}, "Deci"),
    ],
)
def test_an_answer_withheld_is_filtered_never_an_ordinary_empty_one(choice, text):
    completion = answered(**choice)
    assert (completion.text, completion.finish) == (text, Finish.FILTERED)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"choices": []},
        {"choices": None},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"message": {}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": "half"}, "finish_reason": "abort"}]},
        {"error": {"message": "overloaded", "code": 503}},
        {"choices": [{"error": {"message": "upstream", "code": 502}}]},
    ],
)
def test_an_answer_without_an_answer_in_it_is_asked_again(body):
    with pytest.raises(Transient):
        read_answer(body, "http://x")


def test_an_error_inside_a_success_keeps_its_meaning():
    with pytest.raises(ModelUnusable, match="no credit"):
        read_answer({"error": {"message": "pay", "code": 402}}, "http://x")
    with pytest.raises(ModelError, match="passed on a refusal") as raised:
        read_answer({"error": {"message": "bad", "code": 400}}, "http://x")
    assert not isinstance(raised.value, (Transient, ModelUnusable))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["content", "text", "type", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_SHAPE = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "message": st.dictionaries(st.sampled_from(["content", "refusal", "reasoning", "tool_calls"]), _JSON)
                    | _JSON,
                    "text": _JSON,
                    "finish_reason": _JSON | st.sampled_from(["stop", "length"]),
                    "logprobs": st.dictionaries(
                        st.sampled_from(["content", "tokens", "token_logprobs", "top_logprobs"]), _JSON
                    ),
                },
            )
        )
        | _JSON,
        "usage": _JSON,
        "error": _JSON,
    },
)


@given(_SHAPE | _JSON)
def test_any_json_is_read_or_refused_and_nothing_missing_becomes_an_ordinary_answer(body):
    try:
        completion = read_answer(body, "http://x")
    except ModelError:
        return
    if completion.text == "" and completion.finish is Finish.STOP and completion.thinking is None:
        choice = body["choices"][0]
        message = choice.get("message")
        said = message.get("content") if isinstance(message, dict) else choice.get("text")
        assert said == "" or isinstance(said, list)
    assert "".join(t.text for t in completion.tokens) in {"", completion.text}


def entry(token: str, logprob: float = -0.1, **top: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "top_logprobs": [{"token": t, "logprob": p} for t, p in top.items()]}


def test_tokens_spell_the_answer_without_reasoning_and_end_marks():
    content = [
        entry("yes"),
        entry("</think>"),
        entry("\n\nDe"),
        entry("cision: "),
        entry("yes", -0.2, no=-1.0),
        entry("<|end|>"),
    ]
    completion = answered(message={"content": "Decision: yes"}, finish_reason="stop", logprobs={"content": content})
    assert [t.text for t in completion.tokens] == ["De", "cision: ", "yes"]
    assert completion.tokens[2].top == (("no", -1.0), ("yes", -0.2))


def test_tokens_of_split_characters_are_put_together():
    content = [entry("\\xc3") | {"bytes": [0xC3]}, entry("\\xa9") | {"bytes": [0xA9]}, entry("!")]
    completion = answered(message={"content": "é!"}, finish_reason="stop", logprobs={"content": content})
    assert "".join(t.text for t in completion.tokens) == "é!"


def test_tokens_that_do_not_spell_the_answer_are_left_out():
    completion = answered(message={"content": "Decision"}, finish_reason="stop", logprobs={"content": [entry("Dec")]})
    assert completion.tokens == ()


def test_raw_completions_give_tokens_in_lists():
    logprobs = {"tokens": [" saf", "e"], "token_logprobs": [-0.5, -0.1], "top_logprobs": [{" saf": -0.5, " un": -2.0}, None]}
    completion = answered(text=" safe", finish_reason="stop", logprobs=logprobs)
    assert completion.tokens[0].top == ((" saf", -0.5), (" un", -2.0))
    assert [t.logprob for t in completion.tokens] == [-0.5, -0.1]


# ── several choices ─────────────────────────────────────────────────────────────────────────────────────────────────


def choice(content: Any = "x", **fields: Any) -> dict[str, Any]:
    return {"finish_reason": "stop", "message": {"content": content}} | fields


def test_every_choice_is_read_with_its_own_finish_reasoning_and_probabilities():
    logprobs = {"content": [{"token": "yes", "logprob": -0.5, "bytes": None, "top_logprobs": []}]}
    body = {
        "choices": [choice("yes", logprobs=logprobs), choice("so", finish_reason="length"), {"text": "raw", "index": 2}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 16},
    }
    first, second, third = read_answers(body, 3, "http://x")
    assert (first.text, first.tokens[0].logprob, first.finish) == ("yes", -0.5, Finish.STOP)
    assert (second.text, second.finish, second.tokens) == ("so", Finish.LENGTH, ())
    assert third.text == "raw"
    assert [c.tokens_in for c in (first, second, third)] == [50, 0, 0]
    assert [c.tokens_out for c in (first, second, third)] == [6, 4, 6]  # 3, 2 and 3 of 8 characters of 16 tokens


def test_a_choice_that_cannot_be_read_is_an_error_in_its_place():
    body = {"choices": [choice(None), choice("good"), choice(None, message={"tool_calls": [{}]}), None], "usage": {}}
    lost, good, tool, nothing = read_answers(body, 4, "http://x")
    assert isinstance(lost, Transient)
    assert isinstance(nothing, Transient)
    assert type(tool) is ModelError
    assert good == Completion("good")


def test_more_choices_than_asked_for_are_left_and_none_at_all_is_a_failure():
    assert len(read_answers({"choices": [choice()] * 5}, 3, "http://x")) == 3
    for body in ({"choices": []}, {}, [], {"error": {"message": "busy", "code": 503}}):
        with pytest.raises(Transient):
            read_answers(body, 3, "http://x")


@given(
    st.lists(st.text(max_size=9), min_size=1, max_size=8), st.none() | st.integers(0, 10_000), st.none() | st.integers(0, 99)
)
def test_tokens_of_all_choices_add_up_to_what_was_counted(texts, tokens_out, tokens_in):
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
    read = read_answers({"choices": [choice(t) for t in texts], "usage": usage}, len(texts), "http://x")
    assert [c.text for c in read] == texts
    if tokens_out is None:
        assert {c.tokens_out for c in read} == {None}
    else:
        assert sum(c.tokens_out for c in read) == tokens_out
        assert all(c.tokens_out >= 0 for c in read)
    assert [c.tokens_in for c in read] == [tokens_in] + [None if tokens_in is None else 0] * (len(texts) - 1)
