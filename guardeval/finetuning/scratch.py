"""A tiny Llama from nothing, tokenizer and all: a stand-in for tests and demonstrations that learns to talk like a guard."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from guardeval.errors import needs_extra

__all__ = ["NOTICE", "make_scratch", "scratch_config"]

NOTICE = "a tiny model trained from nothing: a stand-in for tests and demonstrations, not a guard"

_SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
_CHAT = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_VOCABULARY = 2048
_HEAD = 16  # width of an attention head


def make_scratch(
    folder: Path, texts: Iterable[str], width: int, depth: int, context: int, seed: int, tokenizer: Any = None
) -> Path:
    """Random weights and a tokenizer learned from ``texts``, saved as transformers does; equal texts give equal files.

    ``tokenizer``: one to be used instead, such as a teacher's.
    """
    with needs_extra("train"):
        import torch
        import transformers

    library: Any = transformers
    tokenizer = _tokenizer(texts, context) if tokenizer is None else tokenizer
    config = scratch_config(width, depth, context, len(tokenizer))
    config.pad_token_id, config.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = library.LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def scratch_config(width: int, depth: int, context: int, vocabulary: int = _VOCABULARY) -> Any:
    """A Llama with heads of 16 and a head for each two queries."""
    with needs_extra("train"):
        import transformers

    library: Any = transformers
    heads = width // _HEAD
    return library.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2 if heads % 2 == 0 else heads,
        max_position_embeddings=context,
        bos_token_id=None,
        tie_word_embeddings=True,
    )


def _tokenizer(texts: Iterable[str], context: int) -> Any:
    import transformers
    from tokenizers import ByteLevelBPETokenizer

    library: Any = transformers
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=_VOCABULARY, min_frequency=2, special_tokens=list(_SPECIAL), show_progress=False)
    tokenizer = library.PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,
        pad_token=_SPECIAL[0],
        eos_token=_SPECIAL[1],
        additional_special_tokens=list(_SPECIAL[2:]),
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],  # `generate` refuses token types
    )
    tokenizer.chat_template = _CHAT
    return tokenizer
