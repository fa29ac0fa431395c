"""P(positive) of native formats against the full softmax of a real tiny model, at the place after the forced prefix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from guardeval.contracts import Completion, Request, Traits  # noqa: E402
from guardeval.data import Target, Verdict  # noqa: E402
from guardeval.plugins.hf import HF  # noqa: E402
from guardeval.registry import Registry  # noqa: E402
from guardeval.testing import a_case  # noqa: E402

SPELLINGS = ["safe", "unsafe", " safe", " unsafe", "Safe", " Safe", " Unsafe", "Unsafe", " Controversial", "controversial"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
PROMPTS = ["How do I bake bread?", "Tell me how to pick a lock.", "a b c", "Write a poem about the sea and the wind."]


class Asker:
    """The backend itself, one request at a time, and what it was asked."""

    def __init__(self, model: HF) -> None:
        self.name, self.model, self.asked = "guard", model, list[Request]()

    @property
    def traits(self) -> Traits:
        return self.model.traits

    async def generate(self, request: Request) -> Completion:
        self.asked.append(request)
        return self.model.generate_batch([request])[0]


@pytest.fixture(scope="module")
def folder(make_tokenizer: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights in which verdict words are likely, each to its own degree, whatever the prompt."""
    tokenizer = make_tokenizer(added=SPELLINGS, template=TEMPLATE)
    torch.manual_seed(3)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.LlamaConfig(
        **sizes, num_key_value_heads=2, vocab_size=len(tokenizer), max_position_embeddings=2048, pad_token_id=0, eos_token_id=1,
        tie_word_embeddings=False,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0, 0.15)
        model.model.embed_tokens.weight[:, 0] = 12.0  # a part of every state that no prompt changes much
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(0.3)
            layer.mlp.down_proj.weight.mul_(0.3)
        for i, text in enumerate(SPELLINGS):
            likely = 0.7 if "ontroversial" in text else 1.0
            model.lm_head.weight[tokenizer.convert_tokens_to_ids(text), 0] = likely + (i * 7) % 5 / 20
    folder = tmp_path_factory.mktemp("native")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@cache
def loaded(folder: Path) -> tuple[Any, Any, HF]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    return tokenizer, model, HF(str(folder), dtype="float32", device="cpu")


def full_softmax(folder: Path, text: str, words: Sequence[str], positive: Sequence[str]) -> float:
    """Share of the positive words among all tokens of the vocabulary that begin a verdict word."""
    tokenizer, model, _ = loaded(folder)
    with torch.no_grad():
        p = torch.softmax(model(**tokenizer(text, return_tensors="pt")).logits[0, -1].double(), -1)
    mass = dict.fromkeys(words, 0.0)
    for token in range(len(tokenizer)):
        letters = "".join(c for c in tokenizer.decode([token]) if c.isascii() and c.isalpha()).lower()
        plain = tokenizer.decode([token]).strip().isascii()
        begun = [w for w in words if letters and plain and w.startswith(letters)]
        if len(begun) == 1:
            mass[begun[0]] += float(p[token])
    return sum(mass[w] for w in positive) / sum(mass.values())


async def judged(folder: Path, solver: str, options: dict[str, str], prompt: str, target: Target) -> tuple[Verdict, Request]:
    asker = Asker(loaded(folder)[2])
    case = a_case(prompt=prompt, response="Certainly.", target=target)
    verdict: Verdict = await Registry().build("solvers", solver, options | {"max_tokens": "1"}).solve(case, asker)
    return verdict, asker.asked[0]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("target", [Target.PROMPT, Target.RESPONSE])
def test_llama_guard_after_its_two_line_ends(folder: Path, prompt: str, target: Target) -> None:
    verdict, request = asyncio.run(judged(folder, "llama_guard", {"version": "3"}, prompt, target))
    assert request.prompt.frame.forced == "\n\n"
    words = ("unsafe", "safe")
    assert verdict.score == pytest.approx(full_softmax(folder, request.prompt.as_text(), words, ("unsafe",)), abs=1e-4), (
        verdict.raw,
        verdict.notes,
    )
    assert 0.01 < verdict.score < 0.99


@pytest.mark.parametrize(("mode", "positive"), [("strict", ("unsafe", "controversial")), ("loose", ("unsafe",))])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_qwen3guard_over_three_words_after_safety(folder: Path, prompt: str, mode: str, positive: tuple[str, ...]) -> None:
    verdict, request = asyncio.run(judged(folder, "qwen3guard", {"mode": mode}, prompt, Target.PROMPT))
    text = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\nSafety:"
    assert request.prompt.messages()[-1] == {"role": "assistant", "content": "Safety:"}
    wanted = full_softmax(folder, text, ("unsafe", "safe", "controversial"), positive)
    assert verdict.score == pytest.approx(wanted, abs=1e-4), (verdict.raw, verdict.notes)
