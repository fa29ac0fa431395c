"""What GitHub is given: commands that are one line each and ten at most, a summary in which names are text and nothing else."""

from __future__ import annotations

import re

import pytest
from gate_reports import HOSTILE, failed, hostile, one_of_each, passed, report, reports, skipped
from hypothesis import given, settings

from guardeval.gates.github import SUMMARY_LIMIT, annotations, step_summary

COMMAND = re.compile(r"::(error|warning|notice) title=([^:,\r\n]*)::([^\r\n]*)")


def read(line: str) -> tuple[str, str, str]:
    """Level, title and message as GitHub's runner reads them."""
    level, title, message = COMMAND.fullmatch(line).groups()
    for code, c in (("%3A", ":"), ("%2C", ",")):
        title = title.replace(code, c)
    for code, c in (("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        title, message = title.replace(code, c), message.replace(code, c)
    return level, title, message


def test_the_verdict_comes_first_then_what_failed_then_what_was_skipped():
    said = [read(line) for line in annotations(one_of_each())]
    assert [level for level, _, _ in said] == ["error"] * 4 + ["warning"]
    assert said[0][2].startswith("failed: 3 of 6 checks")
    assert [title for _, title, _ in said[1:4]] == [
        "guardeval: budget · out of family · macro_f1,strict", "guardeval: toxicchat · f1,strict",
        "guardeval: ceiling · wildguard · latency_p95",
    ]  # fmt: skip
    assert said[2][2] == failed().message
    assert said[4][2].startswith("1 not decided: wildguard · policy:self_harm · f1,strict (not tested: 3 known positives")


def test_a_pass_is_a_notice_and_a_gate_that_decided_nothing_an_error():
    assert [read(line)[0] for line in annotations(report(passed()))] == ["notice"]
    assert [read(line)[0] for line in annotations(report(skipped()))] == ["error", "warning"]


def test_of_many_failures_ten_lines_and_a_count():
    lines = annotations(report(*(failed(f"t{i}") for i in range(30)), skipped()))
    assert len(lines) == 10
    assert "22 of them are in the step summary and the table only" in read(lines[0])[2]


@settings(max_examples=50)
@given(reports)
def test_whatever_the_names_each_annotation_is_one_command(any_report):
    lines = annotations(any_report)
    assert 1 <= len(lines) <= 10
    for line in lines:
        assert COMMAND.fullmatch(line), line


def test_percent_signs_survive_and_cannot_become_line_breaks():
    (_, line) = annotations(report(failed(message="100%0Aworse: a,b", part="x:y,z%2C")))
    assert "100%250Aworse: a,b" in line
    assert read(line) == ("error", "guardeval: toxicchat · x:y,z%2C · f1,strict", "100%0Aworse: a,b")


# ---- the summary, read by a Markdown parser with GitHub's extensions ----


def tokens(text: str):
    markdown_it = pytest.importorskip("markdown_it")
    pytest.importorskip("linkify_it")
    found = markdown_it.MarkdownIt("gfm-like").parse(text)
    return [t for token in found for t in (token, *(token.children or ()))]


def table_rows(text: str) -> list[list[str]]:
    """Cells as a reader sees them."""
    rows: list[list[str]] = []
    for token in tokens(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("td_open", "th_open"):
            rows[-1].append("")
        elif token.type in ("text", "text_special", "code_inline") and rows and rows[-1]:
            rows[-1][-1] += token.content
        elif token.type == "table_close":
            rows.append([])
    return [row for row in rows if row]


def test_a_reader_sees_the_same_table_as_in_the_log():
    head, *rows = table_rows(step_summary(report(failed(), passed())))
    assert head == [
        "check", "status", "baseline", "current", "difference [95 %]", "p", "adjusted p", "allowed", "finds losses from", "n",
    ]  # fmt: skip
    assert rows[0] == [
        "toxicchat · f1,strict", "FAILED", "0.800", "0.700", "-0.100 [-0.130, -0.070]", "< 0.0001", "0.0001", "0.000 worse",
        "0.020", "1,725",
    ]  # fmt: skip
    assert rows[-1][:2] == ["wildguard · f1,strict", "passed"]


def only_our_markup(text: str, cells: int) -> None:
    """No link, image, code block or HTML but the few tags of the summary itself; every row has all its cells."""
    for token in tokens(text):
        assert token.type not in {"link_open", "image", "fence", "code_block", "s_open", "em_open", "code_inline"}, token
        if token.type in ("html_inline", "html_block"):
            left = re.sub(r"</?code>|</?details>|<summary>\d+ (other )?checks?</summary>", "", token.content)
            assert not re.search(r"<[a-z/!]", left), token.content
    assert all(len(row) == cells for row in table_rows(text))
    assert not re.search(r"[@#](?=[A-Za-z0-9])(?<!&#)", text)


def test_hostile_names_are_text_in_the_summary():
    text = step_summary(hostile())
    only_our_markup(text, 10)
    seen = " ".join(cell for row in table_rows(text) for cell in row)
    assert "<script>alert(1)</script>" in seen
    assert HOSTILE[4].replace("@", "@\u200b") in seen


@settings(max_examples=40)
@given(reports)
def test_no_name_becomes_markup(any_report):
    text = step_summary(any_report)
    for token in tokens(text):
        assert token.type not in {"link_open", "image", "fence", "code_block", "code_inline"}, token


def test_what_passed_is_folded_away():
    text = step_summary(one_of_each())
    before, after = text.split("<details><summary>3 other checks</summary>\n\n")
    assert "toxicchat" in before and "parse&#95;rate" not in before
    assert "parse&#95;rate" in after.split("</details>")[0]
    assert "note: contaminated" in after.replace("&#58;", ":").split("</details>")[1]


def test_a_summary_stays_within_githubs_limit_and_says_what_is_left_out():
    whole = report(*(failed(f"task-{i:05}", part="p" * 250) for i in range(3000)))
    text = step_summary(whole)
    assert len(text.encode()) <= SUMMARY_LIMIT < 2**20
    shown = len(re.findall(r"(?m)^\| <code>task|^- <code>task", text))
    assert 500 < shown < 6000
    assert f"{6000 - shown} rows and reasons did not fit in here" in text
    assert "did not fit" not in step_summary(one_of_each())


def test_many_notes_and_runs_are_counted():
    text = step_summary(report(passed(), notes=[f"note {i}" for i in range(60)], runs=[f"runs/{i}" for i in range(60)]))
    assert "> 40 more notes" in text
    assert text.rstrip().endswith("and 40 more")
