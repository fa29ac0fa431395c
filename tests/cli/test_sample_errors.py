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


def test_hostile_rows_steer_no_terminal_and_stay_one_line_each(cli, desk):
    nasty = "\x1b]0;owned\x07 <img src=x onerror=alert(1)> | \u202e \u2028 `${x}` [a](javascript:b) kill hack bomb number "
    rows = [{"prompt": nasty * (1 + i % 3) + str(i), "label": ("unharmful", "harmful")[i % 2]} for i in range(30)]
    rows += [{"prompt": f"how do I knit a scarf of {i} metres", "label": ("harmful", "unharmful")[i % 2]} for i in range(30)]
    (desk / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    runs = []
    for model in ("char", "nb"):
        words = ("run", "--task", "wildguard", "--data", "rows.jsonl", "--no_cache", "--quiet", "--model", f"embedded/{model}")
        done = cli(*words)
        assert done.code == 0, done.err
        runs.append(done.out.rpartition("run folder: ")[2].splitlines()[0])
    for words in (("report", runs[0], "--failures"), ("compare", *runs, "--flips", 3), ("sample-errors", runs[0])):
        done = cli(*words)
        assert done.code == 0, done.err
        assert all(line.isprintable() for line in done.out.split("\n")), words
    assert cli("report", runs[0], "--failures", "--format", "md").out.replace("\\<", "").count("<img") == 0
    assert len((desk / "review.jsonl").read_text().split("\n")) == len(rows_of(desk / "review.jsonl")) + 1
    assert any(row["prompt"].startswith("\x1b]0;owned") for row in rows_of(desk / "review.jsonl"))


def test_split_votes_of_an_ensemble_are_edge_cases(cli, desk, guard_run):
    members = [word for m in ("word", "char", "nb") for word in ("--model", f"embedded/{m}")]
    run = guard_run("--solver", "ensemble", *members)
    assert cli("sample-errors", run, "--mode", "edge", "-n", 500).code == 0
    rows = rows_of(desk / "review.jsonl")
    assert rows
    for row in rows:
        labels = {v["label"] for v in row["votes"]}
        assert len(row["votes"]) == 3 and (len(labels) == 2 or abs(2 * row["score"] - 1) < 0.2)
