"""Size and speed of a model before and after each optimizer, side by side, on a made-up model and made-up words.

    OMP_NUM_THREADS=1 python tests/bench/bench_optimize.py                # 14 M parameters: a minute or two on a CPU
    OMP_NUM_THREADS=1 python tests/bench/bench_optimize.py --hidden 512 --layers 12

Weights are random, so only speed and size say something here: about 300 tokens are shared by all prompts, about 60 are each
prompt's own, ``--new`` are written. One query at a time, then all in batches.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from guardeval.contracts import Frame, Prompt, Request, Sampling
from guardeval.models import ModelSpec, build_model
from guardeval.optimizing import built
from guardeval.optimizing_check import size_of
from guardeval.registry import Registry
from guardeval.testing import a_case

sys.path.insert(0, str(Path(__file__).resolve().parent))


def prompts_of(n: int, new: int) -> list[Request]:
    from bench_hf import words

    rng, known = random.Random(1), words(random.Random(0))
    frame = Frame(" ".join(rng.choices(known, k=150)) + " case: ", " answer:", raw=True)
    sampling = Sampling(max_tokens=new)
    texts = [" ".join(rng.choices(known, k=30)) for _ in range(n)]
    return [Request(Prompt(frame, text), a_case(prompt=text), sampling) for text in texts]


def measured(model: Any, requests: Sequence[Request]) -> tuple[float, float, float, list[str]]:
    """Milliseconds of single queries (median, 95th percentile of 20), tokens a second in batches, and the texts."""
    model.generate_batch(requests[:1])
    single = []
    for request in requests[:20]:
        started = time.perf_counter()
        model.generate_batch([request])
        single.append((time.perf_counter() - started) * 1000)
    started = time.perf_counter()
    said = [c for i in range(0, len(requests), model.batch) for c in model.generate_batch(requests[i : i + model.batch])]
    took = time.perf_counter() - started
    single.sort()
    rate = sum(c.tokens_out or 0 for c in said) / took
    return single[len(single) // 2], single[int(len(single) * 0.95)], rate, [c.text for c in said]


def measure(hidden: int = 256, layers: int = 6, n: int = 48, new: int = 32) -> dict[str, float]:
    """Prints the table; returns tokens a second by name."""
    from bench_hf import write_model

    requests, out = prompts_of(n, new), dict[str, float]()
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "model"
        base.mkdir()
        write_model(base, hidden, layers)
        print(f"{'':8} {'bytes':>12} {'ms p50':>8} {'ms p95':>8} {'tokens/s':>9}  same text")
        first: list[str] = []
        for name in ("before", "onnx", "int8", "int4"):
            folder = base
            if name != "before":
                options = {} if name == "onnx" else {"runtime": "onnxruntime"}
                folder = Registry().build("optimizers", name, options).optimize(base, Path(scratch) / name)
            model: Any = built(base) if name == "before" else build_model(ModelSpec(str(folder), {"batch": 32}), Registry())
            p50, p95, out[name], said = measured(model, requests)
            first = first or said
            same = sum(a == b for a, b in zip(first, said, strict=True))
            print(f"{name:8} {size_of(folder) or 0:12,} {p50:8.1f} {p95:8.1f} {out[name]:9.0f}  {same} of {n}", flush=True)
    return out


@pytest.mark.bench
def test_optimised_models_beside_the_one_they_were_made_from() -> None:
    pytest.importorskip("optimum.exporters.onnx")
    assert all(rate > 0 for rate in measure().values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, default in (("hidden", 256), ("layers", 6), ("n", 48), ("new", 32)):
        parser.add_argument(f"--{flag}", type=int, default=default)
    measure(**vars(parser.parse_args()))
