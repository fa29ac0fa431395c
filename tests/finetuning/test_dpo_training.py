"""Hard-sample DPO on a real tiny model: the margin grows, unusable pairs are told, a card says what was done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from training_support import made_traces, short_policies, trace_file

from guardeval.data import Target
from guardeval.errors import ConfigError, DataError
from guardeval.models import read_model_folder
from guardeval.registry import Registry
from guardeval.training_rows import Pair, Split, read_training_file, write_training_file
from guardeval.training_text import closing_block

SMALL = {"model": "scratch=32x1", "solver": "direct", "solver_args": {"max_tokens": 16}, "batch": 8, "lr": 4e-3, "beta": 0.1}


def made_pairs(n: int, split: Split = Split.TRAIN) -> list[Pair]:
    """A right and a wrong answer to each made-up row."""
    out = []
    for i, trace in enumerate(made_traces(n, split=split)):
        right = f"{trace.steps[1].text}\n{closing_block(Target.PROMPT, trace.label, trace.policies)}"
        wrong = closing_block(Target.PROMPT, not trace.label, frozenset() if trace.label else frozenset({"illegal"}))
        out.append(Pair(trace.sample, Target.PROMPT, right, wrong, [0.8, 1.0, 1.2][i % 3], split, {"task": "made_up"}))
    return out


def hs_dpo(**options: Any) -> Any:
    return Registry().build("trainers", "hs_dpo", {**SMALL, **options})


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(short_policies(tmp_path_factory.mktemp("policies")))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, policies: str) -> Path:
    folder = tmp_path_factory.mktemp("dpo")
    bad = [
        replace(pair, sample=replace(pair.sample, id=name), **change)
        for name, change, pair in [
            ("same", {"rejected": made_pairs(1)[0].chosen}, made_pairs(1)[0]),
            ("empty", {"rejected": "  "}, made_pairs(1)[0]),
            ("long", {"chosen": "word " * 3000 + made_pairs(1)[0].chosen}, made_pairs(1)[0]),
            ("wrong way round", {"chosen": made_pairs(1)[0].rejected, "rejected": made_pairs(1)[0].chosen}, made_pairs(1)[0]),
        ]
    ]
    file = write_training_file(folder / "pairs.json", [*made_pairs(24), *bad, *made_pairs(2, Split.VALIDATION)])
    return hs_dpo(policies=policies, epochs=4, sft_weight=0.0).train(read_training_file(file), folder / "out")


def history(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "training" / "history.json").read_text())
    return found


def log_prob(model: Any, prompt: list[int], answer: list[int]) -> float:
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0].double()
    return sum(float(torch.log_softmax(logits[len(prompt) + i - 1], -1)[token]) for i, token in enumerate(answer))


def test_the_preference_margin_grows_on_training_pairs(trained: Path, policies: str) -> None:
    """Log-probabilities of both answers, read off the logits of the saved model and of the one it started from."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from guardeval.contracts import Case
    from guardeval.finetuning.token_rows import Tokens
    from guardeval.training_text import request_of

    after = AutoModelForCausalLM.from_pretrained(trained)
    before = AutoModelForCausalLM.from_pretrained(trained / "training" / "base")
    tokens, trainer = Tokens(AutoTokenizer.from_pretrained(trained)), hs_dpo(policies=policies)
    grown = []
    for pair in made_pairs(24):
        prompt = tokens.prompt(request_of(trainer.solver_object, Case(pair.sample, pair.target, trainer.policy_set)))
        right, wrong = tokens.answer(pair.chosen), tokens.answer(pair.rejected)
        was, now = (log_prob(m, prompt, right) - log_prob(m, prompt, wrong) for m in (before, after))
        grown.append(now - was)
    assert min(grown) > 0
    logged = [entry["rewards/margins"] for entry in history(trained) if "loss" in entry]
    assert logged[0] == pytest.approx(0.0, abs=1e-5) and logged[-1] > logged[len(logged) // 2] > logged[0]


def test_pairs_that_teach_nothing_are_left_out_and_said(trained: Path) -> None:
    left_out = json.loads((trained / "training" / "left_out.json").read_text())
    assert left_out == {
        "both answers are the same": ["same"],
        "an answer is empty": ["empty"],
        "longer than 2048 tokens": ["long"],
        "the solver does not read the chosen answer as the right one": ["wrong way round"],
    }
    card = read_model_folder(trained)
    assert card["kind"] == "hs_dpo" and card["data"]["rows"] == 24
    assert card["trainer"]["beta"] == 0.1 and card["solver"] == "direct"


def test_the_loss_begins_at_the_mean_of_the_weights_times_ln_2(trained: Path) -> None:
    """Before the first step model and reference agree: each pair's loss is α · ln 2, in all four decimals that are logged."""
    import math

    first = next(entry for entry in history(trained) if "loss" in entry)
    names = json.loads((trained / "training" / "order.jsonl").read_text().splitlines()[0])["ids"]
    weights = {pair.sample.id: pair.alpha for pair in made_pairs(24)}
    assert first["loss"] == pytest.approx(sum(weights[n] for n in names) / len(names) * math.log(2), abs=1e-4)


def test_nothing_but_unusable_pairs_is_an_error(tmp_path: Path, policies: str) -> None:
    file = write_training_file(tmp_path / "p.json", [replace(p, rejected=p.chosen) for p in made_pairs(3)])
    with pytest.raises(DataError, match=r"no pair to train on: 3 rows left out .both answers are the same."):
        hs_dpo(policies=policies).train(read_training_file(file), tmp_path / "out")


@pytest.mark.parametrize("alpha", [0, -1, "high", None, float("inf")])
def test_a_weight_that_is_no_number_above_0_is_an_error_with_its_row(tmp_path: Path, alpha: Any) -> None:
    rows = [{**p.to_row(), "alpha": alpha} for p in made_pairs(1)]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="row 1: alpha"):
        read_training_file(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"beta": 0.0}, "beta=0.0"),
        ({"sft_weight": -1.0}, "sft_weight"),
        ({"k": 1}, "k=1"),
        ({"gamma": 1.0}, "gamma"),
        ({"held_out": 1.0}, "held_out"),
        ({"temperature": 0.0}, "temperature"),
        ({"pair": "shortest"}, "longest, random"),
    ],
)
def test_impossible_options_are_refused(option: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        hs_dpo(**option)


def test_a_model_from_nothing_has_nothing_to_draw(tmp_path: Path, policies: str) -> None:
    file = trace_file(tmp_path / "t.json", 4, 1)
    with pytest.raises(ConfigError, match="no answers to draw"):
        hs_dpo(policies=policies).train(read_training_file(file), tmp_path / "out")


# ---- drawn by the model itself, killed, gone on ----


def command(folder: Path, out: str, *more: str) -> list[str]:
    words = ["train", "hs_dpo", "--data", "more.json", "--policies", "policies", "--out", out, "--cache", "cache.sqlite"]
    return [sys.executable, "-m", "guardeval", *words, "--lr", "1e-3", "--batch", "2", "--temperature", "1.2", *more]


def run(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_kill_9_in_the_middle_goes_on_with_the_same_pairs_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    """From a full parent, then from the adapter that this made: there the reference is the parent's adapter."""
    trace_file(tmp_path / "traces.json", 240, 0)
    trace_file(tmp_path / "more.json", 60, 12, seed=5)
    short_policies(tmp_path / "policies")
    base = [
        "train",
        "rsft",
        "--data",
        "traces.json",
        "--policies",
        "policies",
        "--out",
        "base",
        "--lr",
        "5e-3",
        "--epochs",
        "3",
    ]
    run(tmp_path, [sys.executable, "-m", "guardeval", *base])
    run(tmp_path, command(tmp_path, "first", "--model", "base", "--save", "adapter"))
    assert (tmp_path / "first" / "adapter_model.safetensors").is_file()

    going = ("--model", "first", "--save", "adapter", "--save_steps", "1", "--epochs", "6")
    with subprocess.Popen(command(tmp_path, "killed", *going), cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while not list((tmp_path / "killed" / "training").glob("checkpoint-*/whole.json")):
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "killed" / "guardeval-model.yaml").exists()
    before = (tmp_path / "killed" / "dpo_pairs.json").read_bytes()
    (tmp_path / "cache.sqlite").unlink()
    again = run(tmp_path, command(tmp_path, "killed", *going))
    assert "drawing" not in again.stderr and "going on after step" in again.stderr
    run(tmp_path, command(tmp_path, "whole", *going))
    assert (tmp_path / "killed" / "dpo_pairs.json").read_bytes() == before
    for name in ("training/order.jsonl", "adapter_model.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
