"""Overlap of prompts: by hand on small sets, by known counts on the real files."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardeval.errors import ConfigError, DataError
from guardeval.exposure import fingerprint
from guardeval.leakage import KINDS, Benchmarks, Leakage, leakage
from guardeval.leakage_report import leakage_tables, write_leakage
from guardeval.near_duplicates import similarity
from guardeval.prompt_sets import PromptSet, named_apart, prompts_of_file, registered_prompts, sets_named
from guardeval.task import TaskIndex

INDEX = TaskIndex()
LONG = " ".join(f"word{i}" for i in range(30))
A = PromptSet("a", (("1", "How to bake?"), ("2", "how to bake"), ("3", LONG), ("4", "???"), ("5", "nothing like it")))
B = PromptSet(
    "b", (("x", "How to bake?"), ("y", "and now " + " ".join(LONG.split()[:13]) + " the end"), ("z", "!!!"), ("w", "???"))
)


def test_partners_by_hand_in_both_directions():
    found = leakage([A], [B])
    there, back = found.of("a", "b"), found.of("b", "a")
    assert there.ids == {
        "exact": ("1", "4"),
        "normalised": ("1", "2", "4"),
        "ngram": ("1", "2", "3", "4"),
        "near": ("1", "2", "4"),
    }
    assert back.ids == {"exact": ("x", "w"), "normalised": ("x", "w"), "ngram": ("x", "y", "w"), "near": ("x", "w")}
    assert (there.of, back.of) == (5, 4)


def test_a_shorter_run_of_words_is_found_when_asked_for():
    one, two = PromptSet("one", (("1", LONG),)), PromptSet("two", (("1", "so " + " ".join(LONG.split()[20:25])),))
    assert leakage([one], [two], ["ngram"]).of("one", "two").count("ngram") == 0
    assert leakage([one], [two], ["ngram"], ngram=5).of("one", "two").count("ngram") == 1


TEXTS = st.lists(st.lists(st.sampled_from("a b c d ! 火".split()), max_size=6).map(" ".join), min_size=1, max_size=6)


@given(TEXTS, TEXTS)
@settings(max_examples=50)
def test_what_is_exact_is_found_by_every_other_measure_and_near_is_what_similarity_says(one, two):
    a, b = (PromptSet(n, tuple((str(i), t) for i, t in enumerate(texts))) for n, texts in (("a", one), ("b", two)))
    found = leakage([a], [b], threshold=0.6, ngram=3).of("a", "b").ids
    ids = {kind: set(found[kind]) for kind in KINDS}
    assert ids["exact"] <= ids["normalised"] <= ids["ngram"] & ids["near"]
    assert ids["exact"] == {str(i) for i, t in enumerate(one) if t in two}
    near, surely = ({str(i) for i, t in enumerate(one) if any(similarity(t, u) >= least for u in two)} for least in (0.6, 0.75))
    assert surely <= ids["near"] <= near | ids["exact"]  # of pairs right at the threshold a few in 100,000 are missed


@given(TEXTS, st.lists(st.sampled_from("a b c d ! 火".split()), max_size=6).map(" ".join))
@settings(max_examples=50)
def test_benchmarks_answer_as_the_matrix_does(texts, asked):
    test = PromptSet("test", tuple((str(i), t) for i, t in enumerate(texts)))
    benchmarks = Benchmarks([test], threshold=0.6, ngram=3)
    found = leakage([PromptSet("a", (("1", asked),))], [test], threshold=0.6, ngram=3).of("a", "test")
    hits = benchmarks.hits(asked)
    assert {k: bool(h) for k, h in hits.items()} == {k: bool(found.count(k)) for k in KINDS}
    prompts = {fingerprint(t) for t in texts}
    assert all(task == "test" and mark in prompts for h in hits.values() for task, mark in h)


def test_benchmarks_name_every_test_that_holds_the_prompt_and_its_fingerprint():
    benchmarks = Benchmarks([A, B])
    assert benchmarks.exact("How to bake?") == [("a", fingerprint("How to bake?")), ("b", fingerprint("How to bake?"))]
    assert benchmarks.exact("HOW TO BAKE") == []
    assert [task for task, _ in benchmarks.same_words("HOW TO BAKE")] == ["a", "b"]
    assert benchmarks.near(LONG + " more") == [("a", fingerprint(LONG))]
    assert benchmarks.seen(fingerprint("how, to bake")) == benchmarks.same_words("how to bake")
    assert benchmarks.seen(fingerprint("")) == []  # a prompt without words stands for none


def test_sets_that_equal_each_other_wholly_and_sets_of_one_row():
    twin = PromptSet("twin", A.rows)
    found = leakage([A], [twin])
    assert all(found.of(x, y).count(kind) == 5 for x, y in (("a", "twin"), ("twin", "a")) for kind in KINDS)
    single = leakage([PromptSet("s", (("0", "x"),))], [PromptSet("t", (("0", "y"),))])
    assert not any(o.count(k) for o in single.overlaps for k in KINDS)


@pytest.mark.parametrize(
    ("sets", "options", "message"),
    [
        ([A, B], {"kinds": ["nearly"]}, "unknown kind of overlap 'nearly'; did you mean 'near'"),
        ([A, B], {"ngram": 1}, "at least 2 words in a row"),
        ([A, B], {"threshold": 2.0}, "a similarity above 0"),
        ([A], {}, "nothing to compare with"),
        ([A, A], {}, "nothing to compare with"),
    ],
)
def test_wrong_questions_are_refused(sets, options, message):
    with pytest.raises(ConfigError, match=message):
        leakage(sets, **options)


# ---- where prompts come from ----


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "p", "chosen": "c", "rejected": "r"}, "p"),
        ({"prompt": "p", "reasoning": "Step 1: x", "classification": "harmful"}, "p"),
        ({"text": "p"}, "p"),
        ({"question": "p", "n": 1}, "p"),
        ({"prompts_final": "p", "harm_area": "h", "id": "1"}, "p"),
        ({"instruction": "i", "input": "Human user:\np\n\nAI assistant:\nr\n\n", "output": "harmful"}, "p"),
        ({"prompt": "i\nHuman user:\np\n\nAI assistant:\nr\n\n", "label": "harmful", "predict": "…"}, "p"),
        ({"prompt": "p", "text": "no", "label": "safe", "source": "s"}, "p"),
        ({"content": "p", "labels": [], "source": "s", "guardeval": {"id": "m", "index": 3}}, "p"),
    ],
)
def test_the_prompt_of_rows_of_any_known_shape(tmp_path, row, prompt):
    found = prompts_of_file(write(tmp_path / "rows.jsonl", [row]), INDEX)
    assert [text for _, text in found.rows] == [prompt]


def test_rows_are_named_by_their_id_else_their_number(tmp_path):
    rows = [{"prompt": "p", "id": 7}, {"prompt": "q"}, {"prompt": "r", "id": "x", "guardeval": {"id": "mined", "index": 0}}]
    assert [i for i, _ in prompts_of_file(write(tmp_path / "r.jsonl", rows), INDEX).rows] == ["7", "1", "mined"]


def test_a_row_without_a_prompt_and_columns_without_one_are_named(tmp_path):
    with pytest.raises(DataError, match=r"r\.jsonl: row 2: the prompt column 'prompt' is missing"):
        prompts_of_file(write(tmp_path / "r.jsonl", [{"prompt": "p"}, {"x": 1}]), INDEX)
    with pytest.raises(DataError, match=r"the columns are x; none is known to hold prompts"):
        prompts_of_file(write(tmp_path / "r.jsonl", [{"x": 1}]), INDEX)
    with pytest.raises(ConfigError, match="is a folder"):
        prompts_of_file(tmp_path, INDEX)


def test_what_is_named_is_found_or_the_nearest_is_said(tmp_path):
    rows = write(tmp_path / "rows.jsonl", [{"prompt": "p", "label": 1}])
    [task, file] = sets_named([f"wildguard={rows}", str(rows)], INDEX)
    assert (task.name, task.task, file.name, file.task) == ("wildguard", "wildguard", "rows.jsonl", None)
    with pytest.raises(ConfigError, match="unknown task 'wildgard'; did you mean 'wildguard'"):
        sets_named([f"wildgard={rows}"], INDEX)
    with pytest.raises(ConfigError, match="no file"):
        sets_named(["wildguard=nowhere.jsonl"], INDEX)
    with pytest.raises(ConfigError, match="neither a file of rows, TASK=PATH, nor a task; did you mean 'wildguard'"):
        sets_named(["wildgard"], INDEX)


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "rows.jsonl", [{"prompt": "p"}])
    sets = sets_named([str(tmp_path / f / "rows.jsonl") for f in ("one", "two", "one")], INDEX)
    assert [s.name for s in named_apart(sets)] == ["one/rows.jsonl", "two/rows.jsonl"]


def test_registered_tasks_are_read_from_a_folder_and_the_others_are_listed(tmp_path):
    name, _ = INDEX.load("wildguard").hub_files()[0]
    write(
        tmp_path / name, [{"prompt": "p", "prompt_harm_label": "harmful", "subcategory": "cyberattack", "adversarial": False}]
    )
    (tmp_path / "mine.yaml").write_text(
        "# mine.yaml - no rows\ntask: mine\ndataset_path: json\ndataset_kwargs: {data_files: {train: gone.jsonl}}\n"
        "training_split: train\nmetadata: {version: 1, target: prompt_harmfulness}\n"
    )
    index = TaskIndex([tmp_path])
    others = {n for n, e in index.entries().items() if e.kind == "task"} - {"wildguard", "mine"}
    [found], [missing] = registered_prompts(index, others, tmp_path)
    assert (found.name, [t for _, t in found.rows]) == ("wildguard", ["p"])
    assert missing.task == "mine" and "gone.jsonl" in missing.why
    assert registered_prompts(index, others, tmp_path, training=False) == ([found], [])
    with pytest.raises(ConfigError, match="is no folder"):
        registered_prompts(index, (), tmp_path / "nowhere")


def test_a_hub_that_does_not_answer_is_asked_once_and_every_task_is_listed(tmp_path):
    """Were each of some 25 tasks asked for, a hub that lets requests time out would keep a user waiting for minutes."""
    code = (
        "from guardeval.prompt_sets import registered_prompts\nfrom guardeval.task import TaskIndex\n"
        "found, missing = registered_prompts(TaskIndex())\nassert not found\nprint(len(missing), missing[0].why)"
    )
    asked: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_hang_up, args=(server, asked), daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        known = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HTTP", "http"))}
        environment = {**known, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=100, check=True
        ).stdout
    tasks = sum(e.kind == "task" for e in INDEX.entries().values())
    assert said.startswith(f"{tasks} the hub cannot be reached")
    assert 0 < len(asked) < 10


def _hang_up(server: socket.socket, asked: list[object]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, peer = server.accept()
            asked.append(peer)
            connection.close()


# ---- what is shown ----


def test_the_report_has_ids_labels_directions_and_escapes_names(tmp_path):
    hostile = PromptSet("<b>|\x1b[31m.json", A.rows)
    found = leakage([hostile], [B])
    said = json.loads(write_leakage(found, tmp_path / "l.json").read_bytes())
    [there, back] = said["overlaps"]
    assert (there["rows_of"], there["ids"]["exact"], back["ids"]["exact"]) == (hostile.name, ["1", "4"], ["x", "w"])
    text = write_leakage(found, tmp_path / "l.md").read_text()
    assert "\x1b" not in text and "<b>" not in text
    matrix, listed = leakage_tables(found)
    assert matrix.rows[0][2:] == ("–", "3") and matrix.rows[1][2:] == ("2", "–")
    assert listed.columns[:3] == ("rows of", "with a partner in", "of")
    with pytest.raises(ConfigError, match=r"\.json or \.md is wanted"):
        write_leakage(found, tmp_path / "l.txt")


# ---- the real files ----


@pytest.fixture(scope="module")
def real(shared_data: Path) -> dict[str, PromptSet]:
    names = [f["name"] for f in json.loads((shared_data / "MANIFEST.json").read_text())["files"]]
    assert len(names) > 40
    return {name: prompts_of_file(shared_data / name, INDEX) for name in names}


def test_every_real_file_is_read_whole(shared_data, real):
    rows = {f["name"]: f["rows"] for f in json.loads((shared_data / "MANIFEST.json").read_text())["files"]}
    assert {name: len(s.rows) for name, s in real.items()} == rows


@pytest.fixture(scope="module")
def matrix(real: dict[str, PromptSet]) -> Leakage:
    return leakage([PromptSet(name, s.rows, name) for name, s in real.items()])


def test_beavertails_shares_prompts_with_the_training_pool(matrix):
    test, pool = "beavertails/beavertails_30k_test.jsonl.gz", "guardreasoner_train_pool/guardreasoner_train_pool_5k.json.gz"
    found = matrix.of(test, pool)
    assert (found.of, found.count("exact"), found.count("normalised")) == (3021, 303, 306)
    assert found.count("near") > 306 and found.count("ngram") > 306


@pytest.mark.parametrize(("part", "rows"), [("train", 400), ("test", 100)])
def test_heretics_harmful_prompts_lie_in_advbench(matrix, part, rows):
    found = matrix.of(f"heretic/harmful_behaviors_{part}.jsonl", "advbench/advbench_behaviors.csv")
    assert found.count("exact") == found.of == rows


def test_the_matrix_of_all_files_has_both_directions_and_knows_one_benchmark_in_two_shapes(real, matrix):
    assert len(matrix.overlaps) == len(real) * (len(real) - 1)

    def share(a: str, b: str) -> float:
        overlap = matrix.of(a, b)
        return overlap.count("near") / overlap.of

    assert share("beavertails/beavertails_30k_test.jsonl.gz", "beavertails/beavertails_guardreasoner.json.gz") > 0.99
    assert share("simplesafetytests/simplesafetytests.csv", "simplesafetytests/simplesafetytests_guardreasoner.json.gz") == 1.0
    assert share("heretic/harmless_alpaca_test.jsonl", "simplesafetytests/simplesafetytests.csv") == 0.0
