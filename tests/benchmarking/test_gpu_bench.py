"""The benchmark for graphics cards, in miniature on the CPU: its code must work on the day when there is a card."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest

from guardeval.registry import Registry

pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def bench_gpu():
    path = Path(__file__).parent.parent / "bench" / "bench_gpu.py"
    spec = importlib.util.spec_from_file_location("bench_gpu", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_gpu"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench_gpu"]


def test_both_ways_of_generating_write_the_same_texts_of_full_length(bench_gpu, tmp_path):
    shape = bench_gpu.SHAPES["miniature"]
    size = bench_gpu.write_model(tmp_path, shape, [r.prompt.as_text() for r in bench_gpu.requests()])
    best, ours, same, n = bench_gpu.generation(tmp_path, shape, {"device": "cpu", "dtype": "float32"})
    assert size < 1e6
    assert (same, n) == (shape.prompts, shape.prompts)
    assert best > 0
    assert ours > 0


def test_traces_are_read_as_their_labels(bench_gpu):
    from guardeval.policies import load_policies
    from guardeval.training_text import answer_of

    rows = bench_gpu.traces()
    solver, policies = Registry().build("solvers", "multistep"), load_policies("minimal")
    assert len(rows) > 50
    assert all(answer_of(t, solver, policies)[1] for t in rows[:20])


@pytest.mark.slow
def test_steps_a_second_are_those_of_a_real_training(bench_gpu, tmp_path):
    shape = bench_gpu.SHAPES["miniature"]
    bench_gpu.write_model(tmp_path / "model", shape, [r.prompt.as_text() for r in bench_gpu.requests()])
    steps = bench_gpu.training(tmp_path / "model", shape, {"device": "cpu", "dtype": "float32"}, tmp_path)
    if "rsft" not in Registry().entries("trainers"):
        assert math.isnan(steps)
        pytest.skip("no trainer rsft is installed")
    assert steps > 0 or math.isnan(steps)  # on a busy machine six steps may take no longer than one
    assert {p.name for p in tmp_path.glob("trained-*")} == {f"trained-{n}" for n in shape.steps}


def test_what_was_measured_is_said_and_what_was_not_is_no_number(bench_gpu):
    lines = list(bench_gpu.Speeds(1_240_000_000, 100.0, 250.0, 3, 4, math.nan).lines())
    assert lines[0] == "1,240 M parameters"
    assert "2.50 x, 3 of 4 texts equal" in lines[1]
    assert lines[2].startswith("LoRA R-SFT: n/a: ")
