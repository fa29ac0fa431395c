"""The programme on sample rows: everything runs, nothing is asked twice, what is equal for want of a prompt is not a row."""

from __future__ import annotations

import json

import pytest
from review_support import session_on

from guardeval.errors import ConfigError
from guardeval.programme import run_experiments
from guardeval.programme.programme import plan_experiments
from guardeval.programme.reports import settled
from guardeval.review.marks import Category, Field
from guardeval.runs import open_run
from guardeval.stats import rate


def numbers(done):
    return settled(done.findings)


def test_phases_one_and_two_run_and_a_second_time_send_no_request(home):
    done = run_experiments("20..30", data="sample")
    assert done.status == "complete"
    assert [f.status for f in done.findings] == ["done"] * 11
    assert {p.name for p in done.reports} == {"PHASE_1_RESULTS.md", "PHASE_2_RESULTS.md"}
    assert done.counters["sent"] == done.counters["distinct"] > 0
    before = (home / "experiments" / "PHASE_2_RESULTS.md").read_text()
    again = run_experiments("20..30", data="sample")
    assert again.asked.get("asked", 0) == 0
    assert (home / "experiments" / "PHASE_2_RESULTS.md").read_text() == before
    assert "sample rows" in before and "no number here is the programme's" in before


def test_a_contrast_of_prompts_on_a_classifier_is_not_applicable_and_no_row_repeats(home):
    rows = numbers(run_experiments("phase1", data="sample"))
    contrasts = [r for r in rows if r.against.startswith(("20.", "21.", "medium")) and r.experiment != 23]
    assert contrasts and all(r.about.startswith("not applicable: classifier") for r in contrasts)
    systems = [r.run for r in rows if r.metric == "accuracy" and not r.is_difference and not r.about]
    assert len(systems) == len(set(systems)) == 2  # word and char: another model is another system
    assert next(r for r in rows if r.experiment == 23 and r.against.startswith("21.")).about == ""


def test_reports_hold_expected_beside_measured_and_plots(home):
    run_experiments("20..30", data="sample")
    report = (home / "experiments" / "PHASE_1_RESULTS.md").read_text()
    assert "| 59 to 62 |" in report
    assert "p adjusted" in report
    pictures = list((home / "experiments" / "PHASE_1_RESULTS_files").glob("*.svg"))
    assert {p.name for p in pictures} == {"levels.svg", "differences.svg"}
    assert all(p.read_text().lstrip().startswith(("<svg", "<?xml")) for p in pictures)


def test_the_best_of_phase_one_is_chosen_on_one_half_and_reported_on_the_other(home):
    done = run_experiments("27,28", data="sample")
    mined, chosen = done.findings
    rows = int(dict(mined.tables[0].rows)["hard samples written"])
    (best,) = [m for m in chosen.measured if m.metric == "accuracy"]
    table = chosen.tables[0]
    assert 0 < best.n < rows
    assert [row[-1] for row in table.rows].count("chosen") == 1
    row = next(r for r in table.rows if r[-1] == "chosen")
    assert f"n={best.n}" in row[2] and f"n={rows - best.n}" in row[1]


def test_weights_are_fitted_on_one_half_and_measured_on_the_other(home):
    done = run_experiments("30", data="sample")
    weights = json.loads((home / "experiments" / "vote_weights_wildguard.json").read_bytes())
    fitted = next(m for m in done.findings[0].measured if m.system.startswith("fitted") and m.metric == "accuracy")
    contrast = next(m for m in done.findings[0].measured if m.system.startswith("fitted") and m.against.startswith("29."))
    total = next(m for f in run_experiments("26", data="sample").findings for m in f.measured if m.metric == "accuracy").n
    assert fitted.n == contrast.n == total - len(weights["samples"])


def test_a_killed_programme_goes_on_where_it_was(home, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(text):
        if text.startswith("running") and "embedded/char" in text:
            raise Killed

    with pytest.raises(Killed):
        run_experiments("20..23", data="sample", say=killed)
    ledger = json.loads((home / "experiments" / "programme.json").read_bytes())
    assert len(ledger["runs"]) == 1
    done = run_experiments("20..23", data="sample")
    assert done.status == "complete"
    assert done.counters["sent"] == done.counters["distinct"] == 2 * done.asked["sent"]


def test_a_folder_of_another_programme_is_refused(home):
    run_experiments("20", data="sample")
    with pytest.raises(ValueError, match=r"another limit.*--output_path"):
        run_experiments("20", data="sample", limit=5)


def test_an_attempt_that_measured_nothing_claims_no_folder(home):
    with pytest.raises(ConfigError, match="nothing could be measured"):
        run_experiments("26", model_set="replay")
    assert run_experiments("26", data="sample").status == "complete"


def test_rows_that_could_not_be_read_are_put_right_in_the_same_folder(home, made_rows):
    rows, _ = made_rows(20)
    good = rows.read_bytes()
    rows.write_text(json.dumps([{"content": "x", "labels": ["no such policy"], "source": "wildguardmix_others"}]))
    both = ["wildguard=sample", f"toxicchat={rows}"]
    first = run_experiments("20", data=both, task="wildguard,toxicchat")
    assert first.missing
    rows.write_bytes(good)
    run_experiments("20", data=["wildguard=sample", "toxicchat=sample"], task="wildguard,toxicchat")


def test_results_on_other_rows_are_not_mixed_in(home, made_rows):
    rows, _ = made_rows(20)
    run_experiments("20", data="sample")
    with pytest.raises(ValueError, match=r"other rows.*--output_path"):
        run_experiments("21", data=str(rows))


def test_a_dry_run_counts_what_is_left_and_sends_nothing(home):
    before = plan_experiments("20..30", data="sample")
    assert len(before) == 3  # each model once: prompts change nothing
    assert all(p.distinct > 0 for p in before.values())
    assert not (home / "experiments").exists()
    run_experiments("20", data="sample")
    assert len(plan_experiments("20..30", data="sample")) == 2


def test_the_ablation_of_a_classifier_is_not_applicable(home):
    rows = numbers(run_experiments("43", data="sample"))
    assert {r.about for r in rows if r.is_difference} == {"not applicable: classifier"}


def test_generalisation_gives_a_heat_map_and_gaps(home):
    done = run_experiments("44", data="sample")
    (found,) = done.findings
    picture = next(p for p in found.pictures if p.name == "generalisation_f1")
    assert picture.rows == ("wildguard", "toxicchat", "beavertails", "aegis", "heretic")
    assert len(picture.columns) == 4
    gap = next(t for t in found.tables if t.title == "f1: gap to wildguard")
    assert [row[0] for row in gap.rows] == ["toxicchat", "beavertails", "aegis", "heretic"]
    assert (home / "experiments" / "FINAL_GUARDREASONER_VALIDATION_files" / "44_generalisation_f1.svg").is_file()


def test_a_benchmark_without_rows_is_missing_and_the_others_go_on(home):
    done = run_experiments("44", data=["sample", "aegis=nowhere.json"])
    (found,) = done.findings
    assert found.status == "partly missing"
    assert any("nowhere.json" in m for m in found.missing)
    picture = next(p for p in found.pictures if p.name == "generalisation_f1")
    assert picture.values[3] == (None,) * 4
    assert None not in picture.values[0]


def test_failures_are_counted_and_a_review_set_is_written(home):
    done = run_experiments("41", data="sample")
    lines = (home / "experiments" / "sample_errors_wildguard.jsonl").read_bytes().splitlines()
    assert 0 < len(lines) <= 100
    (run,) = (home / "experiments" / "runs").iterdir()
    assert any(f"people have not reviewed: guardeval review experiments/runs/{run.name} --samples" in m for m in done.missing)


def test_what_people_made_of_the_drawn_samples_is_in_the_final_report(home):
    run_experiments("41", data="sample")
    (run,) = (home / "experiments" / "runs").iterdir()
    rows = home / "experiments" / "sample_errors_wildguard.jsonl"
    drawn = [json.loads(line)["id"] for line in rows.read_bytes().splitlines()]
    right = next(j.sample.id for j, _ in open_run(run).tasks[0].lines() if j.sample.id not in drawn)
    with session_on(run, "ann", str(rows)) as session:
        for position, coherent in enumerate(("yes", "yes", "no")):
            session.mark(position, Field.COHERENT, coherent)
            session.mark(position, Field.CATEGORY, Category.MISSED)
    with session_on(run, "ann", right) as session:
        session.mark(0, Field.COHERENT, "no")  # reviewed, and not drawn
    done = run_experiments("41", data="sample")
    (found,) = done.findings
    assert (found.status, done.missing) == ("done", [])
    wilson = rate(2, 3)  # 67 %, [21, 94]
    said = f"66.7 % [{100 * wilson.low:.1f}, {100 * wilson.high:.1f}] n=3"
    assert any(f"3 of the {len(drawn)} samples drawn" in note and said in note for note in found.notes)
    (review,) = [dict(t.rows) for t in found.tables if t.title == "review (wildguard)"]
    assert review["reasoning is coherent"].endswith("n=3") and "failure: missed" in review
    report = (home / "experiments" / "FINAL_GUARDREASONER_VALIDATION.md").read_text()
    (tier,) = [line for line in report.splitlines() if "explanations coherent to people" in line]
    assert said.replace("[", "\\[").split(" n=")[0] in tier or said in tier
    assert "stand-in models" in tier and "missing" not in tier


def test_a_set_of_the_users_own_with_a_solver_of_its_own(home):
    (home / "mine.yaml").write_text("roles:\n  main: {name: embedded/word, solver: direct}\n")
    rows = numbers(run_experiments("20,21", model_set="mine.yaml", data="sample"))
    assert any(r.about == "not applicable: one prompt of its own" for r in rows)
