"""``guardeval review``: summary, export, what reports show of it, wrong use."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from review_support import review_by_three, session_on, six_samples

from guardeval.cli import main
from guardeval.review import review_summary
from guardeval.review.marks import Field


@pytest.fixture
def run_folder(tmp_path) -> Path:
    return six_samples(tmp_path / "made")


@pytest.fixture
def reviewed(run_folder) -> Path:
    return review_by_three(run_folder)


def test_without_reviews_there_is_no_summary(run_folder, cli):
    assert review_summary(run_folder) is None
    assert not list(run_folder.glob("*.sqlite"))
    assert cli("review", run_folder, "--summary").code == 2
    with session_on(run_folder):
        pass
    assert review_summary(run_folder) is None
    assert "holds no mark" in cli("review", run_folder, "--export", "x.jsonl").err


def test_the_export_has_a_line_a_sample_and_reviewer(reviewed, cli, desk):
    assert cli("review", reviewed, "--export", "reviews.jsonl").code == 0
    rows = [json.loads(line) for line in (desk / "reviews.jsonl").read_text().splitlines()]
    assert len({(r["sample"], r["reviewer"]) for r in rows}) == len(rows) == 14
    first = next(r for r in rows if (r["sample"], r["reviewer"]) == ("0", "ann"))
    assert {k: v for k, v in first.items() if k not in ("time", "shown")} == {
        "run": reviewed.name, "task": "wildguard", "sample": "0", "reviewer": "ann", "mark": "agree", "label": None,
        "category": "edge case", "coherent": "yes", "comment": "=1+1", "blind": False, "members": {"two/middle": "no"},
    }  # fmt: skip
    assert first["time"].endswith("Z")


def test_the_command_prints_shares_and_kappas(reviewed, cli):
    out = cli("review", reviewed, "--summary").out
    for part in ("reasoning is coherent", "0.667 [0.208, 0.939] n=3", "Fleiss", "n/a n=1", "gold label called wrong: 1, 3"):
        assert part in out
    assert "not for the run" in out


def test_reports_show_the_review(cli, guard_run):
    run = guard_run("--limit", 12)
    assert "reasoning is coherent" not in cli("report", run).out
    with session_on(run) as session:
        session.mark(0, Field.COHERENT, "yes")
    for form in ("text", "md"):
        out = cli("report", run, "--format", form).out
        assert "review (wildguard)" in out and "1.000 [0.207, 1.000] n=1" in out
        assert "not for the run" not in out  # a drawn set


# ---- the command ----


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--n", "0"], "whole number from 1"),
        (["--n", "99999"], "at most 10000"),
        (["--task", "wildgard"], "did you mean 'wildguard'"),
        (["--samples", "nope"], "no sample 'nope'"),
        (["--samples", "nope.jsonl"], "is no file"),
        (["--samples", "0", "--n", "3"], "one or the other"),
        (["--reviewer", "a\x1bb"], "printable"),
        (["--port", "70000"], "--port 70000: cannot be used"),
        (["--db", "no/such/x.sqlite"], "there is no folder"),
        (["--blnd"], "did you mean '--blind'"),
    ],
)
def test_wrong_use_is_one_paragraph(run_folder, cli, words, said):
    done = cli("review", run_folder, *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err


def test_a_taken_port_is_an_error_that_says_so(run_folder, cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli("review", run_folder, "--port", taken.getsockname()[1])
    assert (done.code, "is taken by another program" in done.err) == (2, True)


def test_a_database_of_another_run_is_refused_by_every_way_in(run_folder, reviewed, guard_run, cli):
    other = guard_run("--limit", 4)
    for words in ([], ["--summary"], ["--export", "x.jsonl"]):
        done = cli("review", other, "--db", reviewed / "reviews.sqlite", *words)
        assert (done.code, "holds reviews of run" in done.err) == (2, True)
    (other / "reviews.sqlite").write_bytes((reviewed / "reviews.sqlite").read_bytes())
    assert cli("report", other).code == 2


def test_a_redacted_run_has_nothing_to_review(guard_run, cli):
    done = cli("review", guard_run("--limit", 4, "--redact"))
    assert (done.code, "redacted" in done.err) == (2, True)


def test_help_is_there(capsys):
    assert main(["review", "--help"]) == 0
    assert "--blind" in capsys.readouterr().out
