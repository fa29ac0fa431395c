"""Wrong uses: each is answered by one readable paragraph that says what, where, and what to do, and by the right exit code."""

from __future__ import annotations

import json
import os
import re
import stat

import pytest

from guardeval.cli import main

BASE = ("run", "--task", "wildguard", "--data", "sample", "--model", "dummy", "--no_cache")


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    """Run the command line in an empty folder; returns exit code and what stood on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARDEVAL_CACHE", str(tmp_path / "cache.sqlite"))

    def run(*words: str) -> tuple[int, str]:
        code = main([str(w) for w in words])
        return code, capsys.readouterr().err

    return run


def rows(path, *records) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return str(path)


WRONG = {
    "unknown command": (("rnu",), ["unknown command 'rnu'", "did you mean 'run'"]),
    "unknown flag": ((*BASE, "--limt", "3"), ["unknown argument '--limt'", "did you mean '--limit'"]),
    "no task": (("run", "--model", "dummy"), ["no task", "guardeval list tasks"]),
    "unknown task": (
        ("run", "--task", "wildgard", "--data", "sample"),
        ["unknown task 'wildgard'", "did you mean 'wildguard'"],
    ),
    "a glob that matches nothing": (("run", "--task", "nothing*", "--data", "sample"), ["no task or group matches 'nothing*'"]),
    "unknown solver": ((*BASE, "--solver", "multistp"), ["unknown solver 'multistp'", "did you mean 'multistep'"]),
    "unknown solver option": (
        (*BASE, "--solver", "multistep", "-S", "skp=harms"),
        ["has no option 'skp'", "did you mean 'skip'"],
    ),
    "solver option of a wrong kind": ((*BASE, "-S", "max_tokens=many"), ["max_tokens='many'", "a whole number is wanted"]),
    "a step that there is not": ((*BASE, "--solver", "multistep", "-S", "skip=intend"), ["'intend'", "did you mean 'intent'"]),
    "option that is no pair": ((*BASE, "-S", "skip"), ["-S 'skip'", "key=value is wanted"]),
    "unknown model": (
        ("run", "--task", "wildguard", "--data", "sample", "--model", "olama/x"),
        ["unknown model 'olama'", "'ollama'"],
    ),
    "unknown model option": ((*BASE, "-M", "txt=x"), ["has no option 'txt'", "did you mean 'text'"]),
    "a folder that is no model": ((*BASE[:-3], "--model", "./nothing"), ["./nothing", "guardeval-model.yaml"]),
    "unknown scorer": (
        (*BASE, "--scorer", "clasification"),
        ["unknown scorer 'clasification'", "did you mean 'classification'"],
    ),
    "unknown target": ((*BASE, "--target", "harm"), ["unknown target 'harm'"]),
    "a target that the task does not ask": (
        (*BASE, "--target", "refusal"),
        ["--target refusal", "none of the tasks asks that"],
    ),
    "unknown policies": ((*BASE, "--policies", "minimum"), ["--policies minimum", "did you mean 'minimal'"]),
    "limit of nothing": ((*BASE, "--limit", "0"), ["--limit 0", "at least one sample"]),
    "limit below nothing": ((*BASE, "--limit", "-3"), ["--limit -3"]),
    "limit that is no number": ((*BASE, "--limit", "all"), ["limit", "a whole number is wanted", "'all'"]),
    "ids that are not there": ((*BASE, "--samples", "no-such-id"), ["no-such-id"]),
    "a money limit for a model of unknown price": ((*BASE, "--max_cost", "0"), ["--max_cost", "above 0"]),
    "unknown executor": ((*BASE, "--executor", "rai"), ["--executor 'rai' is unknown"]),
    "missing data file": (("run", "--task", "wildguard", "--data", "no/such.jsonl", "--model", "dummy"), ["no/such.jsonl"]),
    "missing config file": (("run", "--config", "no-such.yaml"), ["no-such.yaml", "no such file"]),
    "missing include path": ((*BASE, "--include_path", "no/such"), ["no/such"]),
    "a run that is not there": (("score", "runs/none"), ["runs/none", "is no run folder"]),
    "a comparison of one": (("compare", "runs/none"), ["two runs or more"]),
    "list of an unknown kind": (("list", "taks"), ["unknown kind 'taks'", "did you mean 'tasks'"]),
    "show of an unknown name": (("show", "wildgard"), ["unknown name 'wildgard'", "did you mean 'wildguard'"]),
    "data without a task": (("data", "check"), ["--task"]),
    "a trainer that there is not": (
        ("train", "linar", "--data", "sample", "--out", "m"),
        ["unknown trainer 'linar'", "'linear'"],
    ),
    "an unknown report format": (("report", "x", "--format", "pdf"), ["unknown format 'pdf'"]),
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_a_wrong_use_is_explained_in_one_paragraph(case, said):
    words, parts = WRONG[case]
    code, text = said(*words)
    assert code == 2
    assert re.match(r"guardeval( [a-z]+)*: ", text), text
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    for part in parts:
        assert part in text


def test_rows_without_the_columns_name_what_was_found_and_what_is_needed(said, tmp_path):
    code, text = said(
        "run", "--task", "wildguard", "--model", "dummy", "--data", rows(tmp_path / "x.jsonl", {"question": "a", "answer": "b"})
    )
    assert code == 2
    assert "question" in text
    assert "prompt_harm_label" in text


def test_a_label_that_was_never_declared_is_named_with_its_row(said, tmp_path):
    good = {"prompt": "a", "response": None, "prompt_harm_label": "harmful", "subcategory": "cyberattack"}
    path = rows(tmp_path / "x.jsonl", good, good, good | {"prompt_harm_label": "maybe"})
    code, text = said("run", "--task", "wildguard", "--model", "dummy", "--data", path)
    assert code == 2
    assert "'maybe'" in text
    assert "row 3" in text


def test_a_broken_task_file_is_named_with_its_line(said, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.yaml").write_text("task: mine\nmetadata:\n  version: [1\n  target: x\n")
    code, text = said("run", "--include_path", folder, "--task", "mine", "--data", "sample", "--model", "dummy")
    assert code == 2
    assert "mine.yaml" in text
    assert "line" in text or ":4" in text


def test_a_misspelt_key_of_a_task_file_offers_the_nearest(said, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "task: mine\ndataset_path: x\ntest_split: test\nmetadata:\n  version: 1.0\n  target: prompt_harmfulness\n"
        "  feilds: {prompt: text}\n  label: {column: label, positive: 1, negative: 0}\n"
    )
    code, text = said("run", "--include_path", folder, "--task", "mine", "--data", "sample", "--model", "dummy")
    assert code == 2
    assert "feilds" in text
    assert "did you mean 'fields'" in text


def test_an_unreadable_config_is_named(said, tmp_path):
    (tmp_path / "c.yaml").write_text("task: [wildguard\n")
    code, text = said("run", "--config", tmp_path / "c.yaml")
    assert code == 2
    assert "c.yaml:2:1: not valid YAML" in text
    (tmp_path / "c.yaml").write_text("task: wildguard\nmodel: dummy\ntask: aegis\n")
    code, text = said("run", "--config", tmp_path / "c.yaml")
    assert code == 2
    assert "c.yaml:3: the key 'task' stands here twice" in text


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--task", ","),
        ("run", "--task", "wildguard", "--tasks", " , "),
        ("traces", "--task", ",,", "--model", "dummy", "-o", "t.json"),
        ("experiment", "run", "27", "--task", ","),
        ("experiment", "show", "27", "--task", ","),
        ("export", "lm_eval", "--task", ",", "--solver", "direct"),
        ("validate", "--task", ","),
        ("data", "show", "--task", ","),
        ("data", "leakage", "--task", ","),
        ("bench", "--task", ","),
        ("train", "linear", "--task", ","),
    ],
)
def test_a_task_without_a_name_is_no_task_and_not_all(said, words):
    code, text = said(*words)
    assert code == 2
    assert "is empty; give a value, or leave it out" in text


def test_a_config_with_an_unknown_key_offers_the_nearest(said, tmp_path):
    (tmp_path / "c.yaml").write_text("task: wildguard\nsolvr: direct\n")
    code, text = said("run", "--config", tmp_path / "c.yaml")
    assert code == 2
    assert "unknown key 'solvr'; did you mean 'solver'" in text


def test_an_output_path_that_cannot_be_written_is_refused_before_asking(said, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, text = said(*BASE, "--output_path", tmp_path / "file" / "runs")
    assert code == 2
    assert "--output_path" in text
    assert "name another folder" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_output_path_is_refused(said, tmp_path):
    (tmp_path / "ro").mkdir()
    (tmp_path / "ro").chmod(stat.S_IRUSR | stat.S_IXUSR)
    code, text = said(*BASE, "--output_path", tmp_path / "ro" / "runs")
    assert code == 2
    assert "cannot be written" in text


def test_no_server_is_said_with_the_remedy(said):
    url = "http://127.0.0.1:9/v1"
    code, text = said(
        "run", "--task", "wildguard", "--data", "sample", "--model", "openai_compatible/x", "-M", f"base_url={url}"
    )
    assert code == 2
    assert "127.0.0.1:9" in text
    assert "base_url" in text
    assert text.count("\n") == 1


def test_no_ollama_is_said_with_the_remedy(said):
    url = "http://127.0.0.1:9"
    code, text = said("run", "--task", "wildguard", "--data", "sample", "--model", "ollama/x", "-M", f"base_url={url}")
    assert code == 2
    assert "ollama serve" in text


def test_a_hostile_name_does_not_steer_the_terminal(said):
    code, text = said("run", "--task", "x\x1b[31m\x07y", "--data", "sample")
    assert code == 2
    assert "\x1b" not in text
    assert "\x07" not in text


def test_debug_adds_the_traceback(said):
    with pytest.raises(Exception, match="unknown task"):
        said("run", "--task", "wildgard", "--data", "sample", "--debug")
