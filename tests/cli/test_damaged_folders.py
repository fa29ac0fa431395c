"""Run folders that were cut, changed or made by a stranger: each command says so, and none believes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

READERS = [
    ("score", "{run}"),
    ("report", "--format", "html", "{run}"),
    ("report", "--failures", "{run}"),
    ("mine", "{run}", "{other}", "-o", "hard.json"),
    ("check", "{run}", "--baseline", "base.json", "--write_baseline"),
    ("compare", "{run}", "{other}"),
    ("combine", "{other}", "{run}"),
    ("combine", "{other}", "{run}", "--grid"),
    ("sample-errors", "{run}"),
    ("export", "lm_eval", "{run}"),
    ("export", "inspect", "{run}"),
]


@pytest.mark.parametrize("kept", [30, 0])
def test_a_samples_file_cut_between_two_lines_is_never_taken_for_a_whole_one(cli, guard_run, desk, kept):
    run, other = guard_run(), guard_run("--model", "embedded/char")
    samples = next(run.glob("samples_*"))
    lines = samples.read_bytes().splitlines(keepends=True)
    samples.write_bytes(b"".join(lines[:kept]))
    before = {p.name for p in desk.iterdir()}
    for words in READERS:
        said = cli(*(w.format(run=run, other=other) for w in words))
        assert said.code == 2, words
        assert f"{samples.name}: holds {kept} of {len(lines)} samples: the file was cut; run it again" in said.err, words
    assert {p.name for p in desk.iterdir()} == before


def test_a_samples_file_with_more_lines_than_the_run_wrote_is_refused(cli, guard_run):
    run = guard_run()
    samples = next(run.glob("samples_*"))
    lines = samples.read_bytes().splitlines(keepends=True)
    samples.write_bytes(b"".join([*lines, lines[-1]]))
    said = cli("score", run)
    assert said.code == 2
    assert f"holds {len(lines) + 1} samples, run.yaml says {len(lines)}" in said.err


def test_a_run_whose_record_says_that_it_holds_fewer_is_whole(cli, guard_run, results_of):
    """As an interrupted one does."""
    run = guard_run()
    samples = next(run.glob("samples_*"))
    samples.write_bytes(b"".join(samples.read_bytes().splitlines(keepends=True)[:30]))
    record = yaml.safe_load((run / "run.yaml").read_text())
    record["record"]["tasks"]["wildguard"]["samples"] = 30
    (run / "run.yaml").write_text(json.dumps(record))
    assert cli("score", run).code == 0
    assert results_of(run)["results"]["wildguard"]["sample_len"] == 30


def change(run: Path, **sections: Any) -> None:
    """Write other things into ``run.yaml``'s record: ``head__config={…}`` goes into record.head.config."""
    record = yaml.safe_load((run / "run.yaml").read_text())
    for path, value in sections.items():
        *above, last = path.split("__")
        place = record["record"]
        for key in above:
            place = place[key]
        place[last] = {**place[last], **value} if isinstance(value, dict) else value
    (run / "run.yaml").write_text(json.dumps(record))


@pytest.mark.parametrize("model", ["..", ".", ""])
def test_an_export_stays_in_its_folder_whatever_the_model_is_called(cli, guard_run, desk, model):
    run = guard_run()
    change(run, head__config={"model": model})
    before = {p.name for p in desk.iterdir()}
    assert cli("export", "lm_eval", run, "-o", "out/logs").code == 0
    assert {p.name for p in desk.iterdir()} - before == {"out"}
    assert [p.relative_to(desk).as_posix() for p in (desk / "out").rglob("*") if p.parent == desk / "out" / "logs"] == [
        "out/logs/__"
    ]


def test_no_name_steers_the_terminal(cli, desk):
    place = "out\x1b[2J"
    said = [
        cli("run", "--task", "wildguard", "--data", "sample", "--no_cache", "-q", "-o", place, "--model", "dummy/\x1b[31mred")
    ]
    (run,) = (desk / place).iterdir()
    change(run, head__config={"model": "\x1b[31mred"})
    said += [
        cli("score", run),
        cli("export", "lm_eval", run, "-o", place),
        cli("sample-errors", run, "-n", 1, "-o", "a\x1b[1m.jsonl"),
    ]
    said += [cli("combine", run, "-S", "vote=majority", "-o", place), cli("combine", run, run.parent, "--grid")]
    said += [cli("check", run, "--baseline", "b.json", "--write_baseline"), cli("sample-errors", run, "--mode", "edge")]
    change(run, head__config={"model": "another"})
    said += [
        cli("check", run, "--baseline", "b.json", "--write_baseline"),
        cli("data", "show", "--task", "wildguard", "--data", "sample"),
    ]
    said += [cli("data", "leakage", "--task", "wildguard", "--data_dir", place, "-o", f"{place}.json")]
    assert "\x1b" not in "".join(one.out + one.err for one in said)
    assert [one.code for one in said[:4]] == [0, 0, 0, 0]


def test_what_a_killed_run_left_is_named_and_does_not_keep_others_from_being_read(cli, guard_run, desk):
    run, other = guard_run(), guard_run("--model", "embedded/char")
    for name in ("samples_wildguard_2026-01-02.jsonl.part", "run.yaml.part", None):
        killed = run.parent / "2026-01-02T03-04-05_wildguard_direct_embedded"
        killed.mkdir()
        if name:
            (killed / name).write_bytes(b"{}\n")
        for words in (("report",), ("report", "--format", "html", "-o", "all.html"), ("compare",), ("mine", "-o", "hard.json")):
            said = cli(*words, killed, run, other)
            assert (said.code, said.err) == (0, f"note: {killed}: left out: a run that was killed; delete it\n"), words
            alone = cli(*words, killed, killed)
            assert alone.code == 2
            assert f"{killed}: a run that was killed: run.yaml is not in it; delete it" in alone.err
        for words in (("combine",), ("check", "--baseline", "b.json", "--write_baseline"), ("score",)):
            said = cli(*words, killed, *([other] if words[0] != "score" else []))
            assert (said.code, "a run that was killed" in said.err) == (2, True), words
        for file in killed.iterdir():
            file.unlink()
        killed.rmdir()


def test_a_folder_that_is_none_of_a_run_is_not_taken_for_a_killed_one(cli, desk):
    (desk / "empty").mkdir()
    (desk / "data").mkdir()
    (desk / "data" / "samples_mine.jsonl").write_text("{}\n")
    for folder in ("empty", "data"):
        assert "is no run folder" in cli("report", folder).err


CHANGED = {
    "policies": ["cyberattack", {}],
    "tasks__wildguard__samples": True,
    "tasks__wildguard__data__source": [None],
    "tasks__wildguard__scorers": [1],
    "groups": [{"name": "g"}],
    "head__end_time": "x",
    "head__configs__wildguard__marks": 5,
    "head__configs__wildguard__data__source": [None],
    "head__config__model_notices": [{"a": 1}],
    "head__n-samples__wildguard__effective": True,
    "head__notices": "none",
}


@pytest.mark.parametrize("place", CHANGED)
def test_a_record_that_no_run_wrote_is_refused_with_its_file_and_place(cli, guard_run, place):
    run, other = guard_run(), guard_run("--model", "embedded/char")
    change(run, **{place: CHANGED[place]})
    named = "record." + place.replace("__", ".")
    for words in (
        ("score", run),
        ("report", run),
        ("compare", other, run),
        ("export", "inspect", run),
        ("mine", run, other, "-o", "x.json"),
    ):
        said = cli(*words)
        assert said.code == 2
        assert f"{run / 'run.yaml'}: its `record` is not one that a run wrote" in said.err, words
        assert named in said.err, words


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("n-samples", True),
        ("n-samples", {}),
        ("configs__wildguard__marks", 5),
        ("config__model_notices", [{"a": 1}]),
        ("results__wildguard__f1,strict", "high"),
        ("results__wildguard__f1_ci,strict", [1]),
        ("results", [1]),
        ("groups", 3),
    ],
)
def test_results_that_no_run_wrote_are_refused_and_score_writes_them_anew(cli, guard_run, path, value):
    run = guard_run()
    file = next(run.glob("results_*"))
    whole = json.loads(file.read_bytes())
    *above, last = path.split("__")
    place = whole
    for key in above:
        place = place[key]
    place[last] = value
    file.write_text(json.dumps(whole))
    for words in (("report",), ("report", "--format", "html"), ("export", "lm_eval")):
        said = cli(*words, run)
        assert said.code == 2, words
        assert f"{file}: is not one that a run wrote ({path.replace('__', '.')}" in said.err, words
    assert cli("score", run).code == cli("report", run).code == 0
