"""``guardeval mine`` at the command line."""

from __future__ import annotations

import json

import pytest


def test_hard_samples_are_a_file_of_data(cli, guard_run, desk):
    runs = [guard_run("--model", f"embedded/{m}") for m in ("word", "char", "nb")]
    done = cli("mine", *runs, "--top", "0.2", "-o", "hard.json")
    assert done.code == 0, done.err
    rows = json.loads((desk / "hard.json").read_bytes())
    assert f"{len(rows)} of " in done.out
    assert "embedded/word, embedded/char, embedded/nb" in done.out
    again = cli("run", "--task", "wildguard", "--data", "hard.json", "--no_cache", "--quiet", "-o", "hard_runs")
    assert again.code == 0, again.err
    compared = cli("compare", runs[1], *(desk / "hard_runs").iterdir())
    assert f"{len(rows)} shared samples" in compared.out


def test_a_review_of_the_label_audit_gives_a_rate(cli, desk):
    rows = [{"id": str(i), "a": 0.97, "b": 0.95, "gold": 0} for i in range(4)]
    (desk / "scores.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    marks = [{"sample": str(i), "mark": "wrong_label" if i else "agree", "reviewer": "x"} for i in range(3)]
    (desk / "marks.jsonl").write_text("".join(json.dumps(m) + "\n" for m in marks))
    done = cli("mine", "scores.jsonl", "--rule", "label_audit", "--reviews", "marks.jsonl", "-o", "audit.json")
    assert done.code == 0, done.err
    assert "0.667 [0.208, 0.939] n=3" in done.out
    assert "only reviewed rows say" in done.out


def test_samples_that_nobody_disagrees_about_are_no_silent_part_of_the_hard_ones(cli, desk):
    (desk / "scores.csv").write_text("id,a,b\nx,0.9,0.1\ny,0.7,0.7\nz,0.2,0.2\n")
    assert "some kept samples score 0" in cli("mine", "scores.csv", "--n", "2", "-o", "hard.json").out
    assert "score 0" not in cli("mine", "scores.csv", "--n", "1", "-o", "hard.json").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--top", "many"), "--top many: a number is wanted"),
        (("--n", "0"), "a whole number from 1"),
        (("--rule", "label-audit"), "did you mean 'label_audit'"),
        (("--tops", "1"), "did you mean '--top'"),
    ],
)
def test_wrong_use_is_a_paragraph(cli, desk, words, message):
    (desk / "scores.jsonl").write_text('{"id": "1", "a": 0.5, "b": 0.5}\n')
    done = cli("mine", "scores.jsonl", "-o", "hard.json", *words)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_folder_that_is_no_run_names_those_that_are(cli, guard_run, desk):
    run = guard_run()
    done = cli("mine", run.parent / "nothing", "-o", "hard.json")
    assert done.code == 2
    assert run.name in done.err
