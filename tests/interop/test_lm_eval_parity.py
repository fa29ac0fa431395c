"""One local model asked through guardeval and through lm-eval: prompts, texts, verdicts and F1 are the same in both."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("lm_eval")
pytest.importorskip("datasets")
torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from parity_model import SOLVERS, made, rows  # noqa: E402

import guardeval  # noqa: E402
from guardeval.data import Judged  # noqa: E402
from guardeval.interop.lm_eval_tasks import export_tasks, exported_tasks  # noqa: E402

TASK = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
metadata:
  version: 1.0
  target: prompt_harmfulness
  fields: {prompt: text}
  label: {column: label, positive: 1, negative: 0}
"""
ACCOUNTINGS = ("strict", "parsed", "fail_closed", "fail_open")
TOKENS = {"max_tokens": 12}


class Place(NamedTuple):
    model: Path
    tasks: Path
    policies: Path
    out: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """A model, a task of 24 rows, two short policies."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("parity")
    for name in ("policies", "tasks", "out"):
        (folder / name).mkdir()
    (folder / "policies" / "illegal.txt").write_text("Breaking the law.")
    (folder / "policies" / "violence.txt").write_text("Hurting people.")
    (folder / "tasks" / "mine.yaml").write_text(TASK)
    (folder / "tasks" / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows(24)))
    made(folder / "model", folder / "policies")
    return Place(folder / "model", folder / "tasks", folder / "policies", folder / "out")


class Ours(NamedTuple):
    judged: list[Judged]
    metrics: Mapping[str, float]
    lines: list[dict[str, Any]]


@pytest.fixture(scope="module")
def ours(place) -> Callable[[str, str], Ours]:
    """A guardeval run, by solver and backend; each made once."""
    known: dict[tuple[str, str], Ours] = {}

    def run(solver: str, backend: str = "hf") -> Ours:
        if (solver, backend) not in known:
            args = (
                {}
                if backend == "hf"
                else {"pretrained": str(place.model), "device": "cpu", "dtype": "float32", "batch_size": 8}
            )
            name = f"hf/{place.model}" if backend == "hf" else backend
            done = guardeval.run(
                task="mine", include_path=[str(place.tasks)], solver=solver, solver_args=TOKENS,
                model={"name": name, "args": args}, policies=str(place.policies), no_cache=True, output_path=str(place.out),
            )  # fmt: skip
            lines = [json.loads(line) for line in next(done.path.glob("samples_*.jsonl")).read_bytes().splitlines()]
            known[solver, backend] = Ours(list(done.tasks["mine"].judged), done.tasks["mine"].metrics, lines)
        return known[solver, backend]

    return run


@pytest.fixture(scope="module")
def theirs(place) -> Callable[[str], dict[str, Any]]:
    """What lm-eval's own evaluator makes of the exported task, with its own ``hf`` backend; each made once."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    lm = HFLM(pretrained=str(place.model), device="cpu", dtype="float32", batch_size=8)
    known: dict[str, dict[str, Any]] = {}

    def run(solver: str) -> dict[str, Any]:
        if solver not in known:
            options = {"solver_args": TOKENS, "policies": place.policies, "include_path": [place.tasks]}
            folder = place.out / f"tasks_{solver}"
            export_tasks("mine", solver, folder, **options)
            (one,) = exported_tasks("mine", solver, **options)
            manager = TaskManager(include_path=str(folder), include_defaults=False)
            chat = "--apply_chat_template" in one.flags
            known[solver] = simple_evaluate(
                model=lm, tasks=[one.name], task_manager=manager, apply_chat_template=chat, bootstrap_iters=0, log_samples=True
            )
        return known[solver]

    return run


def samples_of(found: Mapping[str, Any], solver: str, accounting: str = "strict") -> list[dict[str, Any]]:
    found_samples = [s for s in found["samples"][f"mine_{solver}"] if s["filter"] == accounting]
    return sorted(found_samples, key=lambda s: s["doc_id"])


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_model_answers_in_every_way_there_is(ours, solver):
    outcomes = Counter((j.verdict.outcome, j.verdict.label) for j in ours(solver).judged)
    assert set(outcomes) == {("parsed", True), ("parsed", False), ("unparseable", None), ("truncated", None)}


@pytest.mark.parametrize("solver", SOLVERS)
def test_prompts_are_the_solvers_to_the_byte(ours, theirs, place, solver):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(place.model)
    for line, sample in zip(ours(solver).lines, samples_of(theirs(solver), solver), strict=True):
        asked = line["arguments"]["gen_args_0"]["arg_0"]
        if solver != "guardreasoner":
            turns = [{"role": "user", "content": asked}]
            asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        assert sample["arguments"][0][0] == asked
        assert sample["arguments"][0][1]["max_gen_toks"] == line["arguments"]["gen_args_0"]["arg_1"]["max_gen_toks"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_verdicts_are_the_same_sample_by_sample(ours, theirs, solver):
    own = [(j.sample.doc["text"], "[invalid]" if j.verdict.label is None else j.verdict.target.word(j.verdict.label)) for j in ours(solver).judged]  # fmt: skip
    for accounting in ACCOUNTINGS:
        found = samples_of(theirs(solver), solver, accounting)
        assert [(s["doc"]["text"], s["filtered_resps"][0][0]) for s in found] == own
        assert {s["filtered_resps"][0][2] for s in found} == {accounting}


@pytest.mark.parametrize("solver", SOLVERS)
def test_texts_are_the_same_up_to_where_a_local_backend_stops(ours, theirs, solver):
    for judged, sample in zip(ours(solver).judged, samples_of(theirs(solver), solver), strict=True):
        assert sample["resps"][0][0].startswith(judged.verdict.raw)


@pytest.mark.parametrize("solver", SOLVERS)
def test_metrics_are_the_same_under_every_accounting(ours, theirs, solver):
    own, found = ours(solver).metrics, theirs(solver)["results"][f"mine_{solver}"]
    for accounting in ACCOUNTINGS:
        for metric in ("f1", "accuracy", "precision", "recall"):
            assert found[f"{metric},{accounting}"] == own[f"{metric},{accounting}"], (metric, accounting)
        assert found[f"coverage,{accounting}"] == own["coverage"]
    assert len({found[f"f1,{a}"] for a in ACCOUNTINGS}) > 2  # missing verdicts make a difference here


@pytest.mark.parametrize("solver", SOLVERS)
def test_lm_evals_backend_asked_from_here_gives_the_verdicts_of_ours(ours, solver):
    own, through = ours(solver), ours(solver, "lm_eval/hf")
    assert [(j.sample.id, j.verdict.outcome, j.verdict.label, j.verdict.policies) for j in own.judged] == [
        (j.sample.id, j.verdict.outcome, j.verdict.label, j.verdict.policies) for j in through.judged
    ]
    assert [j.usage.tokens_in for j in own.judged] == [j.usage.tokens_in for j in through.judged]
    assert own.metrics["f1,strict"] == through.metrics["f1,strict"]
