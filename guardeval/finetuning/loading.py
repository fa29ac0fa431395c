"""The base in memory, ready to be trained: which precision, 4 bits or not, the parent's adapter put on."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardeval.causal.loading import explained, pick_device, pick_dtype, quiet
from guardeval.causal.source import Source
from guardeval.errors import ConfigError, needs_extra
from guardeval.finetuning.base import Base
from guardeval.finetuning.options import FineTuning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Placed", "load_base", "load_tokenizer", "lora_config", "merged_model", "place"]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where and how precisely a model is trained. ``four_bits``: the frozen base is quantised to nf4."""

    device: str
    dtype: str
    four_bits: bool

    @property
    def on_cpu(self) -> bool:
        return self.device.startswith("cpu")


def place(options: FineTuning) -> Placed:
    """Raises :class:`ConfigError` where 4 bits are asked for and cannot be had."""
    device = pick_device(options.device)
    dtype = pick_dtype(options.dtype, device)
    have = importlib.util.find_spec("bitsandbytes") is not None
    can = have and device.startswith("cuda") and not options.full and options.scratch is None
    if options.qlora == "true" and not can:
        why = (
            "the package bitsandbytes is not installed: pip install 'guardeval[quant]'"
            if not have
            else "a model from scratch is trained in full"
            if options.scratch
            else f"it needs a CUDA device, and this training runs on {device}"
        )
        raise ConfigError(f"qlora=true: {why}; or leave the option out, and the base stays in {dtype}")
    return Placed(device, dtype, can and options.qlora != "false")


def load_tokenizer(base: Base, options: FineTuning) -> PreTrainedTokenizerBase:
    """The base's tokenizer, with something to pad with."""
    with needs_extra("train"):
        import transformers
    library: Any = transformers
    revision = base.source.commit if base.tokenizer == base.source.name else None
    with explained(base.name), quiet():
        found = library.AutoTokenizer.from_pretrained(
            base.tokenizer, revision=revision, trust_remote_code=options.trust_remote_code
        )
    if found.pad_token_id is None:
        found.pad_token = found.eos_token
    return found  # type: ignore[no-any-return]


def load_base(base: Base, options: FineTuning, placed: Placed) -> Any:
    """The model on its device; a parent's adapter is on it and trainable, or merged where everything is trained."""
    with needs_extra("train"):
        import torch
        import transformers

    library: Any = transformers
    dtype = "float32" if options.full and options.dtype in ("auto", "float16") else placed.dtype
    settings: dict[str, Any] = {
        "dtype": getattr(torch, dtype),
        "use_safetensors": True,
        "revision": base.source.commit,
        "trust_remote_code": options.trust_remote_code,
        **_quantisation(base.source, options, placed),
    }
    with explained(base.name), quiet():
        model = library.AutoModelForCausalLM.from_pretrained(base.source.name, **settings)
        if not placed.four_bits:
            model = model.to(_own_device(placed))
        model.config.use_cache = False
        return model if base.adapter is None else _with_adapter(model, base, options)


def _with_adapter(model: Any, base: Base, options: FineTuning) -> Any:
    from peft import PeftModel

    found = PeftModel.from_pretrained(model, str(base.adapter), is_trainable=not options.full)
    return found.merge_and_unload() if options.full else found


def _own_device(placed: Placed) -> str:
    """With several processes each has a device of its own."""
    import os

    if placed.device == "cuda" and os.environ.get("LOCAL_RANK", "").isdigit():
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return placed.device


def _quantisation(source: Source, options: FineTuning, placed: Placed) -> dict[str, Any]:
    """4 bits where they are wanted; weights that come in mxfp4 (gpt-oss) are unpacked, for they cannot be trained through."""
    import torch
    import transformers

    library: Any = transformers
    config = library.AutoConfig.from_pretrained(
        source.name, revision=source.commit, trust_remote_code=options.trust_remote_code
    )
    given = getattr(config, "quantization_config", None) or {}
    method = given.get("quant_method") if isinstance(given, dict) else getattr(given, "quant_method", None)
    if method is not None and str(getattr(method, "value", method)) == "mxfp4":
        return {"quantization_config": library.Mxfp4Config(dequantize=True)}
    if not placed.four_bits or method is not None:
        return {}
    bits = library.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, placed.dtype),
    )
    return {"quantization_config": bits, "device_map": {"": _own_device(placed)}}


def lora_config(options: FineTuning) -> Any:
    """peft's settings of a new adapter."""
    with needs_extra("train"):
        from peft import LoraConfig

    modules: Any = "all-linear" if options.target_modules == ("all-linear",) else list(options.target_modules)
    return LoraConfig(
        r=options.r,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=modules,
        target_parameters=list(options.target_parameters) or None,
        task_type="CAUSAL_LM",
    )


def merged_model(base: Base, options: FineTuning, placed: Placed, adapter: Any) -> Any:
    """The base as it was loaded, unquantised, with an adapter merged into its weights; on the CPU."""
    with needs_extra("train"):
        import torch
        import transformers
        from peft import PeftModel

    library: Any = transformers
    with explained(base.name), quiet():
        model = library.AutoModelForCausalLM.from_pretrained(
            base.source.name,
            dtype=getattr(torch, placed.dtype),
            use_safetensors=True,
            revision=base.source.commit,
            trust_remote_code=options.trust_remote_code,
            **_quantisation(base.source, options, Placed("cpu", placed.dtype, False)),
        )
        return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
