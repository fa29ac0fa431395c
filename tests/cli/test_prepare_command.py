"""``guardeval prepare`` and ``data leakage``: from files to files, and what is said where that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def trace(prompt: str, harmful: bool = False, **own: object) -> dict:
    return {
        "prompt": prompt,
        "reasoning": "Step 1: a",
        "classification": "harmful" if harmful else "unharmful",
        "guardeval": own,
    }


@pytest.fixture
def traces(desk) -> Path:
    return lines(desk / "traces.jsonl", [trace(f"w{i} x{i * 3} y{i * 5}", i % 2 == 0, licence="mit") for i in range(20)])


@pytest.fixture
def benchmark(desk) -> Path:
    return lines(desk / "test.jsonl", [{"prompt": "W3 x9 y15!", "label": "safe"}, {"prompt": "other words", "label": "safe"}])


def test_overlap_is_a_refusal_with_the_ways_on(cli, desk, traces, benchmark):
    said = cli("prepare", traces, "--only_against", "--against", f"wildguard={benchmark}", "-o", "out")
    assert said.code == 1
    assert "wildguard" in said.out and "1 of 20 rows repeat test sets (wildguard)" in said.err
    assert "--drop_overlap" in said.err and not (desk / "out").exists()


def test_files_are_written_by_share_and_what_was_not_checked_is_said(cli, desk, traces, benchmark):
    more = lines(desk / "more.jsonl", [trace(f"m{i} n{i * 3} o{i * 5}", kind="synthetic") for i in range(20)])
    words = ("--drop-overlap", "--only-against", "--against", f"wildguard={benchmark}", "--validation", "0.25")
    said = cli("prepare", traces, f"{more}=0.24", *words, "-o", "out")
    assert said.code == 0, said.err
    rows = json.loads((desk / "out" / "rsft_training_data.json").read_text())
    assert len(rows) == 25 and sum(r["guardeval"].get("kind") == "synthetic" for r in rows) == 6
    assert "24.0 %" in said.out and "76.0 %" in said.out
    assert "not checked, rows not at hand: advbench" in said.out and "left out by --only_against" in said.out
    summary = json.loads((desk / "out" / "prepare.json").read_text())
    assert "xstest" in {n["task"] for n in summary["overlap"]["not_checked"]}
    again = cli("prepare", traces, more, "--ratio", "0.76,0.24", *words, "-o", "again")
    assert again.code == 0
    assert (desk / "again" / "rsft_training_data.json").read_bytes() == (desk / "out" / "rsft_training_data.json").read_bytes()


def test_an_overlap_that_is_allowed_marks_rows(cli, desk, traces, benchmark):
    words = ("--allow_overlap", "--only_against", "--against", f"wildguard={benchmark}")
    said = cli("prepare", traces, *words, "-o", "out")
    assert said.code == 0
    rows = json.loads((desk / "out" / "rsft_training_data.json").read_text())
    assert [r["prompt"] for r in rows if "contaminated_with" in r["guardeval"]] == ["w3 x9 y15"]
    assert "contaminated with these" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["traces.jsonl=x"], "'x' is no share of the mix"),
        (["traces.jsonl=1.5"], "traces.jsonl=1.5: a share of the mix is wanted"),
        (["traces.jsonl", "--ratio", "0.5,0.5"], "2 shares for 1 files"),
        (["traces.jsonl=1", "--ratio", "1"], "say the same thing"),
        (["traces.jsonl", "--drop_overlap", "--allow_overlap"], "exclude each other"),
        (["traces.jsonl", "--validation", "half"], "--validation half: a share"),
        (["traces.jsonl", "--threshold", "much"], "--threshold much: a similarity"),
        (["traces.jsonl", "--ngram", "1"], "--ngram 1: a whole number from 2"),
        (["nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["test.jsonl"], "test.jsonl: row 1: neither a trace"),
        (["traces.jsonl", "--against", "wildgard=test.jsonl"], "did you mean 'wildguard'"),
        (["traces.jsonl", "--data_dir", "nowhere"], "--data_dir nowhere: is no folder"),
    ],
)
def test_wrong_words_are_one_paragraph(cli, desk, traces, benchmark, words, message):
    if "--data_dir" not in words:
        words = [*words, "--only_against"]
    said = cli("prepare", *words, "-o", "out")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert message in said.err
    assert not (desk / "out").exists()


def test_leakage_prints_both_directions_and_writes_ids(cli, desk, traces, benchmark):
    said = cli("data", "leakage", "--only_against", "--against", f"wildguard={benchmark}", "-o", "l.json", traces)
    assert said.code == 0, said.err
    found = json.loads((desk / "l.json").read_text())
    ids = {(o["rows_of"], o["partner_in"]): o["ids"] for o in found["overlaps"]}
    assert ids["traces.jsonl", "wildguard"] == {"exact": [], "normalised": ["3"], "ngram": ["3"], "near": ["3"]}
    assert ids["wildguard", "traces.jsonl"]["normalised"] == ["0"]
    assert "rows of" in said.out and "with a partner in" in said.out and "not checked" in said.out


def test_leakage_of_one_kind_among_files_of_one_name(cli, desk, traces):
    (desk / "b").mkdir()
    lines(desk / "b" / "traces.jsonl", [trace("w3 x9 y15")])
    said = cli("data", "leakage", "traces.jsonl", "b/traces.jsonl", "--only_against", "--kind", "exact", "-o", "l.md")
    assert said.code == 0, said.err
    assert "b/traces.jsonl" in said.out and "near" not in said.out
    assert "b/traces.jsonl" in (desk / "l.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["leakage"], "name files of rows"),
        (["leakage", "traces.jsonl"], "nothing to compare with"),
        (["leakage", "traces.jsonl", "test.jsonl", "--kind", "same"], "unknown kind of overlap 'same'"),
        (["leakage", "traces.jsonl", "test.jsonl", "-o", "x.txt"], ".json or .md is wanted"),
        (["leakage", "nothing"], "neither a file of rows, TASK=PATH, nor a task"),
        (["leek"], "unknown action 'leek'"),
        (["show"], "--task is wanted"),
        (["show", "traces.jsonl", "--task", "wildguard"], "unknown argument 'traces.jsonl'"),
    ],
)
def test_wrong_words_to_data(cli, traces, benchmark, words, message):
    said = cli("data", *words, "--only_against")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert message in said.err
