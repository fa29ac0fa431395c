"""Acceptance: ONNX int8 of the tiny model writes the text that the model wrote before, without torch."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from guardeval.contracts import Frame, Prompt, Request, Sampling
from guardeval.registry import Registry
from guardeval.testing import a_case
from guardeval.training_text import request_of

pytest.importorskip("optimum.exporters.onnx")
RUN = """
import json, sys
from guardeval.contracts import Prompt, Request, Sampling
from guardeval.models import ModelSpec, build_model
from guardeval.registry import Registry
from guardeval.testing import a_case
from guardeval.training_text import request_of
solver, model = Registry().build("solvers", "direct"), build_model(ModelSpec(sys.argv[1]), Registry())
texts = json.load(sys.stdin)
said = model.generate_batch([request_of(solver, a_case(prompt=text)) for text in texts])
print(json.dumps({"texts": [c.text for c in said], "heavy": sorted({"torch", "transformers"} & set(sys.modules))}))
"""


@pytest.mark.parametrize("optimizer", ["int8", "int4"])
def test_greedy_text_is_kept_on_98_of_100_prompts_without_torch(tiny_model_dir: Path, tmp_path: Path, optimizer: str) -> None:
    from tiny_model import ANSWERS, a_text

    rng = random.Random(41)
    texts = [a_text(rng, rng.choice(list(ANSWERS))) for _ in range(200)]
    solver = Registry().build("solvers", "direct")
    before = Registry().build("models", "hf", {"model": str(tiny_model_dir), "device": "cpu"})
    said = [c.text for c in before.generate_batch([request_of(solver, a_case(prompt=t)) for t in texts])]
    folder = Registry().build("optimizers", optimizer, {"runtime": "onnxruntime"}).optimize(tiny_model_dir, tmp_path / "small")
    command = [sys.executable, "-c", RUN, str(folder)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = json.loads(done.stdout)
    assert after["heavy"] == []
    assert len(set(said)) == 3  # all the answers that it was taught
    same = sum(a == b for a, b in zip(said, after["texts"], strict=True))
    assert same / len(texts) >= 0.98
    assert (folder / "model.onnx").stat().st_size < 0.75 * (tiny_model_dir / "model.safetensors").stat().st_size


def test_an_exported_model_becomes_int8_too(exported: Path, tmp_path: Path) -> None:
    folder = Registry().build("optimizers", "int8", {"runtime": "onnxruntime"}).optimize(exported, tmp_path / "small")
    model = Registry().build("models", "onnx", {"model": str(folder), "threads": 1})
    prompt = Prompt(Frame("", raw=True), "chess")
    assert model.generate_batch([Request(prompt, a_case(), Sampling(max_tokens=4))])[0].tokens_out
    assert (folder / "model.onnx").stat().st_size < 0.6 * (exported / "model.onnx").stat().st_size
