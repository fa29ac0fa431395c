"""Tokens a second of the ``hf`` backend beside lm-eval's ``hf``, in one process, on a made-up model and made-up words.

    OMP_NUM_THREADS=1 python tests/bench/bench_hf.py                 # 52 M parameters, float32, CPU: takes minutes
    python tests/bench/bench_hf.py --device cuda --dtype bfloat16 --hidden 2048 --layers 24    # about a billion parameters

About 600 tokens are shared by all prompts, about 60 are each prompt's own, 64 are written. Weights are random; the
tokens that end an answer are never the most likely, so every answer has its full length. The reference runs on
``--reference`` of the prompts, the better of its two batch sizes counts.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from guardeval.contracts import Frame, Prompt, Request, Sampling
from guardeval.plugins.hf import HF
from guardeval.testing import a_case


def words(rng: random.Random, n: int = 1500) -> list[str]:
    syllables = [a + b for a in "bdfghklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "el", "or")]
    return ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(n)]


def write_model(folder: Path, hidden: int, layers: int) -> None:
    """A Qwen3 with random weights and a tokenizer trained on the made-up words."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    rng = random.Random(0)
    known = words(rng)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=["<pad>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(rng.choices(known, k=60)) for _ in range(300)], trainer)
    names = ["input_ids", "attention_mask"]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", model_input_names=names
    ).save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=16384,
        hidden_size=hidden,
        intermediate_size=int(hidden * 2.75),
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 128,
        head_dim=64,
        max_position_embeddings=2048,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 0.06)
        model.lm_head.weight[tokenizer.get_vocab_size() :] = 0
        model.lm_head.weight[:2] = 0
    model.save_pretrained(folder)


def reference_model(folder: str, guard: HF) -> tuple[Any, Any]:
    """The same model on the same device, for lm-eval."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = getattr(torch, str(guard.identity["dtype"]))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(guard.device or "cpu").eval()
    return model, AutoTokenizer.from_pretrained(folder)


def timed(run: Callable[[], Sequence[str]]) -> tuple[list[str], float]:
    started = time.perf_counter()
    out = list(run())
    return out, time.perf_counter() - started


def lm_eval(model: Any, tokenizer: Any, prompts: Sequence[str], batch: int, new: int) -> list[str]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    backend = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, max_length=2048)
    settings = {"until": ["Policies: none\n\n"], "do_sample": False, "max_gen_toks": new}
    asked = [Instance("generate_until", doc={}, arguments=(p, settings), idx=0) for p in prompts]
    return list(backend.generate_until(asked, disable_tqdm=True))


def measure(n: int = 200, reference: int = 200, new: int = 64, hidden: int = 512, layers: int = 12, **where: Any) -> float:
    """Print tokens a second and the share of equal texts; return the ratio to the reference's best."""
    rng = random.Random(1)
    known = words(rng)
    frame = Frame(" ".join(rng.choices(known, k=290)) + " case ", raw=True)
    prompts = [Prompt(frame, f"{i} " + " ".join(rng.choices(known, k=rng.randint(15, 30)))) for i in range(n)]
    sampling = Sampling(max_tokens=new, stop=("Policies: none\n\n",))
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), hidden, layers)
        guard = HF(folder, max_length=2048, **where)
        model, tokenizer = reference_model(folder, guard)
        texts = [p.as_text() for p in prompts]
        lengths = [len(tokenizer(t).input_ids) for t in texts]
        shared = len(tokenizer(frame.before).input_ids)
        size = sum(p.numel() for p in model.parameters()) / 1e6
        print(f"{size:.0f} M parameters, {model.dtype}, {model.device}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}")
        print(f"{n} prompts of {min(lengths)}-{max(lengths)} tokens, about {shared} shared, {new} written")
        best, said = 0.0, list[str]()
        for batch in (8, 16):
            out, seconds = timed(lambda b=batch: lm_eval(model, tokenizer, texts[:reference], b, new))
            print(f"lm-eval hf, batch {batch:2d}, {len(out)} prompts: {len(out) * new / seconds:6.1f} tokens/s")
            best, said = max(best, len(out) * new / seconds), out
        print(f"guardeval hf shares beginnings: {guard.plain_because or 'yes'}")
        requests = [Request(p, a_case(), sampling) for p in prompts]
        parts = [requests[i : i + guard.batch] for i in range(0, n, guard.batch)]
        out, seconds = timed(lambda: [c.text for part in parts for c in guard.generate_batch(part)])
    same = sum(a == b for a, b in zip(said, out, strict=False))
    ratio = n * new / seconds / best
    print(f"guardeval hf, batch {guard.batch}: {n * new / seconds:6.1f} tokens/s, {ratio:.2f} x the reference's best")
    print(f"identical text: {same} of {len(said)}")
    return ratio


@pytest.mark.bench
def test_the_hf_backend_beside_lm_evals() -> None:
    pytest.importorskip("lm_eval")
    assert measure() > 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("n", 200), ("reference", 200), ("new", 64), ("hidden", 512), ("layers", 12), ("batch", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    measure(**vars(parser.parse_args()))
