"""Runs as lm-eval's output, and lm-eval's output as runs: read by lm-eval's own code, written by it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from guardeval.cli import main
from guardeval.errors import DataError
from guardeval.interop.importing import Importing, import_lm_eval
from guardeval.interop.lm_eval_export import export_lm_eval, sanitized
from guardeval.interop.lm_eval_tasks import export_tasks
from guardeval.runs import open_run
from guardeval.task import TaskIndex

pytest.importorskip("lm_eval")
pytest.importorskip("datasets")

TASKS = TaskIndex().entries()["wildguard"].path.parent
SAMPLE_KEYS = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash", "target_hash",
}  # fmt: skip


def imported(path, out, **how):
    (done,) = import_lm_eval([path], replace(Importing(**how), output_path=out))
    return done, open_run(done.path)


@pytest.fixture(scope="module")
def exported(shipped, tmp_path_factory):
    results, *rows = export_lm_eval(shipped.path, tmp_path_factory.mktemp("lm_eval"))
    return results, rows


def ran(folder, include, names, answer, metadata=None):
    """The scores of lm-eval's run of task files, with a model that says what it is told, saved by lm-eval's own tracker."""
    from lm_eval.api.model import LM
    from lm_eval.evaluator import evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    class Says(LM):
        def generate_until(self, requests, disable_tqdm=False):
            return [answer(i, r) for i, r in enumerate(requests)]

        def loglikelihood(self, requests, disable_tqdm=False):
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    manager = TaskManager(include_path=str(include), include_defaults=False, metadata=metadata)
    tracker = EvaluationTracker(output_path=str(folder))
    done = evaluate(Says(), manager.load(names), bootstrap_iters=0, log_samples=True)
    # `simple_evaluate` adds these, and a description of the machine that takes it many seconds to find out
    done |= {"config": {"model": "Says", "model_args": {"model": "org/says"}}, "date": time.time()}
    tracker.general_config_tracker.log_experiment_args("Says", {"model": "org/says"}, None, None, False)
    samples = done.pop("samples")
    scores = {name: dict(values) for name, values in done["results"].items()}
    tracker.save_results_aggregated(results=done, samples=samples)
    for name, rows in samples.items():
        tracker.save_results_samples(task_name=name, samples=rows)
    return folder, scores


def intent(i, request):
    return f"Intent: whatever.\nDecision: {'harmful' if i % 2 else 'unharmful'}" if i else "I cannot tell."


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Our task files as they are."""
    return ran(tmp_path_factory.mktemp("theirs"), TASKS, ["wildguard", "wildguard_response"], intent, {"data": "sample"})


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Tasks that guardeval exported: two of one solver, one more of another, over some of the same rows."""
    folder = tmp_path_factory.mktemp("asked")
    export_tasks(["wildguard", "wildguard_response"], "multistep", folder, data="sample")
    export_tasks("wildguard", "direct", folder, data="sample", policies="medium")
    names = ["wildguard_multistep", "wildguard_response_multistep", "wildguard_direct"]

    def answer(i, request):
        if i == 0:
            return "I cannot tell."
        said = f"Intent: whatever.\n\nDecision: {'harmful' if i % 2 else 'unharmful'}\nPolicies: none\n"
        return said + "\nUser: and now?" if i == 3 else said

    return ran(tmp_path_factory.mktemp("asked_out"), folder, names, answer)


def test_results_have_lm_evals_keys_and_every_metric_is_a_number(exported, shipped):
    from lm_eval.result_schema import EvalResults

    results = json.loads(exported[0].read_bytes())
    optional = {"samples", "groups", "transformers_version", "lm_eval_version", "upper_git_hash", "eot_token_id", "max_length"}
    wanted = {k for k in EvalResults.__annotations__ if k not in optional and not k.startswith("tokenizer_")}
    assert wanted <= set(results)
    ours = shipped.results()["results"]
    for task, metrics in results["results"].items():
        values = {k: v for k, v in metrics.items() if "," in k and not k.partition(",")[0].endswith("_stderr")}
        assert all(type(v) is float for v in values.values())
        assert values["f1,strict"] == ours[task]["f1,strict"]
        assert results["guardeval"]["metrics"][task]["f1_ci,strict"] == ours[task]["f1_ci,strict"]
        lost = {k for k, v in ours[task].items() if k not in metrics and k not in results["guardeval"]["metrics"][task]}
        assert not lost and values["coverage,none"] == ours[task]["coverage"]


def test_lm_evals_table_prints_them(exported):
    from lm_eval.utils import make_table

    table = make_table(json.loads(exported[0].read_bytes()))
    assert "wildguard_response" in table and "f1" in table and "strict" in table


def test_rows_have_lm_evals_schema_and_hashes(exported):
    from lm_eval.utils import get_file_task_name, get_results_filenames, get_sample_results_filenames, hash_string

    results, rows = exported
    names = [str(p) for p in (results, *rows)]
    assert get_results_filenames(names) == names[:1] and get_sample_results_filenames(names) == names[1:]
    assert [get_file_task_name(p.name) for p in rows] == ["wildguard", "wildguard_response"]
    for path in rows:
        read = [json.loads(line) for line in path.read_bytes().splitlines()]
        for row in read:
            assert set(row) == SAMPLE_KEYS | {"accuracy", "guardeval"} and isinstance(row["guardeval"], str)
            assert (row["filter"], row["metrics"]) == ("strict", ["accuracy"])
            assert row["doc_hash"] == hash_string(json.dumps(row["doc"], indent=2, ensure_ascii=False))
            assert row["prompt_hash"] == hash_string(row["arguments"]["gen_args_0"]["arg_0"])
        stored = json.loads(results.read_bytes())
        task = get_file_task_name(path.name)
        assert sum(r["accuracy"] for r in read) / len(read) == pytest.approx(stored["results"][task]["accuracy,strict"])
        joined = "".join(r["doc_hash"] + r["prompt_hash"] + r["target_hash"] for r in read)
        assert stored["task_hashes"][task] == hashlib.sha256(joined.encode()).hexdigest()


def test_table_readers_load_the_rows(exported, tmp_path):
    from datasets import load_dataset

    loaded = load_dataset("json", data_files=str(exported[1][0]), split="train", cache_dir=str(tmp_path))
    assert len(loaded) == len(exported[1][0].read_bytes().splitlines())


@pytest.mark.parametrize("name", ["embedded", "hf/org/model", 'a"b<c>:d|e\\f?g*[h]'])
def test_a_models_folder_is_called_what_lm_eval_calls_it(name):
    from lm_eval.utils import sanitize_model_name

    assert sanitized(name) == sanitize_model_name(name)


def test_export_and_import_give_the_run_back(told, shipped, tmp_path):
    for run in (told, shipped):
        results, *_ = export_lm_eval(run.path, tmp_path / run.name)
        _, back = imported(results.parent, tmp_path / "runs")
        assert json.loads(back.results_path.read_bytes())["results"] == run.results()["results"]
        for before, after in zip(run.tasks, back.tasks, strict=True):
            assert after.samples.read_bytes() == before.samples.read_bytes()
        assert run.name in back.results()["notices"][0]


def test_lm_evals_own_run_of_our_task_is_scored_by_us(theirs, tmp_path):
    folder, scores = theirs
    done, run = imported(folder, tmp_path, data="sample")
    assert [t.name for t in run.tasks] == ["wildguard", "wildguard_response"]
    for task in run.tasks:
        rows = [json.loads(x) for x in next(folder.rglob(f"samples_{task.name}_2*")).read_bytes().splitlines()]
        judged = [j for j, _ in task.lines()]
        assert [j.sample.prompt for j in judged] == [r["doc"]["prompt"] for r in rows]
        assert all(j.sample.response in (None, r["doc"]["response"]) for j, r in zip(judged, rows, strict=True))
        for one, row in zip(judged, rows, strict=True):
            if one.verdict.label is None:  # no decision, or one that stands in the sample too: lm-eval cannot tell
                assert row["filtered_resps"] == ["[none]"] or one.verdict.notes == ("the answer repeats the sample",)
            else:
                assert [task.target.word(one.verdict.label)] == row["filtered_resps"]
        silent = sum(j.verdict.label is None for j in judged)
        assert 1 <= silent + (task.name != "wildguard") <= 3
        right = [r["acc"] for j, r in zip(judged, rows, strict=True) if j.verdict.label is not None]
        assert done.results["results"][task.name]["accuracy,strict"] == pytest.approx(sum(right) / len(rows))
        assert scores[task.name]["acc,last_decision"] == pytest.approx(sum(r["acc"] for r in rows) / len(rows))
    assert done.results["config"]["model"] == "org/says"
    assert done.unmatched == {"wildguard": {}, "wildguard_response": {}}


def test_of_several_logged_tasks_the_named_one_is_read(theirs, shipped, tmp_path):
    results, *_ = export_lm_eval(shipped.path, tmp_path / "ours")
    for folder in (theirs[0], results.parent):
        for name in ("wildguard", "wildguard_response"):
            done, run = imported(folder, tmp_path / "runs", task=name, data="sample")
            assert [t.name for t in run.tasks] == [name] and list(done.unmatched) == [name]
            rows = next(folder.rglob(f"samples_{name}_2*")).read_bytes().splitlines()
            first = json.loads(rows[1])
            line = [json.loads(x) for x in run.tasks[0].samples.read_bytes().splitlines()][1]
            assert line["resps"] == first["resps"] and line["doc"]["prompt"] == first["doc"]["prompt"]


def test_a_task_that_is_none_of_several_logged_ones_is_refused_with_their_names(theirs, tmp_path):
    with pytest.raises(DataError, match="none that can be read is wildguard_refusal: wildguard, wildguard_response"):
        imported(theirs[0], tmp_path, task="wildguard_refusal", data="sample")


def test_tasks_without_written_answers_are_left_out_and_never_stand_in_for_another(theirs, tmp_path):
    configs = json.loads(next(theirs[0].rglob("results_*.json")).read_bytes())["configs"]
    configs["wildguard_response"]["output_type"] = "multiple_choice"
    path = spoil(theirs[0], tmp_path / "a", {"configs": configs})
    done, run = imported(path, tmp_path / "runs", data="sample")
    assert [t.name for t in run.tasks] == ["wildguard"]
    assert sum("left out: wildguard_response, which is of kind multiple_choice" in n for n in done.results["notices"]) == 1
    done, _ = imported(path, tmp_path / "named", task="wildguard", data="sample")
    assert not any("left out" in n for n in done.results["notices"])
    with pytest.raises(
        DataError, match=r"none that can be read is wildguard_response: wildguard, wildguard_response \(which is of"
    ):
        imported(path, tmp_path / "wrong", task="wildguard_response", data="sample")
    next(path.parent.glob("samples_wildguard_response_2*")).unlink()
    del configs["wildguard_response"]["output_type"]
    path = spoil(path.parent, tmp_path / "b", {"configs": configs})
    with pytest.raises(DataError, match=r"wildguard_response \(which has no samples file"):
        imported(path, tmp_path / "wrong", task="wildguard_response", data="sample")


@pytest.mark.parametrize("task", [None, "wildguard"])
def test_exported_tasks_are_known_as_what_they_are_and_read_by_who_asked(asked, tmp_path, task):
    folder, scores = asked
    runs = list(import_lm_eval([folder], Importing(task=task, data="sample", output_path=tmp_path)))
    solvers = {r.results["config"]["solver"]: r for r in runs}
    assert set(solvers) == {"multistep", "direct"}
    assert solvers["multistep"].results["config"]["solver_args"]["max_tokens"]
    assert solvers["direct"].results["config"]["policies"] == "medium"
    more = [] if task else ["wildguard_response"]
    assert list(solvers["multistep"].results["results"]) == ["wildguard", *more]
    for solver, done in solvers.items():
        assert not any(done.unmatched.values())
        for name, metrics in done.results["results"].items():
            theirs = scores[f"{name}_{solver}"]
            for key in ("f1,strict", "f1,parsed", "accuracy,strict"):
                assert metrics[key] == pytest.approx(theirs[key]), (solver, name, key)
            assert metrics["coverage"] == pytest.approx(theirs["coverage,strict"])


def test_a_task_may_be_named_by_its_file_or_by_its_source(theirs, told, mine, tmp_path):
    results, *_ = export_lm_eval(told.path, tmp_path / "ours")
    _, run = imported(results.parent, tmp_path / "runs", task=str(mine / "mine.yaml"))
    assert [t.name for t in run.tasks] == ["mine"] and len(list(run.tasks[0].lines())) == len(
        (mine / "rows.jsonl").read_bytes().splitlines()
    )
    rows = next(theirs[0].rglob("samples_wildguard_2*")).read_bytes().splitlines()
    texts = dict.fromkeys(json.loads(row)["doc"]["prompt"] for row in rows)
    statements = [
        {"text": t, "target_group": "x", "toxicity_ai": 4.0, "toxicity_human": float(i % 5)} for i, t in enumerate(texts)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(s) + "\n" for s in statements))
    alone = spoil(theirs[0], tmp_path / "a", {"results": {"wildguard": {}}})
    _, run = imported(alone, tmp_path / "runs", task="lm_eval/toxigen", data=str(tmp_path / "rows.jsonl"))
    assert [t.name for t in run.tasks] == ["lm_eval__toxigen"]


def test_two_logged_tasks_never_become_one(asked, tmp_path):
    folder, _ = asked
    configs = json.loads(next(folder.rglob("results_*.json")).read_bytes())["configs"]
    same = {**configs, "wildguard_direct": configs["wildguard_multistep"]}
    path = spoil(folder, tmp_path / "a", {"configs": same})
    with pytest.raises(DataError, match="wildguard_multistep and wildguard_direct are both task wildguard"):
        imported(path, tmp_path / "runs", data="sample")


def test_the_command_says_where_the_run_lies(theirs, tmp_path, capsys):
    words = ["import", "lm_eval", str(theirs[0]), "--data", "sample", "-o", str(tmp_path), "--solver", "multistep"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "imported from output of lm-eval" in shown
    assert open_run(shown.strip().rpartition("run folder: ")[2]).tasks[0].name == "wildguard"


def spoil(folder, out, change: Mapping):
    """A copy of lm-eval's results file with some keys changed, and its samples."""
    out.mkdir()
    results = next(folder.rglob("results_*.json"))
    content = {**json.loads(results.read_bytes()), **change}
    (out / results.name).write_text(json.dumps(content))
    for path in results.parent.glob("samples_*"):
        (out / path.name).write_bytes(path.read_bytes())
    return out / results.name


def at(content, keys, value):
    """A copy with another value at a place; None takes the place out."""
    out = json.loads(json.dumps(content))
    *above, last = keys.split("/")
    part = out
    for key in above:
        part = part[key]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return out


@pytest.mark.parametrize(
    "keys, value, said",
    [
        ("configs/wildguard", [1], r"configs\.wildguard: \[1\]; an object"),
        ("configs", "x", "configs: 'x'; an object"),
        ("configs/wildguard/metadata", "x", r"configs\.wildguard\.metadata: 'x'"),
        ("configs/wildguard/metadata/guardeval", {"task": 3}, r"configs\.wildguard\.metadata\.guardeval\.task: 3"),
        ("versions", [1], r"versions: \[1\]; an object"),
        ("results", ["wildguard"], "results: .*; an object"),
        ("config", "x", "config: 'x'; an object"),
        ("date", float("nan"), "date: nan; seconds"),
        ("date", 1e30, "date: 1e\\+30; seconds"),
        ("results", {"a/b": {}, "../../x": {}, "n" * 400: {}}, "none of its results is among its configs"),
    ],
)
def test_a_results_file_of_another_shape_is_refused_with_the_place(theirs, tmp_path, keys, value, said):
    content = json.loads(next(theirs[0].rglob("results_*.json")).read_bytes())
    path = spoil(theirs[0], tmp_path / "a", at(content, keys, value))
    with pytest.raises(DataError, match=f"{path.name}: .*{said}"):
        imported(path, tmp_path / "runs", data="sample")


def test_a_row_whose_hash_is_no_text_is_named(theirs, tmp_path):
    path = spoil(theirs[0], tmp_path / "a", {})
    rows = next(path.parent.glob("samples_wildguard_2*"))
    first, rest = rows.read_bytes().split(b"\n", 1)
    rows.write_bytes(json.dumps({**json.loads(first), "doc_hash": [1]}).encode() + b"\n" + rest)
    with pytest.raises(DataError, match=r"samples_wildguard_.*:1: .*doc_hash is list"):
        imported(path, tmp_path / "runs", data="sample")


@pytest.mark.parametrize(
    "keys, value, said",
    [
        ("record/record", None, "record.record: None; an object"),
        ("record/record/groups", None, "has no 'groups'"),
        ("record/record/head", None, "has no 'head'"),
        ("record/record/head/configs", None, "head: has no 'configs'"),
        ("record/record/head/versions", {}, "head.versions: has no 'wildguard'"),
        ("record/record/policies", None, "has no 'policies'"),
        ("record/record/model", None, "has no 'model'"),
        ("record/record/tasks/wildguard/title", None, "tasks.wildguard: has no 'title'"),
        ("record/record/tasks/wildguard/target", "harm", "tasks.wildguard.target: unknown target 'harm'"),
        ("record/record/tasks/wildguard/data", "x", "tasks.wildguard.data: 'x'"),
    ],
)
def test_a_guardeval_record_that_no_run_wrote_is_refused_with_the_place(exported, tmp_path, keys, value, said):
    content = json.loads(exported[0].read_bytes())
    content["guardeval"] = at(content["guardeval"], keys, value)
    path = spoil(exported[0].parent, tmp_path / "a", content)
    with pytest.raises(DataError, match=f"{path.name}: guardeval.*{said}"):
        imported(path, tmp_path / "runs")


@pytest.mark.parametrize("task", [None, "wildguard"])
@pytest.mark.parametrize("usage", [["x", 0, None, None, None, None], [1, -1, None, None, None, None], [2**70, 0, 0, 0, 0, 0]])
def test_a_line_that_no_run_wrote_is_named(exported, tmp_path, usage, task):
    path = spoil(exported[0].parent, tmp_path / "a", {})
    rows = next(path.parent.glob("samples_wildguard_2*"))
    first, rest = rows.read_bytes().split(b"\n", 1)
    row = json.loads(first)
    row["guardeval"] = json.dumps({**json.loads(row["guardeval"]), "usage": usage})
    rows.write_bytes(json.dumps(row).encode() + b"\n" + rest)
    with pytest.raises(DataError, match=f"{path.name}: sample '0'"):
        imported(path, tmp_path / "runs", data="sample", task=task)


def test_files_that_are_none_of_lm_evals_are_named(theirs, tmp_path):
    folder, _ = theirs
    configs = json.loads(next(folder.rglob("results_*.json")).read_bytes())["configs"]
    asked = {n: {**c, "output_type": "multiple_choice"} for n, c in configs.items()}
    cases = {
        "kind": (spoil(folder, tmp_path / "a", {"configs": asked}), "multiple_choice"),
        "no results": (spoil(folder, tmp_path / "b", {"results": None}), "is no results file"),
        "rows": (spoil(folder, tmp_path / "c", {}), r"samples_wildguard_.*:2: no row of a samples file"),
        "alone": (spoil(folder, tmp_path / "d", {}), "--log_samples"),
        "empty folder": (tmp_path / "e", "holds no results"),
        "nowhere": (tmp_path / "f", "is not there"),
    }
    (tmp_path / "e").mkdir()
    rows = next((tmp_path / "c").glob("samples_wildguard_2*"))
    rows.write_bytes(rows.read_bytes().split(b"\n")[0] + b'\n{"doc_id": 1}\n')
    for path in (tmp_path / "d").glob("samples_*"):
        path.unlink()
    for path, said in cases.values():
        with pytest.raises(DataError, match=said):
            imported(path, tmp_path / "runs", data="sample")
    assert not (tmp_path / "runs").exists() or list((tmp_path / "runs").iterdir()) == []
