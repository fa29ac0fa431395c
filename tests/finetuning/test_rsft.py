"""R-SFT with real trl: a model that says nothing readable learns to judge, and its folder runs at once."""

from __future__ import annotations

import json

import pytest
import yaml
from training_support import QUICK, made_traces

from guardeval.exposure import fingerprint
from guardeval.model_folder import exposure_of
from guardeval.training_rows import read_training_file


@pytest.fixture(scope="module")
def taught(place):
    """A model folder made from nothing, and what the command said on the way."""
    from contextlib import redirect_stderr
    from io import StringIO

    import torch

    from guardeval.registry import Registry

    torch.set_num_threads(1)
    options = dict(zip((q[2:] for q in QUICK[::2]), QUICK[1::2], strict=True))
    trainer = Registry().build("trainers", "rsft", {**options, "epochs": "2", "policies": str(place / "policies")})
    with redirect_stderr(StringIO()) as said:
        folder = trainer.train(read_training_file(place / "traces.json"), place / "taught")
    return folder, said.getvalue()


def test_training_lowers_the_validation_loss_and_raises_the_parse_rate_from_0_to_95_percent(taught):
    folder, said = taught
    metrics = yaml.safe_load((folder / "guardeval-model.yaml").read_text())["metrics"]
    before, after = metrics["before_training"], metrics["validation"]
    assert before["prompt_harmfulness"]["parse_rate"]["value"] <= 0.05
    assert after["prompt_harmfulness"]["parse_rate"]["value"] >= 0.95
    assert after["loss"] < before["loss"] / 5
    assert after["prompt_harmfulness"]["parse_rate"]["n"] == 20
    assert "step 100/100" in said
    assert "validation at step 50" in said


def test_the_folder_says_what_it_is_and_where_it_comes_from_without_paths_of_this_machine(taught, place):
    folder, _ = taught
    text = (folder / "guardeval-model.yaml").read_text()
    card = yaml.safe_load(text)
    assert (card["backend"], card["kind"], card["solver"], card["base_model"]) == ("hf", "rsft", "multistep", "scratch=64x2")
    assert card["command"].startswith("guardeval train rsft --data traces.json --out DIR --policies policies")
    assert card["data"]["files"][0]["sha256"] == read_training_file(place / "traces.json").digest
    assert card["data"]["sources"] == [{"task": "made_up", "kind": "trace", "licence": "CC0-1.0", "rows": 220}]
    assert any("stand-in for tests and demonstrations" in notice for notice in card["notices"])
    assert str(place) not in text
    assert str(place) not in (folder / "training_report.md").read_text()
    assert fingerprint(made_traces(1)[0].sample.prompt) in exposure_of(folder).prompts
    prompts = {row.sample.prompt for row in read_training_file(place / "traces.json")}
    assert len(exposure_of(folder)) == len(prompts)


def test_the_folder_runs_at_once_as_the_command_says(taught, here, place):
    folder, _ = taught
    done = here(
        "run", "--task", "wildguard", "--data", "sample", "--limit", "8", "--model", folder, "--solver", "multistep",
        "--policies", folder / "policies", "--no_cache", "--quiet", "--output_path", place / "runs",
    )  # fmt: skip
    assert done.code == 0, done.err
    results = json.loads(next((place / "runs").glob("*/results_*.json")).read_bytes())
    assert "stand-in for tests and demonstrations" in json.dumps(results)  # the card's notice
    assert results["n-samples"]["wildguard"]["effective"] == 8


def test_the_report_has_the_loss_curve_and_every_evaluation_with_n_and_interval(taught):
    folder, _ = taught
    report = (folder / "training_report.md").read_text()
    assert "![loss by step](training/loss.svg)" in report
    assert "<svg" in (folder / "training" / "loss.svg").read_text()
    rows = [line for line in report.splitlines() if line.startswith("|") and "prompt_harmfulness" in line]
    assert [row.split("|")[1].strip() for row in rows] == ["0", "50", "100"]
    assert all(row.split("|")[6].strip() == "20" and row.count("[") == 3 for row in rows)


def test_lora_on_the_folder_names_its_parent_keeps_what_it_has_seen_and_runs_as_adapter(taught, place, here):
    folder, _ = taught
    words = ("--data", "traces.json", "--model", folder, "--policies", folder / "policies", "--lr", "1e-3", "--batch", "4")
    more = ("--max_steps", "3", "--validation_limit", "4")
    done = here("train", "rsft", *words, *more, "--save", "adapter", "--out", "child")
    assert done.code == 0, done.err
    card = yaml.safe_load((place / "child" / "guardeval-model.yaml").read_text())
    assert card["parent"]["name"] == "taught"
    assert card["parameters"]["weights"] == "adapter"
    assert (card["parameters"]["r"], card["parameters"]["lora_alpha"]) == (16, 32)
    assert exposure_of(place / "child").prompts >= exposure_of(folder).prompts
    settings = json.loads((place / "child" / "adapter_config.json").read_bytes())
    assert settings["base_model_name_or_path"] == "../taught"
    # an adapter is trained on as it is: the grandchild's is of the same base
    done = here("train", "rsft", *words[:2], "--model", "child", *words[4:], *more, "--save", "adapter", "--out", "grandchild")
    assert done.code == 0, done.err
    grandchild = yaml.safe_load((place / "grandchild" / "guardeval-model.yaml").read_text())
    assert grandchild["parameters"]["goes_on_from"] == "the parent's adapter"
    assert json.loads((place / "grandchild" / "adapter_config.json").read_bytes())["base_model_name_or_path"] == "../taught"


def test_the_adapter_and_the_merged_model_say_the_same(taught, place, here):
    from guardeval.contracts import Case
    from guardeval.models import ModelSpec, build_model
    from guardeval.policies import load_policies
    from guardeval.registry import Registry
    from guardeval.training_text import request_of

    folder, _ = taught
    words = ("--data", "traces.json", "--model", folder, "--policies", folder / "policies", "--lr", "1e-2", "--batch", "4")
    for save in ("adapter", "merged"):
        done = here("train", "rsft", *words, "--max_steps", "2", "--validation_limit", "2", "--save", save, "--out", save)
        assert done.code == 0, done.err
    solver, policies = Registry().build("solvers", "multistep"), load_policies(folder / "policies")
    requests = [request_of(solver, Case(t.sample, t.target, policies)) for t in made_traces(6, seed=5)]
    said = [
        [c.text for c in build_model(ModelSpec(str(place / name)), Registry()).generate_batch(requests)]
        for name in ("adapter", "merged")
    ]
    assert said[0] == said[1]
    assert all(text.strip() for text in said[0])
