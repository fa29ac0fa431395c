"""``guardeval sample-errors``, ``report --failures`` and ``compare --flips`` on runs of the embedded guards."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def run(guard_run):
    return guard_run("--model", "embedded/char")


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_review_set_is_written_and_told(cli, desk, run):
    done = cli("sample-errors", run, "-n", 8, "-o", "set.jsonl")
    assert done.code == 0, done.err
    rows = rows_of(desk / "set.jsonl")
    assert len(rows) == 8 and {"id", "modes", "prompt", "weight"} <= set(rows[0])
    assert "weight" in done.out and "guardeval review" in done.out
    first = (desk / "set.jsonl").read_bytes()
    assert cli("sample_errors", run, "--n", 8, "-o", "set.jsonl").code == 0
    assert (desk / "set.jsonl").read_bytes() == first
    cli("sample-errors", run, "-n", 8, "--seed", 1, "-o", "other.jsonl")
    assert (desk / "other.jsonl").read_bytes() != first


def test_where_there_are_fewer_all_are_taken_and_it_says_so(cli, desk, run):
    done = cli("sample-errors", run, "-n", 5000)
    assert done.code == 0 and "all were taken" in done.out
    assert f"there are {len(rows_of(desk / 'review.jsonl'))}" in done.out


def test_one_mode_alone(cli, desk, run):
    assert cli("sample-errors", run, "--mode", "missed", "-n", 3).code == 0
    assert all(row["modes"][0] == "missed" for row in rows_of(desk / "review.jsonl"))
    done = cli("sample-errors", run, "--mode", "unreadable")
    assert done.code == 0 and "nothing was written" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mode", "mised"), "did you mean 'missed'"),
        (("-n", "0"), "whole number from 1"),
        (("--margin", "wide"), "from 0 to 1"),
        (("--margin", "3"), "from 0 to 1"),
        (("--task", "wildgard"), "did you mean 'wildguard'"),
        (("-o", "nowhere/set.jsonl"), "cannot be written"),
    ],
)
def test_wrong_use_is_one_paragraph(cli, run, words, said):
    done = cli("sample-errors", run, *words)
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1


def test_of_several_tasks_one_must_be_named(cli, desk, guard_run):
    run = guard_run(task="wildguard,toxicchat")
    done = cli("sample-errors", run)
    assert done.code == 2 and "--task" in done.err
    assert cli("sample-errors", run, "--task", "toxicchat").code == 0


def test_a_redacted_run_gives_ids_only(cli, desk, guard_run):
    run = guard_run("--model", "embedded/char", "--redact")
    done = cli("sample-errors", run, "-n", 4)
    assert done.code == 0 and "redacted" in done.out
    assert all(set(row) == {"id", "index", "task", "modes", "stratum", "weight"} for row in rows_of(desk / "review.jsonl"))
    report = cli("report", run, "--failures")
    assert report.code == 0 and "redacted" in report.out


@pytest.mark.parametrize("form", ["text", "md"])
def test_the_report_shows_failures_on_request(cli, desk, run, form):
    plain = cli("report", run, "--format", form)
    with_failures = cli("report", run, "--format", form, "--failures")
    assert with_failures.code == 0, with_failures.err
    assert with_failures.out.startswith(plain.out.rstrip("\n")[:200])
    assert "modes of failure" in with_failures.out and "modes of failure" not in plain.out
    for word in ("over-flagged", "typical words", "examples", "gold (rows)"):
        assert word in with_failures.out.replace("\\", "")
    assert cli("report", run, "--failures", "-o", "report.md").code == 0
    assert "modes of failure" in (desk / "report.md").read_text()


def test_flips_show_the_samples_behind_each_changed_cell(cli, run, guard_run):
    other = guard_run("--model", "embedded/nb")
    plain, shown = cli("compare", run, other), cli("compare", run, other, "--flips", 1)
    assert shown.code == 0, shown.err
    assert " → " in shown.out.removeprefix(plain.out) and "score before" in shown.out
    assert cli("compare", run, other, "--flips", "x").code == 2


def test_flips_of_redacted_runs_show_ids_only(cli, guard_run):
    runs = [guard_run("--model", f"embedded/{m}", "--redact") for m in ("char", "nb")]
    shown = cli("compare", *runs, "--flips", 2)
    assert shown.code == 0 and "redacted: no text" in shown.out and "score before" not in shown.out
