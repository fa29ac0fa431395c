"""``guardeval bench`` as it is typed."""

from __future__ import annotations

import json

import pytest

from guardeval.testing.faults import Faults, FaultServer

QUICK = ("--n", "6", "--rounds", "2", "--concurrency", "1,3", "--lengths", "64", "--batch", "1,2", "--warmup", "1")
SAYS = "Intent: plain.\nDecision: harmful\nPolicies: illegal"


def test_tables_files_and_picture(cli, desk):
    pytest.importorskip("matplotlib")
    done = cli("bench", "--model", "embedded/word", "--model", "embedded/nb", *QUICK, "-o", "out")
    assert done.code == 0, done.err
    for title in ("under 100 ms a query", "latency by length", "throughput by batch size", "ratios to embedded/word", "memory"):
        assert title in done.out
    assert "round 2 of 2: embedded/word" in done.err
    assert "not the benchmark" in done.out  # the sample rows are told as such
    written = json.loads((desk / "out" / "bench.json").read_bytes())
    assert [m["name"] for m in written["models"]] == ["embedded/word", "embedded/nb"]
    assert written["settings"]["n"] == 6
    assert written["status"] == "complete"
    text = (desk / "out" / "bench.md").read_text()
    assert "| embedded/nb |" in text
    assert "![latency and throughput](bench.svg)" in text
    assert (desk / "out" / "bench.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(("form", "begins"), [("json", "{"), ("md", ">")])
def test_other_formats_print_nothing_else(cli, form, begins):
    done = cli("bench", *QUICK, "--format", form)
    assert done.code == 0, done.err
    assert done.out.startswith(begins)
    if form == "json":
        assert json.loads(done.out)["models"][0]["name"] == "embedded/word"


def test_queries_that_were_never_heard_set_the_exit_code(cli):
    with FaultServer(SAYS, Faults(http_500=0.5)) as server:
        done = cli("bench", "--model", "openai_compatible/scripted", "-M", f"base_url={server.url}", *QUICK)
    assert done.code == 3, done.err
    assert "never heard" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "xml"), "unknown format 'xml'"),
        (("--concurrency", "1,x"), "--concurrency x: a whole number"),
        (("--batch", "0"), "--batch 0"),
        (("--limit-ms", "soon"), "--limit_ms soon: a number is wanted"),
        (("--accuracy_floor", "70"), "--accuracy_floor 70"),
        (("--concurency", "1"), "did you mean '--concurrency'"),
        (("--task", "wildgard"), "did you mean 'wildguard'"),
        (("--model", "embedded/wrod"), "did you mean 'word'"),
        (("-o", "file/below"), "cannot be made"),
    ],
)
def test_wrong_use_is_one_paragraph(cli, desk, words, said):
    (desk / "file").write_text("in the way")
    done = cli("bench", *QUICK, *words)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""
