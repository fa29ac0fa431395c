from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.broker.answers import Settled, pack, unpack
from guardeval.contracts import Completion, Finish, Judgement, Token

texts = st.text(st.characters(exclude_categories=()), max_size=20)
probabilities = st.floats(0, 1)
logprobs = st.floats(-1e4, 0) | st.just(-math.inf)
tokens = st.builds(Token, texts, logprobs, st.lists(st.tuples(texts, logprobs), max_size=3).map(tuple))
judgements = st.builds(
    Judgement, probabilities, st.frozensets(texts), st.none() | st.booleans(), st.lists(texts, max_size=2).map(tuple)
)
completions = st.builds(
    Completion,
    text=texts,
    finish=st.sampled_from(Finish),
    thinking=st.none() | texts,
    tokens=st.lists(tokens, max_size=4).map(tuple),
    tokens_in=st.none() | st.integers(0, 10**6),
    tokens_out=st.none() | st.integers(0, 10**6),
    judgement=st.none() | judgements,
)
costs = st.none() | st.floats(0, 100)


@given(completions, st.floats(0, 1e4), costs)
def test_an_answer_comes_out_of_the_cache_as_it_went_in(completion, latency, cost):
    settled = Settled(completion, latency, cost)
    assert unpack(pack(settled)) == settled


@given(completions)
def test_a_long_answer_is_kept_small_and_whole(completion):
    long = Completion(completion.text + "policy " * 2000, tokens=completion.tokens)
    assert len(pack(Settled(long, 1.0, None))) < 2000
    assert unpack(pack(Settled(long, 1.0, None))).completion == long


@pytest.mark.parametrize("data", [b"", b"[", b"x\x9c", b"[1,2]", b'{"text":"x"}', b"\x00" * 40])
def test_bytes_that_are_no_answer_are_refused(data):
    with pytest.raises((ValueError, KeyError, TypeError)):
        unpack(data)


def test_a_time_that_was_not_measured_stays_unknown():
    assert math.isnan(unpack(pack(Settled(Completion("yes"), math.nan, 0.5))).latency)
