"""``guardeval report --format html``: where the page goes, and what is said about it."""

from __future__ import annotations


def test_the_page_of_a_run_lies_in_its_folder(cli, guard_run):
    run = guard_run("--limit", 12)
    said = cli("report", run, "--format", "html")
    assert said.code == 0 and f"report: {run / 'report.html'}" in said.out and "MB" in said.out
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert cli("report", run).code == 0  # the folder is a run as before
    assert cli("score", run).code == 0


def test_the_page_of_several_runs_lies_where_one_stands(cli, guard_run, desk):
    runs = [guard_run("--limit", 12, "--model", f"embedded/{m}") for m in ("word", "nb")]
    said = cli("report", *runs, "--format", "html")
    assert said.code == 0 and "report: report.html" in said.out
    assert "embedded/nb" in (desk / "report.html").read_text(encoding="utf-8")


def test_the_name_of_the_file_sets_the_format(cli, guard_run, desk):
    run = guard_run("--limit", 4)
    assert cli("report", run, "-o", "page.HTML").code == 0
    assert (desk / "page.HTML").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert not (run / "report.html").exists()


def test_what_is_no_format_is_named(cli, guard_run):
    said = cli("report", guard_run("--limit", 4), "--format", "htm")
    assert said.code == 2 and "did you mean 'html'?" in said.err


def test_a_place_that_cannot_be_written_leaves_one_paragraph(cli, guard_run):
    said = cli("report", guard_run("--limit", 4), "-o", "nowhere/page.html")
    assert said.code == 2 and "cannot be written" in said.err and "Traceback" not in said.err


def test_a_page_without_its_samples_file_says_what_to_do(cli, guard_run):
    run = guard_run("--limit", 4)
    next(run.glob("samples_*")).unlink()
    said = cli("report", run, "--format", "html")
    assert said.code == 2 and "run it again" in said.err
