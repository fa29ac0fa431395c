"""An answer as it is written, token by token; tokens here are bytes, so that characters come in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from guardeval.causal.answer import Answer, closes
from guardeval.contracts import Completion, Finish, Prompt, Request, Sampling
from guardeval.testing import a_case

END = 256


class Bytes:
    """A byte is a token."""

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")

    def piece(self, token: int) -> str:
        return self.decode([token])


def say(tokens: Sequence[int], sampling: Sampling, steps: Sequence[str] = (), thinking: bool = False) -> Completion:
    request = Request(Prompt.raw("hello"), a_case(), sampling, steps=tuple(steps))
    budget = sampling.max_tokens
    answer = Answer(request, Bytes(), ends=frozenset({END}), tokens_in=5, budget=budget, thinking=thinking)
    for token in tokens:
        answer.add(token, -0.5, [(token, -0.5)]) if sampling.top_logprobs else answer.add(token)
        if answer.done:
            break
    return answer.completion()


@given(text=st.text(st.characters(exclude_categories=["Cs"])), stop=st.text(min_size=1, max_size=3))
def test_text_ends_before_the_first_stop_string_and_its_tokens_spell_it(text: str, stop: str) -> None:
    said = say([*text.encode(errors="replace"), END], Sampling(max_tokens=10_000, stop=(stop,), top_logprobs=1))
    assert said.text == text.partition(stop)[0]
    assert "".join(t.text for t in said.tokens) == said.text
    assert said.finish is Finish.STOP


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), limit=st.integers(1, 20))
def test_text_cut_within_a_character_is_still_spelt_by_its_tokens(text: str, limit: int) -> None:
    tokens = list(text.encode())
    said = say(tokens[:limit], Sampling(max_tokens=limit, top_logprobs=1))
    assert said.text == bytes(tokens[:limit]).decode(errors="replace")
    assert "".join(t.text for t in said.tokens) == said.text
    assert said.tokens_out == min(limit, len(tokens))


@given(raw=st.binary(max_size=40))
def test_bytes_that_form_no_text_never_break_an_answer(raw: bytes) -> None:
    said = say([*raw, END], Sampling(stop=("zz",), top_logprobs=1), steps=("Decision",))
    assert said.text == raw.decode(errors="replace").partition("zz")[0]


@given(before=st.text(st.sampled_from("ab \n:")), cut=st.integers(0, 60))
def test_a_block_closes_an_answer_when_its_last_line_ends_and_not_before(before: str, cut: int) -> None:
    text = before + "\nDecision: harmful\nPolicies: illegal, violence\n"
    request = Request(Prompt.raw("hello"), a_case(), Sampling(), steps=("Decision",))
    assert closes(text, request)
    assert not closes(text[: len(text) - 1 - cut], request)
    assert not closes(f"<think>{text}", request)
    assert not closes(text, request, opened=True)
    assert not closes(text + "One more line\n", request)


def test_without_steps_a_block_is_text_like_any_other() -> None:
    text = "Decision: harmful\nPolicies: none\nmore"
    assert say([*text.encode(), END], Sampling()).text == text
    assert say([*text.encode(), END], Sampling(), steps=("Decision",)).text == text.removesuffix("more")


def test_thinking_without_an_end_leaves_no_text() -> None:
    said = say([*b"so far", END], Sampling(), thinking=True)
    assert (said.thinking, said.text) == ("so far", "")
