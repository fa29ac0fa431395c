"""The run folder: whole files or none, read back as written."""

from __future__ import annotations

import json
import random
import resource
from datetime import datetime
from pathlib import Path

import pytest

from guardeval.asking import Heard
from guardeval.contamination import Marker
from guardeval.data import Target
from guardeval.errors import ConfigError, DataError
from guardeval.executors.worker import Shard, ShardLog
from guardeval.policies import POLICIES
from guardeval.runs import RunFolder, find_runs, open_run, results_json, write_atomically
from guardeval.testing import a_judged

NOW = datetime(2026, 1, 2, 3, 4, 5, 600)


def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "runs", "wildguard", "multistep", "openai_compatible/../a:b c", NOW)


def record(run: RunFolder, n: int) -> dict:
    tasks = {"wildguard": {"target": "prompt_harmfulness", "title": "t", "samples": n, "scorers": {}}}
    return {
        "task": ["wildguard"],
        "record": {"date": run.date, "status": "complete", "policies": list(POLICIES), "tasks": tasks, "groups": []},
    }


def test_a_run_folder_is_named_after_what_ran_in_it(tmp_path):
    assert folder(tmp_path).path.name == "2026-01-02T03-04-05_wildguard_multistep_openai-compatible-a-b-c"


def test_two_runs_of_one_second_get_two_folders(tmp_path):
    first, second = folder(tmp_path).path, folder(tmp_path).path
    assert (second.name, second.is_dir()) == (first.name + "-2", True)


def test_samples_end_up_in_source_order_however_they_arrive(tmp_path):
    run = folder(tmp_path)
    log = run.samples("wildguard", Target.PROMPT, POLICIES, redact=False)
    order = list(range(50))
    random.Random(0).shuffle(order)
    for i in order:
        log.add(a_judged(i % 2 == 0, i % 3 == 0, i), [])
    judged = log.close()
    lines = [json.loads(line) for line in log.path.read_bytes().splitlines()]
    assert [line["doc_id"] for line in lines] == list(range(50))
    assert [j.sample.index for j in judged] == list(range(50))
    assert judged[17].sample.prompt == "prompt 17"
    assert sorted(p.name for p in run.path.iterdir()) == [log.path.name]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_parts_that_other_processes_judged_end_up_as_if_they_had_come_one_by_one(tmp_path, order):
    judged = [a_judged(i % 2 == 0, i % 3 == 0, i) for i in range(40)]
    logs = [folder(tmp_path).samples("wildguard", Target.PROMPT, POLICIES, redact=False) for _ in range(2)]
    for one in judged:
        logs[0].add(one, [])
    worker = Shard("wildguard", Target.PROMPT, redact=False)
    for k in order:
        shard = ShardLog(worker, POLICIES, Heard(Marker("wildguard", ())))
        for one in reversed(judged[10 * k : 10 * k + 10]):
            shard.keep(one, [])
        logs[1].add_part(shard.part())
    whole, parts = (log.close() for log in logs)
    assert logs[1].path.read_bytes() == logs[0].path.read_bytes()
    assert list(parts) == list(whole) == judged
    assert [parts[i] for i in (39, 0, 17)] == [judged[i] for i in (39, 0, 17)]
    assert parts.label.tolist() == whole.label.tolist()
    assert list(parts.ids) == list(whole.ids)


def test_nothing_stands_under_the_final_name_before_the_log_is_closed(tmp_path):
    run = folder(tmp_path)
    log = run.samples("wildguard", Target.PROMPT, POLICIES, redact=False)
    log.add(a_judged(True, True), [])
    assert not log.path.exists()
    log.abandon()
    run.discard()
    assert not run.path.exists()


@pytest.fixture
def little_room():
    """No file may grow beyond 4 KB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_is_said_with_the_files_name_and_nothing_stays(tmp_path, little_room):
    run = folder(tmp_path)
    log = run.samples("wildguard", Target.PROMPT, POLICIES, redact=False)
    for i in range(20):
        log.add(a_judged(True, True, i), [])
    with pytest.raises(ConfigError, match=rf"{log.path.name}: cannot be written: File too large; free some space"):
        log.close()
    log.abandon()
    run.discard()
    assert not run.path.exists()


def test_a_stored_run_reads_back_its_samples(tmp_path):
    run = folder(tmp_path)
    log = run.samples("wildguard", Target.PROMPT, POLICIES, redact=False)
    written = [a_judged(i % 2 == 0, None if i == 3 else True, i, policies=frozenset({"illegal"})) for i in range(5)]
    for judged in written:
        log.add(judged, [])
    log.close()
    run.write_run(record(run, 5))
    run.write_results({"results": {"wildguard": {"f1,strict": float("nan")}}})
    stored = open_run(run.path)
    assert [j for j, _ in stored.tasks[0].lines()] == written
    judgements = stored.tasks[0].judgements()
    assert judgements.label.tolist() == [1, 1, 1, -1, 1]
    assert judgements[3] == written[3]
    assert stored.results() == {"results": {"wildguard": {"f1,strict": None}}}
    assert find_runs(tmp_path / "runs") == [run.path]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "results.json"
    write_atomically(path, b"old")

    with pytest.raises(TypeError):
        write_atomically(path, "text is not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_undefined_numbers_are_null_in_json():
    assert json.loads(results_json({"a": float("nan"), "b": [0.5, float("inf")]})) == {"a": None, "b": [0.5, None]}


def test_numbers_that_json_cannot_hold_are_kept_as_text():
    assert json.loads(results_json({"a": 10**30, "b": float("nan"), "c": 5})) == {"a": str(10**30), "b": None, "c": 5}


def test_a_file_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "folder", tmp_path / "no" / "such", Path()):
        with pytest.raises(ConfigError, match=r"cannot be written: .*; name another file"):
            write_atomically(place, b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_run_without_its_samples_can_still_be_looked_at(tmp_path):
    run = folder(tmp_path)
    run.samples("wildguard", Target.PROMPT, POLICIES, redact=False).close()
    run.write_run(record(run, 0))
    next(run.path.glob("samples_*")).unlink()
    assert [t.name for t in open_run(run.path, samples=False).tasks] == ["wildguard"]
    with pytest.raises(DataError, match="is not there"):
        open_run(run.path)


@pytest.mark.parametrize("name", ["../../out", "a/b", "", 5, "a\x1b[2Jb", "a\0"])
def test_a_record_whose_names_lead_elsewhere_is_refused(tmp_path, name):
    run = folder(tmp_path)
    about = record(run, 0)
    for damaged in (
        about["record"] | {"date": name},
        about["record"] | {"tasks": {name: about["record"]["tasks"]["wildguard"]}},
    ):
        run.write_run({"record": damaged})
        with pytest.raises(DataError, match="its `record` is not one that a run wrote"):
            open_run(run.path, samples=False)


@pytest.mark.parametrize("name", ["../../../x", "a\x1b[2J", ""])
def test_no_task_of_a_foreign_log_writes_outside_the_folder(tmp_path, name):
    with pytest.raises(DataError, match=r"samples of it cannot be kept: .* is no part of a file name; give it another name"):
        folder(tmp_path).samples(name, Target.PROMPT, POLICIES, redact=False)


def test_an_output_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--output_path .*file.*: cannot be written: .*name another folder"):
        RunFolder(tmp_path / "file" / "runs", "t", "s", "m", NOW)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda p: (p / "run.yaml").unlink(), r"is no run folder \(run.yaml is not in it\)"),
        (lambda p: (p / "run.yaml").write_text("a: [1"), r"run.yaml:1:6: not valid YAML"),
        (lambda p: (p / "run.yaml").write_text("a: 1\nb: 2\na: 3\n"), r"run.yaml:3: the key 'a' stands here twice"),
        (lambda p: (p / "run.yaml").write_text("- 1"), r"run.yaml: holds list; a mapping"),
        (lambda p: (p / "run.yaml").write_text("task: x"), r"has no `record` of what ran"),
        (lambda p: next(p.glob("samples_*")).unlink(), r"samples_wildguard.*is not there: the run was cut off"),
    ],
)
def test_a_damaged_run_folder_says_what_is_wrong_with_it(tmp_path, break_it, message):
    run = folder(tmp_path)
    run.samples("wildguard", Target.PROMPT, POLICIES, redact=False).close()
    run.write_run(record(run, 0))
    break_it(run.path)
    with pytest.raises((ConfigError, DataError), match=message):
        open_run(run.path)


def test_a_half_written_line_is_an_error_that_names_it(tmp_path):
    run = folder(tmp_path)
    log = run.samples("wildguard", Target.PROMPT, POLICIES, redact=False)
    for i in range(3):
        log.add(a_judged(True, True, i), [])
    log.close()
    run.write_run(record(run, 3))
    log.path.write_bytes(log.path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"samples_wildguard_.*jsonl:3: not a line of a guardeval samples file"):
        open_run(run.path).tasks[0].judgements()
