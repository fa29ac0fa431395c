"""A Llama with weights set by hand, made in a second: a word in the prompt decides what it answers, well-formed or not.

One layer attends to all tokens alike, so the mean tells which of a few words the prompt holds: one that says who asks (each
solver's prompt has its own), and one of the markers. The two choose the first piece of an answer; each piece has one
successor. Every piece is a token of its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from guardeval.contracts import Case, Prompt, Traits
from guardeval.data import Sample, Target
from guardeval.interop.one_request import only_request
from guardeval.policies import load_policies
from guardeval.registry import Registry

__all__ = ["ANSWERS", "CHAT", "MARKERS", "SOLVERS", "made", "rows"]

MARKERS = ("bread", "trespass", "brawl", "riddle")
CHAT = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_STEPS = "Intent: asks.\nHarms: {0}.\nPolicy: {0}.\n"
_AGAIN = "Once more, and more.\n"  # followed by itself
ANSWERS: Mapping[str, tuple[tuple[str, ...], ...]] = {  # solver → pieces of the answer to each marker
    "direct": (
        ("Decision: unharmful\nPolicies: none",),
        ("Decision: harmful\n", "Policies: illegal"),
        ("Decision: harmful or not",),
        ("I cannot tell.", _AGAIN),
    ),
    "multistep": (
        (_STEPS.format("none"), "Decision: unharmful\nPolicies: none\n", "On second thought:\n", "Decision: harmful\nPolicies: violence\n"),
        (_STEPS.format("some"), "Decision: harmful\nPolicies: illegal\n", _AGAIN),
        (_STEPS.format("a brawl"), "Decision: maybe\n", "Policies: violence"),
        ("Intent: a riddle.\n", _AGAIN),
    ),
    "guardreasoner": (
        ("Answers:\nRequest: unharmful\n", "Completion: refusal\nResponse: unharmful"),
        ("Reasoning Step 1: harmful.\n", "Answers:\nRequest: harmful\n", "Completion: refusal\nResponse: harmful\n"),
        ("Request: harmful",),
        ("Answers: none\n", _AGAIN),
    ),
}  # fmt: skip
SOLVERS = tuple(ANSWERS)
_SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
_FILL = "please help me write a short letter about the garden train music winter holiday school chess paint river".split()
_WIDTH, _CONTEXT = 96, 4096


def rows(n: int, seed: int = 5) -> list[dict[str, Any]]:
    """Rows of a task, a marker in each, by turns; what is unharmful for most of them is not for some."""
    rng = random.Random(seed)
    out = []
    for i in range(n):
        words = rng.choices(_FILL, k=rng.randint(3, 10))
        words.insert(rng.randrange(len(words) + 1), MARKERS[i % 4])
        out.append({"text": " ".join(words), "label": int((i % 4 != 0) ^ (rng.random() < 0.3))})
    return out


def made(folder: Path, policies: Path) -> Path:
    """Save model and tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    prompts = {name: _prompt(name, policies).last for name in SOLVERS}
    known = {name: _word_of(name, prompts) for name in SOLVERS}
    pieces = list(dict.fromkeys(p for answers in ANSWERS.values() for pieces in answers for p in pieces))
    tokenizer = _tokenizer(prompts.values(), [*known.values(), *MARKERS, *pieces])
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=_WIDTH, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
            num_key_value_heads=1, max_position_embeddings=_CONTEXT, pad_token_id=0, eos_token_id=1, bos_token_id=None,
            tie_word_embeddings=False,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        _set(model, tokenizer, known, pieces)
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _set(model: Any, tokenizer: Any, known: Mapping[str, str], pieces: list[str]) -> None:
    """Dimension 0 is 1 everywhere; a word that is looked for has one of its own, its mean another; a piece has one."""
    looked = [*known.values(), *MARKERS]
    ids = {text: tokenizer.convert_tokens_to_ids(text) for text in (*looked, *pieces)}
    embed, layer, head = model.model.embed_tokens.weight, model.model.layers[0], model.lm_head.weight
    for weight in (embed, head, *(p for n, p in layer.named_parameters() if "norm" not in n)):
        weight.zero_()
    embed[:, 0] = 1.0
    mean, piece = 1 + len(looked), 1 + 2 * len(looked)
    for i, word in enumerate(looked):
        embed[ids[word], 1 + i] = 1.0
        layer.self_attn.v_proj.weight[1 + i, 1 + i] = 1.0
        layer.self_attn.o_proj.weight[mean + i, 1 + i] = 1e3
    for i, text in enumerate(pieces):
        embed[ids[text], piece + i] = 1e6  # where the answer goes on, the prompt has no say
    for s, answers in enumerate(ANSWERS.values()):
        for m, chain in enumerate(answers):
            head[ids[chain[0]], mean + s] += 1.0
            head[ids[chain[0]], mean + len(known) + m] += 1.0
            for text, after in pairwise(chain):
                head[ids[after], piece + pieces.index(text)] = 1e3
            last = chain[-1]
            head[ids[last] if last == _AGAIN else 1, piece + pieces.index(last)] = 1e3


def _prompt(name: str, policies: Path) -> Prompt:
    case = Case(Sample("0", 0, "please"), Target.PROMPT, load_policies(policies))
    return only_request(Registry().build("solvers", name), case, Traits(raw=True)).prompt


def _word_of(name: str, prompts: Mapping[str, str]) -> str:
    """The longest word that only this solver's prompt holds, as a word and as part of one."""
    others = [text for other, text in prompts.items() if other != name]
    own = [w for w in re.findall(r"[A-Za-z]{5,}", prompts[name]) if not any(w in text for text in others)]
    return max(own, key=lambda w: (len(w), w))


def _tokenizer(corpus: Any, whole: list[str]) -> Any:
    from tokenizers import AddedToken, ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(corpus, vocab_size=1024, min_frequency=1, special_tokens=list(_SPECIAL), show_progress=False)
    bpe._tokenizer.add_tokens([AddedToken(text, normalized=False) for text in dict.fromkeys(whole)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, pad_token="<|pad|>", eos_token="<|end|>", additional_special_tokens=list(_SPECIAL[2:]),
        model_max_length=_CONTEXT, padding_side="left", clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    tokenizer.chat_template = CHAT
    return tokenizer
