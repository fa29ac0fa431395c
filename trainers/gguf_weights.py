"""A Llama's settings and weights as GGUF holds them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guardeval.errors import ModelUnusable

__all__ = ["PRECISIONS", "add_settings", "add_weights", "check_supported"]

PRECISIONS = ("f32", "f16", "q8_0", "q4_0")
Array = NDArray[Any]
_BLOCK = 32  # weights of a row that share a scale
_ROPES = (None, "default", "linear", "llama3")
_PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def check_supported(name: str, config: Mapping[str, Any]) -> None:
    """Raises :class:`ModelUnusable` for another architecture, or a setting of Llama's that is not written here."""
    kind = config.get("model_type")
    odd = [k for k in ("attention_bias", "mlp_bias") if config.get(k)]
    rope = _rope(config).get("rope_type")
    why = None
    if kind != "llama":
        why = f"it is a {kind}, and Llama is the architecture that is written here"
    elif odd:
        why = f"it has {' and '.join(odd)}"
    elif config.get("hidden_act", "silu") != "silu":
        why = f"its activation is {config['hidden_act']}"
    elif rope not in _ROPES:
        why = f"its positions are of kind {rope}"
    if why:
        raise ModelUnusable(
            f"{name}: cannot be written as GGUF: {why}; use `guardeval optimize onnx` or int8, or llama.cpp's own converter"
        )


def add_settings(writer: Any, config: Mapping[str, Any], precision: str, name: str) -> None:
    import gguf

    kinds = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0", "q4_0": "MOSTLY_Q4_0"}
    writer.add_name(name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(_kv_heads(config))
    writer.add_key_length(_head(config))
    writer.add_value_length(_head(config))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_freq_base(_rope(config)["rope_theta"])
    writer.add_rope_dimension_count(_head(config))
    writer.add_file_type(getattr(gguf.LlamaFileType, kinds[precision]))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if _rope(config).get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(_rope(config)["factor"]))


def add_weights(writer: Any, config: Mapping[str, Any], weights: Mapping[str, Array], precision: str) -> None:
    """All tensors: matrices in ``precision``, vectors in float32; embeddings and logits never below 8 bits."""
    import gguf
    from gguf import quants

    for name, array in _tensors(config, weights):
        kind = _kind_of(name, array, precision)
        data = quants.quantize(np.ascontiguousarray(array, np.float32), getattr(gguf.GGMLQuantizationType, kind))
        writer.add_tensor(name, data, raw_dtype=getattr(gguf.GGMLQuantizationType, kind))


def _kind_of(name: str, array: Array, precision: str) -> str:
    if array.ndim < 2 or precision == "f32":
        return "F32"
    if precision == "f16" or array.shape[-1] % _BLOCK:  # rows that make no whole blocks
        return "F16"
    return "Q8_0" if precision == "q8_0" or name in ("token_embd.weight", "output.weight") else "Q4_0"


def _tensors(config: Mapping[str, Any], weights: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    yield "token_embd.weight", weights["model.embed_tokens.weight"]
    yield "output_norm.weight", weights["model.norm.weight"]
    if not config.get("tie_word_embeddings"):
        yield "output.weight", weights["lm_head.weight"]
    if _rope(config).get("rope_type") == "llama3":
        yield "rope_freqs.weight", _frequency_factors(config)
    turned = {"self_attn.q_proj": config["num_attention_heads"], "self_attn.k_proj": _kv_heads(config)}
    for layer in range(config["num_hidden_layers"]):
        for ours, theirs in _PARTS.items():
            array = weights[f"model.layers.{layer}.{ours}.weight"]
            yield f"blk.{layer}.{theirs}.weight", _interleaved(array, turned[ours]) if ours in turned else array


def _interleaved(array: Array, heads: int) -> Array:
    """transformers keeps the two halves of a rotation apart, ggml side by side."""
    split = array.reshape(heads, 2, array.shape[0] // heads // 2, array.shape[1])
    return split.swapaxes(1, 2).reshape(array.shape)


def _frequency_factors(config: Mapping[str, Any]) -> Array:
    """By how much Llama 3 slows each rotation: long waves by ``factor``, short ones not at all, those between smoothly."""
    rope, size = _rope(config), _head(config)
    frequencies = 1.0 / rope["rope_theta"] ** (np.arange(0, size, 2) / size)
    waves = 2 * math.pi / frequencies
    low, high, factor = (float(rope[k]) for k in ("low_freq_factor", "high_freq_factor", "factor"))
    known = float(rope["original_max_position_embeddings"])
    smooth = (known / waves - low) / (high - low)
    between = 1.0 / ((1 - smooth) / factor + smooth)
    factors = np.where(waves < known / high, 1.0, np.where(waves > known / low, factor, between))
    return factors.astype(np.float32)


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """transformers 4 keeps the base apart and calls the rest rope_scaling, 5 has it all in rope_parameters."""
    given = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    given.setdefault("rope_type", given.get("type"))
    given.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    return given


def _kv_heads(config: Mapping[str, Any]) -> int:
    return int(config.get("num_key_value_heads") or config["num_attention_heads"])


def _head(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
