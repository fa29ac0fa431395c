"""Reading what a generator wrote: many shapes of lists, never prose."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.contracts import Completion, Finish
from guardeval.synthesis.answers import LONGEST, SHORTEST, read_requests

A, B = "How is bread baked?", "Where do swallows go in winter?"


@pytest.mark.parametrize(
    "text",
    [
        f'{{"request": "{A}"}}\n{{"request": "{B}"}}',
        f'```json\n{{"request": "{A}"}}\n{{"request": "{B}"}}\n```',
        f'[{{"request": "{A}"}}, {{"request": "{B}"}}]',
        f'["{A}", "{B}"]',
        f'{{"requests": ["{A}", "{B}"]}}',
        f'{{"examples": [{{"text": "{A}"}}, {{"Prompt": "{B}"}}]}}',
        f'Here they are:\n{{"request": "{A}"}}, \n{{"request": "{B}"}}\nI hope this helps.',
        f"1. {A}\n2. {B}",
        f"1) {A}\n\n2) {B}\n\nLet me know if you want more.",
        f'Sure!\n\n- "{A}"\n- “{B}”',
        f"**1.** {A}\n**2.** {B}",
        f'<think>\n1. not this one\n</think>\n{{"request": "{A}"}}\n{{"request": "{B}"}}',
    ],
)
def test_two_requests_in_many_shapes(text):
    assert read_requests(Completion(text), 2) == ((A, B), ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("I'm sorry, but I can’t help with that.", "refused"),
        ("I cannot write these.", "refused"),
        ("", "empty answer"),
        ("   \n", "empty answer"),
        ("Bread is baked in an oven. Swallows go south.", "unreadable answer"),
        ('{"answer": "Bread is baked in an oven"}', "unreadable answer"),
        ("<think> on and on", "cut off in its reasoning"),
        ('{"request": null}', "declined"),
        ('{"request": 7}', "no text"),
        ('{"request": "short"}', "too short"),
        (json.dumps({"request": "x" * (LONGEST + 1)}), "too long"),
        ('{"request": "I cannot write a request like that."}', "refused"),
    ],
)
def test_what_is_no_request_says_why(text, problem):
    assert read_requests(Completion(text), 2) == ((), (problem,))


def test_of_an_answer_that_was_cut_off_the_last_request_is_left_out():
    assert read_requests(Completion(f'{{"request": "{A}"}}\n{{"request": "Where do sw', Finish.LENGTH), 2).requests == (A,)
    assert read_requests(Completion(f"1. {A}\n2. Where do sw", Finish.LENGTH), 2).requests == (A,)
    assert read_requests(Completion('{"request": "Where do', Finish.LENGTH), 2) == ((), ("cut off",))


def test_what_the_provider_withheld_is_no_request():
    assert read_requests(Completion(f"1. {A}", Finish.FILTERED), 2) == ((), ("withheld by the provider",))


def test_more_than_asked_for_is_cut():
    assert read_requests(Completion(json.dumps([A, B])), 1).requests == (A,)


@given(st.text(max_size=400), st.sampled_from(Finish), st.integers(1, 5))
def test_any_answer_is_read(text, finish, each):
    found = read_requests(Completion(text, finish), each)
    assert len(found.requests) <= each
    assert found.requests or found.problems
    assert all(SHORTEST <= len(t) <= LONGEST for t in found.requests)
    if not any(c in text for c in "{[.):-*•"):
        assert not found.requests


@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=20, max_size=60), min_size=1, max_size=5
    )
)
def test_json_lines_come_back_as_they_are(texts):
    lines = "\n".join(json.dumps({"request": t}, ensure_ascii=False) for t in texts)
    assert read_requests(Completion(lines), 5).requests == tuple(t.strip() for t in texts)
