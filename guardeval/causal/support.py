"""Which models may share a beginning: told from the configuration, then tried on a few tokens."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from guardeval.causal.batch import SharedBatch, switched
from guardeval.causal.loading import is_out_of_memory
from guardeval.causal.prefix import Prefixes

__all__ = ["why_plain"]

_REFUSALS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError)  # of unknown architectures
_ROPES = {"default", "linear", "llama3", "yarn"}  # the others turn with the length of the whole batch


def why_plain(model: PreTrainedModel) -> str | None:
    """Why this model must go the plain way; None where shared-prefix attention gives what its own attention gives."""
    return next(_told(model), None) or _tried(model)


def _told(model: PreTrainedModel) -> Iterator[str]:
    """Reasons found in the configuration: every token must see all earlier ones, by position alone."""
    config: Any = model.config.get_text_config(decoder=True)
    if model.config.is_encoder_decoder:
        yield "an encoder and a decoder"
    if not getattr(model, "_supports_attention_backend", False):
        yield f"{type(model).__name__} has an attention of its own"
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        yield f"{type(model).__name__} computes logits for all tokens"
    other = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention"})
    if other:
        yield f"layers of {', '.join(other)}"
    if not getattr(config, "layer_types", None) and getattr(config, "sliding_window", None):
        yield "a sliding window"
    for name in ("attn_logit_softcapping", "attention_chunk_size", "alibi", "position_embedding_type"):
        if getattr(config, name, None) not in (None, False, "absolute"):
            yield f"{name}={getattr(config, name)}"
    odd = sorted(_ropes(config) - _ROPES)
    if odd:
        yield f"positions of kind {', '.join(odd)}"
    if len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1:
        yield "layers on several devices"


def _ropes(config: Any) -> set[str]:
    """Kinds of rotary positions; transformers 4 calls the setting rope_scaling, 5 rope_parameters (also by layer type)."""
    given = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    settings = [given, *(v for v in given.values() if isinstance(v, Mapping))]
    return {str(kind) for s in settings if (kind := s.get("rope_type") or s.get("type"))}


@torch.inference_mode()
def _tried(model: PreTrainedModel) -> str | None:
    """Compare logits of both ways on a made-up batch: unequal lengths, a shared beginning, one step after the prompt."""
    generator = torch.Generator().manual_seed(0)
    embeddings: Any = model.get_input_embeddings()
    size = int(embeddings.weight.shape[0])
    ids = torch.randint(size, (24,), generator=generator).tolist()
    prompts, after = [ids[:24], ids[:16] + ids[5:8]], [ids[3], ids[4]]
    try:
        length, layers = Prefixes(model, keep=1).get(ids[:16])
        batch = SharedBatch(model, prompts, [(length, layers)] * 2)
        with switched(model):
            shared = torch.cat([batch.read(), batch.step(after)]).float()
        whole = [*prompts, *([*p, t] for p, t in zip(prompts, after, strict=True))]
        plain = torch.cat([model(torch.tensor([p], device=model.device)).logits[:, -1] for p in whole]).float()
    except _REFUSALS as e:
        if is_out_of_memory(e):
            raise
        return f"{type(e).__name__}: {e}".splitlines()[0]
    layers_asked, there = batch.layers_seen, model.config.get_text_config(decoder=True).num_hidden_layers
    if layers_asked != there:
        return f"only {layers_asked} of {there} layers ask for attention in the known way"
    apart, limit = (shared - plain).abs().max().item(), plain.abs().max().item()
    if not apart <= limit * (1e-3 if model.dtype == torch.float32 else 0.06):
        return f"logits differ by {apart:.3g}"
    return None
