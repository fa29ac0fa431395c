"""GuardReasoner's thirteen benchmarks in one go: published figures from real recordings, and what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from guardeval.cli.eval_guardreasoner import main
from guardeval.errors import ConfigError, DataError
from guardeval.models import ModelSpec
from guardeval.programme.published_figures import read_published
from guardeval.programme.unified import evaluate
from guardeval.report.unified_tables import unified_tables

ROOT = Path(__file__).resolve().parent.parent.parent
COLUMNS = {"guard_prompt": "prompt_harmfulness", "guard_response": "response_harmfulness", "guard_refusal": "refusal"}
AT_HAND = {"aegis", "simplesafetytests", "xstest_response", "xstest_refusal"}


def recordings(data: Path, size: str) -> list[ModelSpec]:
    return [ModelSpec(f"replay/{file}") for file in sorted((data / "generations" / "run1" / size).glob("*/*.jsonl.gz"))]


def test_the_figures_of_the_package_are_those_of_the_paper(shared_data):
    paper = json.loads((shared_data / "published_results.json").read_bytes())["guardreasoner"]
    ours = read_published()

    def row(table: str, size: str) -> dict:
        return next(r for r in paper[table]["rows"] if (r["model"], r["size"]) == ("GuardReasoner", size))

    assert ours.sizes == ("1B", "3B", "8B")
    assert sum(len(g.benchmarks) for g in ours.groups) == 13
    for size in ours.sizes:
        for group in ours.groups:
            printed = row(COLUMNS[group.name], size)
            assert group.average[size] == pytest.approx(printed["weighted_average"] / 100)
            assert {b.name: b.f1[size] for b in group.benchmarks} == pytest.approx(
                {name: printed[name] / 100 for name in paper[COLUMNS[group.name]]["columns"] if name != "weighted_average"}
            )
        assert ours.average[size] == pytest.approx(row("average_of_three_tasks", size)["average"] / 100)


@pytest.mark.parametrize("size", ["1B", "3B", "8B"])
def test_published_figures_come_out_of_the_recordings_and_what_is_missing_changes_none(shared_data, tmp_path, size):
    found = evaluate(recordings(shared_data, size), data_dir=str(shared_data), output_path=tmp_path, no_cache=True)
    assert found.never_heard == 0
    assert {task for g in found.groups for task in g.results} == AT_HAND
    assert sum(len(g.missing) for g in found.groups) == 13 - len(AT_HAND)
    for group in found.groups:
        for benchmark in group.published.benchmarks:
            if benchmark.task in group.results:
                assert round(group.results[benchmark.task]["f1,paper"], 4) == round(benchmark.f1[size], 4)
        # figures are printed to four digits, so their average agrees to these
        assert group.average["f1,paper"] == pytest.approx(group.published_average(size), abs=1e-4)


def test_the_averages_of_all_thirteen_are_those_that_the_paper_prints():
    published = read_published()
    found = evaluate([ModelSpec("dummy")], data_dir="sample", solver="direct", output_path="unused", limit=2, no_cache=True)
    assert found.complete
    for group, printed in zip(found.groups, published.groups, strict=True):
        for size in published.sizes:
            assert group.published_average(size) == pytest.approx(printed.average[size], abs=6e-5)


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARDEVAL_CACHE", str(tmp_path / "cache.sqlite"))


def test_a_target_that_a_model_cannot_be_asked_is_missing():
    found = evaluate([ModelSpec("embedded")], data_dir="sample", solver="direct", output_path="out", limit=4)
    prompt, response, refusal = found.groups
    assert (len(prompt.results), len(response.results), len(refusal.results)) == (6, 5, 0)
    assert refusal.missing["xstest_refusal"] == "embedded cannot be asked for refusal"
    assert any("not the benchmark" in n for n in found.notices)
    tables = unified_tables(found)
    assert "missing" in tables[2].rows[0]
    assert "n/a" in tables[2].rows[2]  # the average of nothing
    assert len(tables) == 3  # and no average of three


def test_files_of_ones_own_go_by_the_name_of_their_task(desk, tmp_path):
    rows = [
        {
            "instruction": "i",
            "input": f"Human user:\nhello {i}\n\nAI assistant:\nNone\n\n",
            "output": ["unharmful", "harmful"][i % 2],
        }
        for i in range(6)
    ]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "aegis.json").write_text(json.dumps(rows))
    found = evaluate([ModelSpec("embedded")], data_dir="mine", solver="direct", output_path="out")
    assert list(found.groups[0].results) == ["aegis"]
    assert found.groups[0].average["f1,strict"] == found.groups[0].results["aegis"]["f1,strict"]
    assert "no toxicchat/toxicchat_guardreasoner.json.gz" in found.groups[0].missing["toxicchat_human"]


def test_what_cannot_be_evaluated_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is no folder"):
        evaluate([ModelSpec("embedded")], data_dir="nowhere")
    with pytest.raises(ConfigError, match="only recordings of one"):
        evaluate([ModelSpec("embedded"), ModelSpec("dummy")], data_dir="sample")
    with pytest.raises(ConfigError, match="'strict'"):
        evaluate([ModelSpec("embedded")], data_dir="sample", accounting=["strikt"])
    with pytest.raises(ConfigError, match="no model"):
        evaluate([], data_dir="sample")
    with pytest.raises(DataError, match="none of the thirteen"):
        evaluate([ModelSpec("embedded")], data_dir=str(tmp_path))


def test_the_script_writes_tables_and_figures(tmp_path):
    words = ["--model", "embedded", "--solver", "direct", "--data-dir", "sample", "--limit", "4", "--size", "8B", "-o", "out"]
    done = subprocess.run([sys.executable, ROOT / "eval_guardreasoner.py", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "paper - published" in done.stdout
    written = json.loads((tmp_path / "out" / "eval_guardreasoner.json").read_bytes())
    assert written["groups"]["guard_prompt"]["results"]["aegis"]["sample_len"] == 4
    assert written["complete"] is False
    assert "| aegis | 4 | 359 |" in (tmp_path / "out" / "eval_guardreasoner.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "7B"], "no such published size"),
        (["--model", "embeded"], "did you mean 'embedded'"),
        (["--modell", "x"], "did you mean '--model'"),
    ],
)
def test_wrong_use_is_one_paragraph(capsys, words, said):
    assert main([*words, "--data_dir", "sample"]) == 2
    assert said in capsys.readouterr().err
