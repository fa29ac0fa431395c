"""``guardeval score`` and ``report``: finished runs, again and again."""

from __future__ import annotations

import json

import pytest
import yaml

from guardeval.report.terminal import report_text


def test_other_scorers_replace_the_metrics(cli, guard_run, results_of):
    run = guard_run("--limit", 12)
    said = cli("score", run, "--scorer", "ranking")
    assert (said.code, "auroc" in said.out, "accuracy" in said.out) == (0, True, False)
    assert said.out.rstrip().endswith(f"written: {next(run.glob('results_*'))}")
    metrics = results_of(run)["results"]["wildguard"]
    assert "auroc,parsed" in metrics
    assert "accuracy,strict" not in metrics


def test_append_keeps_what_was_there(cli, guard_run, results_of):
    run = guard_run("--scorer", "classification", "--limit", 12)
    before = results_of(run)
    assert cli("score", run, "--scorer", "ranking", "--append").code == 0
    after = results_of(run)
    assert before["results"]["wildguard"].items() <= after["results"]["wildguard"].items()
    assert "auroc,parsed" in after["results"]["wildguard"]
    assert after["higher_is_better"]["wildguard"].keys() > before["higher_is_better"]["wildguard"].keys()


def test_scoring_without_a_name_takes_the_runs_own_scorers(cli, guard_run, results_of):
    run = guard_run("--limit", 12)
    before = results_of(run)
    cli("score", run, "--scorer", "ranking")
    assert cli("score", run).code == 0
    assert results_of(run) == before


def test_a_redacted_run_scores_to_the_same_numbers(cli, guard_run, results_of):
    plain, redacted = guard_run("--limit", 12), guard_run("--limit", 12, "--redact")
    cli("score", redacted)
    one, two = (results_of(r)["results"]["wildguard"] for r in (plain, redacted))
    assert {k: v for k, v in one.items() if "latency" not in k} == {k: v for k, v in two.items() if "latency" not in k}


def test_a_scorer_of_ones_own_scores_without_asking(cli, guard_run, desk):
    run = guard_run("--limit", 4)
    (desk / "own_scorer.py").write_text(
        "class Flagged:\n    higher_is_better = False\n    def score(self, judged):\n"
        "        return {'flagged': float((judged.label == 1).mean()), 'flagged_n': len(judged)}\n"
    )
    assert "flagged  none" in " ".join(cli("score", run, "--scorer", "own_scorer:Flagged").out.replace("   ", "  ").split("\n"))


def test_notices_survive_scoring(cli, guard_run, results_of):
    run = guard_run("--limit", 4)
    before = results_of(run)["notices"]
    cli("score", run, "--scorer", "ranking")
    assert results_of(run)["notices"] == before


def test_a_run_folder_from_a_stranger_cannot_write_outside_itself(cli, guard_run):
    run = guard_run("--limit", 4)
    record = yaml.safe_load((run / "run.yaml").read_text())
    record["record"]["date"] = "../../stolen"
    (run / "run.yaml").write_text(yaml.safe_dump(record))
    said = cli("score", run)
    assert said.code == 2
    assert "is no part of a file name" in said.err
    assert not list(run.parent.parent.glob("stolen*"))


def test_a_command_that_a_strangers_record_names_is_not_run(cli, guard_run, desk):
    """Neither where the run is scored again, nor combined, nor where a log of it is imported."""
    run, stolen = guard_run("--limit", 4), desk / "stolen"
    scorers = {"subprocess:Popen": {"args": f"touch {stolen}", "shell": "yes"}}
    cli("export", "lm_eval", run, "-o", desk / "log")
    (logged,) = (desk / "log").rglob("results_*.json")
    results = json.loads(logged.read_text())
    results["guardeval"]["record"]["record"]["tasks"]["wildguard"]["scorers"] = scorers
    logged.write_text(json.dumps(results))
    other = guard_run("--limit", 4, "--solver", "singlestep")
    for folder in (run, other):
        record = yaml.safe_load((folder / "run.yaml").read_text())
        record["record"]["tasks"]["wildguard"]["scorers"] = scorers
        (folder / "run.yaml").write_text(yaml.safe_dump(record))
    said = [
        cli("score", run),
        cli("combine", run, other, "-S", "vote=any", "-o", desk / "combined"),
        cli("import", "lm_eval", desk / "log", "-o", desk / "imported"),
    ]
    assert [s.code for s in said] == [2, 2, 2]
    assert not [s.err for s in said if "'subprocess:Popen' is a class that a file names" not in s.err]
    assert not stolen.exists()
    assert cli("score", run, "--scorer", "classification").code == 0


@pytest.mark.parametrize("form", ["text", "md"])
def test_a_report_says_what_the_run_said(cli, guard_run, form):
    run = guard_run("--limit", 12)
    said = cli("report", run, "--format", form)
    assert said.code == 0
    for part in (run.name, "sample rows written for this project", "a subset: 12 of 56", "majority_rate", "n/a"):
        assert part in said.out


def test_a_report_goes_to_a_file_in_the_form_that_its_name_says(cli, guard_run, desk, monkeypatch, results_of):
    run = guard_run("--limit", 4)
    monkeypatch.setenv("COLUMNS", "50")  # of the terminal, not of the file
    for name, form in (("a.md", []), ("b.txt", []), ("c.md", ["--format", "text"])):
        assert cli("report", run, "-o", name, *form)[:2] == (0, "")
    assert (desk / "a.md").read_text().startswith("## ")
    assert (desk / "b.txt").read_text() == (desk / "c.md").read_text()
    assert (desk / "b.txt").read_text() == report_text([results_of(run)], [run.name], plain=True) + "\n"


def test_a_report_that_cannot_be_written_says_so_and_leaves_nothing(cli, guard_run, desk):
    run = guard_run("--limit", 4)
    for place in ("no/such/x.md", run):
        said = cli("report", run, "-o", place)
        assert said.code == 2
        assert "cannot be written" in said.err
    assert not list(desk.rglob("*.part"))


def test_several_runs_are_summed_up_first(cli, guard_run):
    one, two = guard_run("--limit", 12), guard_run("--limit", 12, "--model", "embedded/char")
    out = cli("report", one, two).out
    assert out.startswith("summary (strict)")
    assert out.index("embedded/char") < out.index(f"run {one.name}")
    assert cli("report", one, two, "--format", "md").out.startswith("## Summary")


def test_a_report_needs_no_samples_only_results(cli, guard_run):
    run = guard_run("--limit", 4)
    next(run.glob("samples_*")).unlink()
    assert cli("report", run).code == 0
    assert cli("score", run).code == 2
    next(run.glob("results_*")).unlink()
    said = cli("report", run)
    assert said.code == 2
    assert f"guardeval score {run}" in said.err


def test_results_of_a_cut_off_file_are_an_error_with_the_remedy(cli, guard_run):
    run = guard_run("--limit", 4)
    file = next(run.glob("results_*"))
    file.write_bytes(file.read_bytes()[:100])
    said = cli("report", run)
    assert (said.code, "is no JSON" in said.err, "guardeval score" in said.err) == (2, True, True)
    assert cli("score", run).code == 0
    json.loads(file.read_bytes())
