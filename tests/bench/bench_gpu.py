"""LoRA R-SFT steps a second, and tokens a second of the ``hf`` backend beside transformers' plain ``generate``, on a GPU.

    pytest -m gpu -s tests/bench/bench_gpu.py                  # about a billion parameters, random weights, bfloat16
    python tests/bench/bench_gpu.py --shape miniature --device cpu --dtype float32     # the same code in seconds

Weights are random, so nothing is learned and nothing needs fetching; prompts are those that ``multistep`` makes of the
sample rows, beginnings shared as in any run. Training is timed as the difference of a long and a short one, so that loading
and saving, which both do, are not in it; a first one, which imports what is needed, counts for nothing. Tokens that end an answer are never the likeliest: answers have full length.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from guardeval.contracts import Case, Request
from guardeval.data import Step
from guardeval.plugins.hf import HF
from guardeval.policies import load_policies
from guardeval.registry import Registry
from guardeval.task import TaskIndex
from guardeval.training_rows import Trace, read_training_file, write_training_file
from guardeval.training_text import request_of

TRAINER = "rsft"
SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
CHAT = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """A configuration, and how much work it is given."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    inner: int
    vocabulary: int  # rows of the embedding; the tokenizer knows fewer
    prompts: int
    new: int  # tokens written
    batches: tuple[int, ...]
    steps: tuple[int, int]  # optimizer steps of the short and of the long training
    rows: int  # a step


SHAPES = {
    "billion": Shape(2048, 16, 32, 8, 8192, 65536, 256, 128, (16, 64), (5, 25), 8),
    "miniature": Shape(64, 2, 4, 2, 128, 4096, 6, 8, (2,), (1, 6), 2),
}


@dataclass(frozen=True)
class Speeds:
    """What was measured; ``steps`` is nan where training is not installed, or too short to be told from loading."""

    parameters: int
    plain: float  # tokens a second, the better batch size
    ours: float
    same: int  # equal texts among ``prompts``
    prompts: int
    steps: float  # optimizer steps a second

    def lines(self) -> Iterator[str]:
        yield f"{self.parameters / 1e6:,.0f} M parameters"
        yield (
            f"generation: guardeval hf {self.ours:,.1f} tokens/s, transformers generate {self.plain:,.1f}: "
            f"{self.ours / self.plain:.2f} x, {self.same} of {self.prompts} texts equal"
        )
        why = (
            "too short to be told from loading" if TRAINER in Registry().entries("trainers") else "no such trainer is installed"
        )
        yield f"LoRA R-SFT: {self.steps:.3f} steps/s" if self.steps == self.steps else f"LoRA R-SFT: n/a: {why}"


def requests() -> list[Request]:
    """One a sample row, as ``multistep`` asks."""
    task = TaskIndex().load("wildguard")
    solver, policies = Registry().build("solvers", "multistep"), load_policies("minimal")
    return [request_of(solver, Case(sample, task.target, policies)) for sample in task.open("sample")]


def traces() -> list[Trace]:
    """Made-up reasoning over the training sample: as long as a real trace."""
    task = TaskIndex().load("wildguard_train")
    said = "The text is short and plain, and what it asks for can be told from its words alone, so they decide this. " * 2
    steps = tuple(Step(name, said) for name in ("Intent", "Harms", "Policy"))
    return [
        Trace(s, task.target, s.labels[task.target], s.policies, steps, about={"task": "wildguard_train"})
        for s in task.open("sample")
        if task.target in s.labels
    ]


def write_model(folder: Path, shape: Shape, texts: Sequence[str]) -> int:
    """A Llama of random weights with a tokenizer of the prompts' own words; returns the number of parameters."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    size = min(shape.vocabulary, 4096)
    bpe.train_from_iterator(texts, vocab_size=size, min_frequency=1, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, pad_token="<|pad|>", eos_token="<|end|>", additional_special_tokens=list(SPECIAL[2:]),
        model_max_length=8192, padding_side="left", clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.inner, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.key_heads, max_position_embeddings=8192,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 0.06)
        model.lm_head.weight[len(tokenizer) :] = 0
        model.lm_head.weight[: len(SPECIAL)] = 0
    model.to(torch.bfloat16 if shape.hidden >= 1024 else torch.float32).save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def plain(folder: Path, asked: Sequence[Request], batch: int, new: int, where: dict[str, str]) -> tuple[list[str], float]:
    """Texts and seconds of ``generate`` in batches, prompts padded on the left; sorted by length, as one would."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, where["dtype"])).to(where["device"]).eval()
    texts = [tokenizer.apply_chat_template(r.prompt.messages(), tokenize=False, add_generation_prompt=True) for r in asked]
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    said = [""] * len(texts)
    parts = [order[i : i + batch] for i in range(0, len(order), batch)]

    def answer(part: Sequence[int]) -> None:
        rows = tokenizer([texts[i] for i in part], return_tensors="pt", padding=True, add_special_tokens=False).to(
            where["device"]
        )
        with torch.inference_mode():
            out = model.generate(**rows, max_new_tokens=new, do_sample=False)
        for i, ids in zip(part, out[:, rows["input_ids"].shape[1] :], strict=True):
            said[i] = tokenizer.decode(ids, skip_special_tokens=True)

    answer(parts[0])  # warm
    began = time.perf_counter()
    for part in parts:
        answer(part)
    return said, time.perf_counter() - began


def generation(folder: Path, shape: Shape, where: dict[str, str]) -> tuple[float, float, int, int]:
    """Tokens a second of ``generate`` (its better batch size) and of the backend, and how many texts are equal of how many."""
    from dataclasses import replace

    every = requests()
    asked = [
        replace(r, sampling=replace(r.sampling, max_tokens=shape.new, stop=(), top_logprobs=0), draw=0)
        for r in (every * -(-shape.prompts // len(every)))[: shape.prompts]
    ]
    best, texts = 0.0, list[str]()
    for batch in shape.batches:
        texts, seconds = plain(folder, asked, batch, shape.new, where)
        best = max(best, len(asked) * shape.new / seconds)
    guard = HF(str(folder), batch=max(shape.batches), device=where["device"], dtype=where["dtype"])  # type: ignore[arg-type]
    parts = [asked[i : i + guard.batch] for i in range(0, len(asked), guard.batch)]
    guard.generate_batch(parts[0])  # warm
    began = time.perf_counter()
    found = [c for part in parts for c in guard.generate_batch(part)]
    seconds = time.perf_counter() - began
    written = sum(c.tokens_out or 0 for c in found)
    same = sum(a.strip() == c.text.strip() for a, c in zip(texts, found, strict=True))
    return best, written / seconds, same, len(asked)


def training(folder: Path, shape: Shape, where: dict[str, str], out: Path) -> float:
    """Optimizer steps a second; nan where no trainer ``rsft`` is installed, and where the longer training took no longer."""
    registry = Registry()
    if TRAINER not in registry.entries("trainers"):
        return float("nan")
    file = read_training_file(write_training_file(out / "traces.json", traces()))
    took = []
    for steps in (shape.steps[0], *shape.steps):
        trainer = registry.build(
            "trainers", TRAINER,
            {"model": str(folder), "max_steps": steps, "epochs": 1000, "batch": shape.rows,
             "max_length": 8192, "qlora": "false", "save": "adapter", "fresh": True, **where},
        )  # fmt: skip
        began = time.perf_counter()
        trainer.train(file, out / f"trained-{steps}")
        took.append(time.perf_counter() - began)
    _, short, long = took
    return (shape.steps[1] - shape.steps[0]) / (long - short) if long > short else float("nan")


def measure(shape: Shape, device: str, dtype: str) -> Speeds:
    where = {"device": device, "dtype": dtype}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        size = write_model(folder, shape, [r.prompt.as_text() for r in requests()])
        best, ours, same, n = generation(folder, shape, where)
        return Speeds(size, best, ours, same, n, training(folder, shape, where, Path(name)))


@pytest.mark.gpu
def test_training_and_generation_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device is here")
    found = measure(SHAPES["billion"], "cuda", "bfloat16")
    with capsys.disabled():
        print("\n" + "\n".join([torch.cuda.get_device_name(0), *found.lines()]))
    assert 0.9e9 < found.parameters < 2e9
    assert found.ours > 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="billion")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    given = parser.parse_args()
    print("\n".join(measure(SHAPES[given.shape], given.device, given.dtype).lines()))
