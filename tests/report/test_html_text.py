"""Text that may come from anywhere, as a page shows it."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.report.html.visible import script_json, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b\x1b[31m", "a␀b␛[31m"),
        ("safe\u202etxt.exe", "safe⟦U+202E⟧txt.exe"),
        ("zero\u200bwidth", "zero⟦U+200B⟧width"),
        ("hi\U000e0041", "hi⟦U+E0041⟧"),
        ("one\r\ntwo\u2028three", "one\ntwo\nthree"),
        ("tab\tstays\nand lines", "tab\tstays\nand lines"),
        ("\ud800", "\N{REPLACEMENT CHARACTER}"),
        ("שלום, 漢字, 👩\u200d🔬", "שלום, 漢字, 👩\u200d🔬"),  # scripts and joined emoji are as they are
    ],
)
def test_characters_that_act_are_shown_instead(text, shown):
    assert visible(text) == shown


def test_a_long_text_says_how_much_is_left_out():
    assert visible("x" * 1500, 500) == "x" * 500 + " … [1,000 more characters]"
    assert visible("x" * 500, 500) == "x" * 500


@given(st.text())
def test_what_is_shown_has_nothing_that_turns_or_hides_text(text):
    shown = visible(text)
    assert not any(ord(c) < 0x20 and c not in "\t\n" for c in shown)
    assert not any(c in shown for c in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200b\ufeff")
    assert visible(shown) == shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_in_a_script_reads_back_and_ends_no_element(text):
    held = script_json(orjson.dumps([text, "</script><!--\u2028"]))
    assert not set("<>&\u2028\u2029") & set(held)
    assert json.loads(held)[0] == text
