"""A label audit, a review of it, the audit again: with real runs, the real store and the real command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from review_support import session_on

from guardeval.review.marks import Field
from guardeval.stats import rate

AUDIT = ("--rule", "label_audit", "--confidence", "0", "-o", "audit.jsonl")


@pytest.fixture
def runs(guard_run):
    return [guard_run("--model", f"embedded/{m}") for m in ("word", "char")]


@pytest.fixture
def audit(cli, runs, desk):
    done = cli("mine", *runs, *AUDIT)
    assert done.code == 0, done.err
    assert "reviewed" not in done.out.replace("only reviewed rows say", "")
    return desk / "audit.jsonl"


def listed(path):
    return [json.loads(line)["guardeval"] for line in path.read_bytes().splitlines()]


def greeting(*words) -> str:
    """What ``guardeval review`` says until its page is up; it is stopped as a person does."""
    command = [sys.executable, "-m", "guardeval", "review", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout and process.stderr
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Ctrl-C"):
                with contextlib.suppress(HTTPError):  # an answer without a cookie is an answer: the page is up
                    urlopen(said.partition("review page: ")[2].splitlines()[0], timeout=30).close()
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, process.stderr.read()
    return said


def test_reviews_in_the_run_folders_are_used_and_rows_are_marked(cli, runs, audit):
    ids = [own["id"] for own in listed(audit)]
    assert len(ids) >= 4 and not any("reviewed" in own for own in listed(audit))
    for run, reviewer, marks in (
        (runs[0], "ann", ("wrong_label", "agree", "agree")),
        (runs[1], "bob", ("wrong_label", "wrong_label")),  # of the second sample the two say as much for as against
    ):
        with session_on(run, reviewer, str(audit)) as session:
            assert [j.sample.id for j in session.samples.samples] == ids
            for position, mark in enumerate(marks):
                session.mark(position, Field.MARK, mark)
    done = cli("mine", *runs, *AUDIT)
    assert all(str(run / "reviews.sqlite") in done.out for run in runs)
    assert f"3 of {len(ids)}" in done.out
    wilson = rate(1, 2)
    assert f"0.500 [{wilson.low:.3f}, {wilson.high:.3f}] n=2" in done.out
    assert [own.get("reviewed") for own in listed(audit)] == ["wrong_label", "tie", "agree"] + [None] * (len(ids) - 3)
    with session_on(runs[0], "ann", str(audit)) as session:
        assert session.progress()[:4] == [True, True, True, False]


def test_a_later_mark_of_one_reviewer_counts_in_whichever_run_it_was_made(cli, runs, audit):
    for run, mark in ((runs[1], "agree"), (runs[0], "wrong_label")):
        with session_on(run, "ann", str(audit)) as session:
            session.mark(0, Field.MARK, mark)
    cli("mine", *runs, *AUDIT)
    assert listed(audit)[0]["reviewed"] == "wrong_label"


def test_marks_that_are_named_stand_in_place_of_those_found(cli, runs, audit, desk):
    with session_on(runs[0], "ann", str(audit)) as session:
        session.mark(0, Field.MARK, "agree")
    (desk / "marks.jsonl").write_text(json.dumps({"sample": listed(audit)[1]["id"], "mark": "wrong_label"}) + "\n")
    done = cli("mine", *runs, *AUDIT, "--reviews", "marks.jsonl")
    assert "reviews.sqlite" not in done.out and "1 of " in done.out
    assert [own.get("reviewed") for own in listed(audit)][:2] == [None, "wrong_label"]


def test_review_takes_mined_rows_of_several_runs_and_skips_what_is_reviewed(cli, runs, audit):
    n = len(listed(audit))
    assert f"{n} samples ({n} named" in greeting(runs[1], "--samples", audit, "--reviewer", "ann")
    with session_on(runs[1], "ann", str(audit)) as session:
        session.mark(0, Field.MARK, "agree")
    cli("mine", *runs, *AUDIT)
    assert f"{n - 1} samples" in greeting(runs[1], "--samples", audit, "--skip_reviewed")
    with session_on(runs[1], "ann", str(audit)) as session:
        for position in range(n):
            session.mark(position, Field.MARK, "agree")
    cli("mine", *runs, *AUDIT)
    done = cli("review", runs[1], "--samples", audit, "--skip_reviewed")
    assert (done.code, f"all {n} rows are reviewed already" in done.err) == (2, True)


def test_review_takes_what_sample_errors_writes(cli, runs, desk):
    done = cli("sample-errors", runs[0], "-n", "5", "-o", "errors.jsonl")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in (desk / "errors.jsonl").read_bytes().splitlines()]
    assert f"{len(rows)} samples ({len(rows)} named" in greeting(runs[0], "--samples", "errors.jsonl")
    with session_on(runs[0], "ann", "errors.jsonl") as session:
        assert [j.sample.id for j in session.samples.samples] == [row["id"] for row in rows]


def test_rows_of_another_task_or_of_other_data_are_refused(cli, runs, audit, guard_run, desk):
    other = guard_run("--model", "embedded/word", task="toxicchat")
    done = cli("review", other, "--samples", audit)
    assert (done.code, "mined from task 'wildguard', not from 'toxicchat'" in done.err) == (2, True)
    cli("sample-errors", other, "-n", "2", "-o", "errors.jsonl")
    done = cli("review", runs[0], "--samples", "errors.jsonl")
    assert (done.code, "is of task 'toxicchat'" in done.err) == (2, True)
    rows = [json.loads(line) for line in audit.read_bytes().splitlines()]
    rows[1]["guardeval"]["source"] = "file sha256 " + "0" * 64
    audit.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = cli("review", runs[0], "--samples", audit)
    assert (done.code, "row 2 was mined from other data" in done.err) == (2, True)


def test_skipping_is_about_named_rows(cli, runs):
    done = cli("review", runs[0], "--skip_reviewed")
    assert (done.code, "name their file with --samples" in done.err) == (2, True)
