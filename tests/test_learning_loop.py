"""The learning loop as a user walks it, command by command: a model from nothing becomes a guard in a wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from learning_loop_support import World, lay_out

from guardeval.cli import main
from guardeval.exposure import fingerprint
from guardeval.model_folder import exposure_of
from guardeval.training_rows import Split, read_training_file

TRAIN, TEST = 150, 40
POLICIES = ("--policies", "policies")
QUICK = ("--batch", "4", "--scheduler", "linear", "--warmup_steps", "5")  # a tiny model learns to answer in 100 such steps


class Said(NamedTuple):
    code: int
    out: str
    err: str


class Desk:
    """``guardeval …`` in a folder of one's own, in this process; what each command took."""

    def __init__(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.world, self.capsys = world, capsys
        self.took: dict[str, float] = {}

    def __call__(self, *words: object) -> Said:
        self.capsys.readouterr()
        began = time.perf_counter()
        code = main([str(w) for w in words])
        name = " ".join(str(w) for w in words[: 2 if words[0] in ("train", "optimize", "models", "traces") else 1])
        self.took[name] = self.took.get(name, 0.0) + time.perf_counter() - began
        return Said(code, *self.capsys.readouterr())

    def done(self, *words: object) -> str:
        said = self(*words)
        assert said.code == 0, said.out + said.err
        return said.out

    def model(self, flag: str, name: str) -> tuple[str, ...]:
        """Words that name a model of the server."""
        return flag, f"openai_compatible/{name}", "-M", f"base_url={self.world.server.url}/v1"

    def show(self) -> None:
        with self.capsys.disabled():
            print("\n" + "\n".join(f"{name:20} {seconds:6.1f} s" for name, seconds in self.took.items()))


@pytest.fixture
def desk(tmp_path, monkeypatch, capsys) -> Iterator[Desk]:
    for needed in ("trl", "optimum.exporters.onnx", "onnxruntime", "datasketch", "setuptools"):
        pytest.importorskip(needed)
    import torch

    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    for name, value in {"OMP_NUM_THREADS": "1", "GUARDEVAL_CACHE": "cache.sqlite", "GUARDEVAL_CONFIG": "config"}.items():
        monkeypatch.setenv(name, value if name.startswith("OMP") else str(tmp_path / value))
    lay_out(tmp_path, TRAIN, TEST)
    world = World()
    with world.server:
        yield Desk(world, capsys)


def task(name: str) -> tuple[str, ...]:
    return ("--task", name, "--include_path", "tasks", "--data", f"tasks/{name}.jsonl")


def history(folder: str) -> list[dict[str, Any]]:
    return list(json.loads(Path(folder, "training", "history.json").read_bytes()))


def card(folder: str) -> dict[str, Any]:
    return dict(yaml.safe_load(Path(folder, "guardeval-model.yaml").read_bytes()))


def results(folder: str) -> dict[str, Any]:
    (found,) = Path(folder).glob("*/results_*.json")
    return dict(json.loads(found.read_bytes()))


def parse_rate(folder: str, when: str) -> float:
    return float(card(folder)["metrics"][when]["prompt_harmfulness"]["parse_rate"]["value"])


@pytest.mark.slow
def test_the_whole_loop_from_a_teachers_traces_to_a_guard_in_a_wheel(desk):
    data_is_made(desk)
    models_are_trained(desk)
    the_last_one_is_made_small(desk)
    it_runs_by_folder_and_knows_what_it_has_seen(desk)
    it_runs_by_name_in_another_environment(desk)
    desk.show()


def data_is_made(desk: Desk) -> None:
    traces = ("traces", *task("hamlet_train"), *POLICIES, *desk.model("--model", "teacher"), "-o", "traces.json")
    desk.done(*traces)
    assert "hamlet_train" in Path("traces.json").read_text() and desk.world.counts["teacher"] == TRAIN
    assert str(TRAIN) in desk.done("traces", "check", "traces.json", *POLICIES, "-o", "report")
    assert Path("report", "PHASE_3_DATA_QUALITY.md").is_file()

    guards = ("guard-strict", "guard-lax", "guard-true")
    for guard in guards:
        desk.done(
            "run", *task("hamlet_train"), *POLICIES, "--solver", "multistep", *desk.model("--model", guard), "-o", "guards"
        )
    desk.done("mine", *sorted(Path("guards").iterdir()), "--top", "0.4", "--pairs", "pairs.json", "-o", "hard.json")
    hard = json.loads(Path("hard.json").read_bytes())
    assert len(hard) == 60 and all(len({m["label"] for m in row["guardeval"]["members"].values()}) == 2 for row in hard)

    judges = (*desk.model("--verifier", "judge-a"), *desk.model("--verifier", "judge-b"))
    synthesize = (
        "synthesize", "--seeds", "hard.json", "-n", "30", *POLICIES, "--include_path", "tasks", "-o", "synthetic.json",
        "--against", "hamlet=tasks/hamlet.jsonl", *desk.model("--model", "writer"), *judges,
    )  # fmt: skip
    desk.done(*synthesize)
    made, asked = Path("synthetic.json").read_bytes(), desk.world.counts
    for again in (traces, synthesize):
        desk.done(*again)
    assert desk.world.counts == asked and Path("synthetic.json").read_bytes() == made

    against = ("--include_path", "tasks", "--against", "hamlet=tasks/hamlet.jsonl")
    desk.done("prepare", "traces.json", "synthetic.json", "pairs.json", *against, "-o", "prepared")
    rows = read_training_file("prepared/rsft_training_data.json")
    assert len(rows) == TRAIN + 30 and rows.of(Split.VALIDATION) and not rows.contaminated_with


def models_are_trained(desk: Desk) -> None:
    rows = ("--data", "prepared/rsft_training_data.json", *POLICIES, "--validation_limit", "30")
    asked = desk.world.counts
    desk.done("train", "rsft", "--model", "scratch", *rows, *QUICK, "--epochs", "5", "--lr", "8e-3", "--out", "rsft")
    metrics = card("rsft")["metrics"]
    assert metrics["validation"]["loss"] < metrics["before_training"]["loss"] / 5
    assert parse_rate("rsft", "before_training") <= 0.05 and parse_rate("rsft", "validation") >= 0.95

    pairs = ("--model", "rsft", "--data", "prepared/dpo_pairs.json", *POLICIES, "--validation_limit", "30")
    desk.done("train", "hs_dpo", *pairs, "--full", "true", "--lr", "2e-4", "--beta", "0.1", "--out", "dpo")
    held = [e["eval_rewards/margins"] for e in history("dpo") if "eval_rewards/margins" in e]
    trained = [e["rewards/margins"] for e in history("dpo") if "rewards/margins" in e]
    half = len(trained) // 2
    assert held[0] == pytest.approx(0.0, abs=1e-5)  # the reference is the model itself
    assert sum(trained[half:]) / len(trained[half:]) > sum(trained[:half]) / half

    distill = ("train", "distill", "--model", "scratch", "--teacher", "dpo", *rows, *QUICK, "--epochs", "5", "--lr", "8e-3")
    desk.done(*distill, "--out", "student")
    metrics = card("student")["metrics"]
    assert metrics["validation"]["loss"] < metrics["before_training"]["loss"] / 5
    assert parse_rate("student", "before_training") <= 0.05 and parse_rate("student", "validation") >= 0.95
    assert desk.world.counts == asked


def the_last_one_is_made_small(desk: Desk) -> None:
    """By the policies in its folder: no flag names them, and the user's own are out of the way."""
    Path("policies").rename("policies_elsewhere")
    for name, before in (("onnx", "student"), ("int8", "onnx")):
        done = desk.done("optimize", name, "--model", before, "--data", "prepared/rsft_training_data.json", "--out", name)
        assert "p50" in done and card(name)["check"]["parse_rate"][1] >= 0.95
    assert [p.name for p in sorted(Path("int8", "policies").iterdir())] == ["illegal.txt", "violence.txt"]
    assert sum(w["bytes"] for w in card("int8")["weights"]) < 0.7 * sum(w["bytes"] for w in card("onnx")["weights"])
    few = ("--n", "6", "--rounds", "1", "--concurrency", "1,2", "--batch", "4", "--lengths", "none")
    done = desk.done("bench", "--model", "int8", "--policies", "int8/policies", *task("hamlet"), *few, "-o", "bench")
    assert "a stand-in for tests and demonstrations" in " ".join(done.split())  # what the card must say of the model
    assert json.loads(Path("bench", "bench.json").read_bytes())["models"]


def it_runs_by_folder_and_knows_what_it_has_seen(desk: Desk) -> None:
    learned = {fingerprint(row.sample.prompt) for row in read_training_file("prepared/rsft_training_data.json")}
    seen = exposure_of(Path("int8"))
    assert seen is not None and seen.prompts >= learned
    done = desk.done("run", "--model", "./int8", *task("hamlet"), "-o", "held_out")
    assert "contaminated" not in done and "a stand-in for tests and demonstrations" in " ".join(done.split())
    measured = results("held_out")["results"]["hamlet"]
    assert measured["sample_len"] == TEST and measured["coverage"] >= 0.95
    done = desk.done("run", "--model", "./int8", *task("hamlet_train"), "--limit", "20", "-o", "learned")
    assert "contaminated: the model has seen 20 of 20 prompts" in " ".join(done.split())


def it_runs_by_name_in_another_environment(desk: Desk) -> None:
    """Installed without what trained it: a folder of packages in which the wheel is all that is new."""
    desk.done("models", "package", "int8", "--name", "hamlet-guard", "-o", "project")
    (wheel,) = Path("project", "dist").glob("*.whl")
    began = time.perf_counter()
    aside = Path("second").resolve()
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", aside, wheel)
    run = (
        sys.executable,
        "-m",
        "guardeval",
        "run",
        "--model",
        "hamlet-guard",
        *task("hamlet"),
        "--no_cache",
        "-q",
        "-o",
        "named",
    )
    for words in (pip, run):
        env = {**os.environ, "PYTHONPATH": str(aside)}
        said = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=env, check=False, timeout=120)
        assert said.returncode == 0, said.stdout + said.stderr
    desk.took["install, run by name"] = time.perf_counter() - began
    by_name, by_folder = (results(folder)["results"]["hamlet"] for folder in ("named", "held_out"))
    assert by_name["outcomes"] == by_folder["outcomes"] and by_name["accuracy,strict"] == by_folder["accuracy,strict"]
