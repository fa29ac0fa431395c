"""What a person reads: failures first, whole numbers, what a pass cannot exclude, in one sentence at the end."""

from __future__ import annotations

import math
import re

import pytest
from gate_reports import budget, ceiling, failed, floor, hostile, one_of_each, passed, report, reports, skipped
from hypothesis import given, settings

from guardeval.gates.text import failure_text, render
from guardeval.gates.verdict import verdict


@pytest.fixture(autouse=True)
def _no_width(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)


def row(text: str, name: str) -> list[str]:
    """The cells of the check's line."""
    (line,) = [li for li in text.split("\n") if li.startswith(f"  {name}  ")]
    return re.split(r" {2,}", line.strip())


def test_a_line_holds_all_numbers_of_its_check():
    text = render(one_of_each(), plain=True)
    assert row(text, "toxicchat · f1,strict") == [
        "toxicchat · f1,strict", "FAILED", "0.800", "0.700", "-0.100 [-0.130, -0.070]", "< 0.0001", "0.0001", "0.000 worse",
        "0.020", "1,725",
    ]  # fmt: skip
    assert row(text, "floor · wildguard · parse_rate")[1:] == ["passed", "1.000", "0.990", "≥ 0.950", "1,725"]
    assert row(text, "ceiling · wildguard · latency_p95")[1:] == ["FAILED", "1.000 s", "1.500 s", "≤ 1.200 s"]
    assert row(text, "wildguard · policy:self_harm · f1,strict")[1:] == ["skipped", "n/a", "0.000 worse", "9"]


def test_failed_checks_stand_first_and_the_verdict_last():
    lines = [li for li in render(one_of_each(), plain=True).split("\n") if li]
    marks = [m[0] for li in lines if (m := re.search(r"FAILED|  skipped  |  passed  ", li))]
    assert [m.strip() for m in marks] == ["FAILED"] * 3 + ["passed"] * 2 + ["skipped"]
    assert lines[-1] == (
        "failed: 3 of 6 checks: budget · out of family · macro_f1,strict, toxicchat · f1,strict, "
        "ceiling · wildguard · latency_p95; 1 skipped"
    )
    assert "note: contaminated: toxicchat" in lines


def test_reasons_are_told_for_what_failed_and_what_was_skipped():
    text = render(one_of_each(), plain=True)
    assert f"  failed: toxicchat · f1,strict: {failed().message}\n" in text
    assert f"  skipped: wildguard · policy:self_harm · f1,strict: {skipped().message}\n" in text
    assert passed().message not in text


def test_a_reason_that_many_were_skipped_for_is_told_once():
    text = render(report(passed(), skipped(), skipped("xstest")), plain=True)
    names = "wildguard · policy:self_harm · f1,strict, xstest · policy:self_harm · f1,strict"
    assert f"  skipped: {names}: {skipped().message}\n" in text


def test_a_pass_says_what_it_cannot_exclude():
    said = verdict(report(passed(detectable=0.012), passed("xstest", detectable=0.14), floor(), skipped()))
    assert said == (
        "passed: 3 checks, none lost more than allowed; 1 skipped; the smallest losses these could see are 0.012 "
        "(wildguard · f1,strict) to 0.140 (xstest · f1,strict), each 4 times in 5; smaller ones may have gone unseen"
    )
    assert "a loss below 0.020 may have gone unseen (wildguard · f1,strict)" in verdict(report(passed()))


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_a_pass_that_could_see_nothing_says_so(nothing):
    said = verdict(report(passed(detectable=nothing), passed("xstest")))
    assert "no loss is sure to be seen in wildguard · f1,strict" in said
    assert "n/a" in row(render(report(passed(detectable=nothing), passed("xstest")), plain=True), "wildguard · f1,strict")


def test_a_pass_of_floors_alone_does_not_claim_a_comparison():
    assert verdict(report(floor())).endswith("no comparison with the baseline's verdicts")


def test_nothing_decided_is_no_pass():
    assert verdict(report(skipped())) == "undecided: 1 check, all skipped"
    assert verdict(report()) == "undecided: there was nothing to check"


def test_many_failures_are_counted_in_the_sentence_and_listed_in_the_table():
    many = report(*(failed(f"task{i}") for i in range(12)), budget())
    assert verdict(many).endswith("task1 · f1,strict and 10 more")
    assert render(many, plain=True).count("FAILED") == 13


def test_the_text_of_a_failure_leaves_out_what_passed():
    text = failure_text(one_of_each())
    assert text.startswith("failed: 3 of 6 checks")
    assert "floor · wildguard · parse_rate" not in text
    assert row(text, "toxicchat · f1,strict")[1] == "FAILED"


def test_a_narrow_terminal_moves_columns_and_tears_no_number(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = render(one_of_each())
    assert max(map(len, text.split("\n"))) <= 60
    for number in ("-0.100 [-0.130, -0.070]", "1.200 s", "0.000 worse"):
        assert number in text


def test_costs_have_their_digits():
    text = render(report(ceiling(), passed(metric="cost_per_1000", accounting="", baseline=0.00123, unit="USD")), plain=True)
    assert "0.0012 USD" in text


@settings(max_examples=40)
@given(reports)
def test_no_report_steers_a_terminal_or_a_ci_runner(any_report):
    for text in (render(any_report, plain=True), failure_text(any_report)):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", text)
        assert not re.search(r"(?m)^\s*::|##\[", text)


def test_a_name_that_looks_like_a_workflow_command_is_still_readable():
    text = render(hostile(), plain=True)
    assert re.search(r"(?m)^ +: :error title=x::pwned", text)
