"""Phases 3 to 5 on the tiny set: data, its quality, models trained from it, made faster; nothing asked or made twice."""

from __future__ import annotations

import json
import shlex
from importlib import import_module

import pytest

from guardeval.cli.parser import Parser
from guardeval.errors import ConfigError
from guardeval.exposure import normalised
from guardeval.programme import run_experiments
from guardeval.programme.by_hand import commands
from guardeval.programme.catalogue import catalogue
from guardeval.programme.data_choice import DataChoice
from guardeval.programme.model_sets import load_model_set
from guardeval.training_rows import Split, read_training_file


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder in which phase 3 has been run once."""
    folder = tmp_path_factory.mktemp("phase3")
    made = {"model_set": "tiny", "data": "sample", "output_path": str(folder / "e"), "cache": str(folder / "cache.sqlite")}
    return folder / "e", made, run_experiments("31..35", **made)


def test_phase_3_makes_its_files_and_the_report(desk):
    folder, _, done = desk
    assert (done.status, done.missing) == ("complete", [])
    assert [p.name for p in done.reports] == ["PHASE_3_DATA_QUALITY.md"]
    report = done.reports[0].read_text()
    for part in (
        "## Experiment 31",
        "steps per trace",
        "synthetic samples",
        "rows that repeat test sets",
        "#### split",
        "75 to 85",
    ):
        assert part in report
    assert str(folder) not in report
    traces = read_training_file(folder / "wildguard_reasoning_traces.json")
    assert {t.about["kind"] for t in traces} == {"trace"}
    assert {t.label for t in traces} == {True, False}
    synthetic = read_training_file(folder / "synthetic_hard_samples.json")
    assert all(t.about["seeds"] and t.about["kind"] == "synthetic" for t in synthetic)


def test_the_training_set_is_split_without_a_prompt_on_both_sides(desk):
    folder, _, _ = desk
    rows = read_training_file(folder / "rsft_training_data.json")
    sides = [{normalised(r.sample.prompt) for r in rows.of(split)} for split in Split]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_the_teacher_is_scored_on_all_that_it_was_asked(desk):
    """Its errors are kept apart from the traces, and count all the same."""
    folder, _, done = desk
    (teacher,) = [m for f in done.findings for m in f.measured if m.metric == "accuracy"]
    apart = [json.loads(line) for line in (folder / "wildguard_reasoning_traces.apart.jsonl").read_text().splitlines()]
    kept = len(read_training_file(folder / "wildguard_reasoning_traces.json"))
    assert (teacher.n, round(teacher.value * teacher.n)) == (kept + len(apart), kept)
    assert (teacher.expected_low, teacher.expected_high) == (0.75, 0.85)


def test_a_second_time_nothing_is_asked_and_no_file_is_written_anew(desk):
    folder, made, _ = desk
    names = ("wildguard_reasoning_traces.json", "synthetic_hard_samples.json", "rsft_training_data.json")
    before = [(folder / n).stat().st_mtime_ns for n in names]
    again = run_experiments("31..35", **made)
    assert again.asked.get("sent", 0) == 0
    assert [(folder / n).stat().st_mtime_ns for n in names] == before


def test_a_training_file_that_was_lost_is_made_again(desk):
    folder, made, _ = desk
    path = folder / "rsft_training_data.json"
    before = path.read_bytes()
    path.unlink()
    run_experiments("34", **made)
    assert path.read_bytes() == before


def test_a_set_without_a_teacher_says_what_it_lacks(tmp_path):
    with pytest.raises(ConfigError, match=r"model set 'embedded' has no model for the role 'teacher'"):
        run_experiments("31", model_set="embedded", data="sample", output_path=str(tmp_path / "e"))


@pytest.mark.parametrize("model_set", ["tiny", "ollama"])
@pytest.mark.parametrize("number", [*range(31, 41), 45])
def test_by_hand_every_command_is_one_that_guardeval_takes(number, model_set):
    lines = commands(catalogue()[number], load_model_set(model_set), DataChoice.read(["sample"]))
    assert lines or number in (40,)
    for line in lines:
        program, command, *words = shlex.split(line)
        assert program == "guardeval"
        parser = Parser(prog=f"guardeval {command}", allow_abbrev=False, add_help=False)
        import_module(f"guardeval.cli.{command}_command").configure(parser)
        rewrite = parser.get_default("rewrite")
        _, unknown = parser.parse_known_args(rewrite(words) if rewrite else words)
        assert not unknown, line


@pytest.mark.slow
def test_phases_4_and_5_train_evaluate_and_time(tmp_path):
    """Four trainings, three optimizers, a distilled student, all timed: some ten minutes on one core."""
    made = {"model_set": "tiny", "data": "sample", "output_path": str(tmp_path / "e"), "cache": str(tmp_path / "cache.sqlite")}
    done = run_experiments("31..40,45", **made)
    assert done.status == "complete"
    names = {p.name for p in done.reports}
    assert names == {"PHASE_3_DATA_QUALITY.md", "PHASE_4_FINETUNING.md", "FINAL_GUARDREASONER_VALIDATION.md"}
    by_number = {f.experiment: f for f in done.findings}
    for number in (36, 37, 38, 39):
        (accuracy, *_) = [m for m in by_number[number].measured if m.metric == "accuracy" and not m.is_difference]
        assert accuracy.n == 56
    assert all("people have not judged" in m for m in by_number[40].missing)
    assert any(t.columns[-1] == "p95 line" for t in by_number[45].tables)
    again = run_experiments("31..40,45", **made)
    assert again.asked.get("sent", 0) == 0
