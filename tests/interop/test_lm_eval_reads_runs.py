"""lm-eval's own readers on the files of a guardeval run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")
pytest.importorskip("datasets")

import guardeval
from guardeval.task import TaskIndex


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    """What lies in the folder of a run over a group."""
    out = str(tmp_path_factory.mktemp("runs"))
    run = guardeval.run(task="guard_prompt", solver="multistep", model="embedded", data="sample", limit=12, no_cache=True, output_path=out)  # fmt: skip
    return sorted(str(p) for p in run.path.iterdir())


@pytest.fixture(scope="module")
def results(files) -> dict[str, Any]:
    from lm_eval.utils import get_results_filenames

    (found,) = get_results_filenames(files)
    return dict(json.loads(Path(found).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def samples(files) -> dict[str, list[dict[str, Any]]]:
    from lm_eval.utils import get_file_task_name, get_sample_results_filenames

    found = get_sample_results_filenames(files)
    read = {get_file_task_name(Path(f).name): Path(f).read_text(encoding="utf-8") for f in found}
    return {task: [json.loads(line) for line in text.split("\n") if line] for task, text in read.items()}


def test_names_of_files_say_task_and_moment(files, results, samples):
    from lm_eval.utils import get_file_datetime, get_latest_filename, get_results_filenames, get_sample_results_filenames

    assert set(samples) == set(TaskIndex().load_group("guard_prompt").tasks) == set(results["results"])
    moments = {get_file_datetime(Path(f).name) for f in get_sample_results_filenames(files)}
    assert len(moments) == 1
    assert get_file_datetime(Path(get_results_filenames(files)[0]).name).removesuffix(".json") in moments
    assert get_latest_filename(get_sample_results_filenames(files)) in files


def test_lm_evals_tables_show_tasks_and_groups(results):
    from lm_eval.utils import make_table

    tasks, groups = make_table(results), make_table(results, "groups")
    for shown, section in ((tasks, "results"), (groups, "groups")):
        assert f"{next(iter(results[section].values()))['f1,strict']:.4f}" in shown
    assert all(name in tasks for name in results["results"])
    assert results["groups"]["guard_prompt"]["alias"] in groups


def test_the_hubs_way_of_reading_takes_results_and_samples(files, samples, tmp_path):
    import datasets

    for path in (f for f in files if Path(f).name.startswith(("results_", "samples_"))):
        table = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path))
        name = Path(path).name
        assert len(table) == (1 if name.startswith("results_") else 12)


def test_the_writer_of_metadata_hashes_the_samples(results, samples):
    from lm_eval.utils import hash_string

    for rows in samples.values():
        hashes = "".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in rows)
        assert len(hash_string(hashes)) == 64
        for row in rows:
            assert row["prompt_hash"] == hash_string(row["arguments"]["gen_args_0"]["arg_0"])
            assert row["target_hash"] == hash_string(row["target"])


def test_the_loggers_of_lm_eval_make_their_tables_and_traces(results, samples):
    from lm_eval.loggers.trackio_logger import _sample_to_trace
    from lm_eval.loggers.wandb_logger import WandbLogger

    logger = WandbLogger.__new__(WandbLogger)  # its constructor logs in
    logger.post_init(results)
    words, numbers = logger._sanitize_results_dict()
    assert numbers["wildguard/f1,strict"] == results["results"]["wildguard"]["f1,strict"]
    assert "wildguard/alias" in words
    for task, rows in samples.items():
        config = results["configs"][task]
        frame = logger._generate_dataset([{**row, "arguments": _in_memory(row["arguments"])} for row in rows], config)
        assert list(frame["accuracy"]) == [row["accuracy"] for row in rows]
        assert list(frame["filtered_predictions"]) == [row["filtered_resps"][0] for row in rows]
        trace = _sample_to_trace(_Trackio, rows[0], task, config["output_type"])
        assert trace["metadata"]["accuracy"] == rows[0]["accuracy"]
        assert trace["messages"][1]["content"] == rows[0]["filtered_resps"][0]


def _in_memory(arguments: dict[str, dict[str, Any]]) -> list[tuple[Any, ...]]:
    """As lm-eval holds them before it writes its files."""
    return [tuple(one.values()) for one in arguments.values()]


class _Trackio:
    Trace = dict
