"""Mined rows are data: ids, row numbers and hashes are the source's, and a run on them pairs with a run on everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import guardeval
from guardeval.compare_runs import compare_runs
from guardeval.errors import DataError
from guardeval.mining import mine
from guardeval.task import TaskIndex


def run(out: Path, task: str, data: str, model: str = "embedded/char", **more) -> Path:
    settings = {"solver": "direct", "output_path": str(out), "no_cache": True, "scorer": "classification", **more}
    return guardeval.run(task=task, data=data, model=model, **settings).path


def lines(run_folder: Path) -> dict[str, tuple]:
    """Sample id → row number, hash of the row, gold label, prompt's cluster."""
    (path,) = run_folder.glob("samples_*.jsonl")
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    return {r["guardeval"]["id"]: (r["doc_id"], r["doc_hash"], r["target"], r["guardeval"]["cluster"]) for r in rows}


@pytest.mark.parametrize("task", ["wildguard", "aegis", "xstest", "heretic", "saferlhf", "beavertails", "toxicchat"])
def test_ids_row_numbers_and_hashes_are_the_sources(tmp_path, task):
    whole = [run(tmp_path, task, "sample", f"embedded/{m}") for m in ("word", "char")]
    done = mine(whole, tmp_path / "hard.json", top=0.3)
    hard = run(tmp_path, task, str(tmp_path / "hard.json"))
    before, after = lines(whole[0]), lines(hard)
    assert len(after) == done.rows > 0
    assert after.items() <= before.items()
    (results,) = hard.glob("results_*.json")
    assert any("mined rows: chosen from sample sha256" in n for n in json.loads(results.read_bytes())["notices"])
    found = compare_runs([whole[0], hard])
    assert found.tasks[0].comparison.pairs[0].n == done.rows
    samples = list(TaskIndex().load(task).open(str(tmp_path / "hard.json")))
    assert all("guardeval" not in s.doc for s in samples)


def test_what_is_mined_of_mined_rows_is_still_of_the_source(tmp_path):
    whole = [run(tmp_path, "wildguard", "sample", f"embedded/{m}") for m in ("word", "char", "nb")]
    mine(whole, tmp_path / "hard.json", top=0.5)
    again = [run(tmp_path, "wildguard", str(tmp_path / "hard.json"), f"embedded/{m}") for m in ("word", "char")]
    mine([again[0], whole[2]], tmp_path / "harder.jsonl.gz", n=5)  # runs on different parts of one source fit together
    hardest = run(tmp_path, "wildguard", str(tmp_path / "harder.jsonl.gz"))
    assert lines(hardest).items() <= lines(whole[0]).items()
    assert compare_runs([whole[0], hardest]).tasks[0].comparison.pairs[0].n == 5


def test_a_file_that_is_the_label_gives_each_row_its_label(tmp_path):
    """Also under a name that stands for harmful rows and for a slice of them."""
    for name, label in (("harmful_behaviors_test", "kill"), ("harmless_alpaca_test", "bake")):
        rows = [{"text": f"how to {label} number {i}"} for i in range(6)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    data = ",".join(str(tmp_path / f"{n}.jsonl") for n in ("harmful_behaviors_test", "harmless_alpaca_test"))
    runs = [run(tmp_path / "runs", "heretic", data, f"embedded/{m}") for m in ("word", "char")]
    mined = tmp_path / "harmful_behaviors_hard.json"
    mine(runs, mined, top=1.0)
    assert lines(run(tmp_path / "runs", "heretic", str(mined))) == lines(runs[0])
    rows = json.loads(mined.read_bytes())
    rows[1]["guardeval"]["gold"] = None
    mined.write_text(json.dumps(rows))
    with pytest.raises(DataError, match="the file was its label"):
        list(TaskIndex().load("heretic").open(str(mined)))


def test_rows_of_one_file_come_from_one_source_and_keep_their_labels(tmp_path):
    runs = [run(tmp_path, "wildguard", "sample", f"embedded/{m}") for m in ("word", "char")]
    path = tmp_path / "hard.json"
    mine(runs, path, n=4)
    rows = json.loads(path.read_bytes())
    samples = TaskIndex().load("wildguard").open

    rows[2]["guardeval"]["source"] = "file sha256 other"
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"row 3 .*mined, and this one was not, or from other data"):
        list(samples(str(path)))

    rows[2]["guardeval"]["source"] = rows[0]["guardeval"]["source"]
    gold = rows[2]["prompt_harm_label"]
    rows[2]["prompt_harm_label"] = {"harmful": "unharmful", "unharmful": "harmful"}[gold]
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError, match=f"row 3 .*was mined as {gold} and its columns now say"):
        list(samples(str(path)))


def test_a_column_of_that_name_that_mining_did_not_write_is_a_column(tmp_path):
    rows = [{"prompt": "hello", "prompt_harm_label": "unharmful", "subcategory": "benign"} for _ in range(2)]
    rows[0]["guardeval"] = {"id": 7}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    found = list(TaskIndex().load("wildguard").open(str(tmp_path / "rows.jsonl")))
    assert [(s.id, s.index) for s in found] == [("0", 0), ("1", 1)]
