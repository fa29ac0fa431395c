"""From a name to a model in memory, and what to do where the files cannot be used.

Only safetensors weights are loaded; code from a repository runs only where the user said so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardeval.causal.asking import LENGTHS, checked_context
from guardeval.causal.source import Source
from guardeval.errors import ModelUnusable, PluginError, needs_extra

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Loaded", "explained", "is_out_of_memory", "load", "pick_device", "pick_dtype", "quiet", "ready"]

_ENDLESS = 1 << 30  # tokenizers without a limit give a number beyond


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to answer. ``context``: tokens that prompt and answer may have together, None for no limit."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    context: int | None
    ends: frozenset[int]  # tokens that end an answer
    pad: int


def pick_device(wanted: str | None) -> str:
    """``wanted``, or CUDA where there is any, else the CPU. Raises :class:`ModelUnusable` for what torch does not see."""
    with needs_extra("hf"):
        import torch
    if wanted is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        raise ModelUnusable(f"-M device={wanted}: torch cannot use it ({_first_line(e)}); leave it out, or say cpu") from e
    return wanted


def pick_dtype(wanted: str, device: str) -> str:
    """``auto`` is bfloat16 on CUDA (float16 where the card lacks it) and float32 elsewhere."""
    if wanted != "auto":
        return wanted
    import torch

    if not device.startswith("cuda"):
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def load(
    source: Source,
    *,
    device: str,
    dtype: str,
    adapter: Path | None,
    trust_remote_code: bool,
    max_length: int | None,
    tokenizer_folder: Path | None = None,
) -> Loaded:
    """Model and tokenizer of ``source``, the adapter merged into the weights; ``tokenizer_folder`` has one of its own.

    Raises :class:`ModelUnusable` or :class:`PluginError` with the remedy.
    """
    with needs_extra("hf"):
        import torch

        library = _transformers()
    named: dict[str, Any] = {"revision": source.commit, "trust_remote_code": trust_remote_code}
    with explained(source.name), quiet():
        config = library.AutoConfig.from_pretrained(source.name, **named)
        own = named if tokenizer_folder is None else {"trust_remote_code": trust_remote_code}
        tokenizer = library.AutoTokenizer.from_pretrained(str(tokenizer_folder or source.name), **own)
        kind = library.AutoModelForSeq2SeqLM if config.is_encoder_decoder else library.AutoModelForCausalLM
        quantised = getattr(config, "quantization_config", None) is not None
        if quantised:  # such weights are placed as they are read, and cannot be moved or retyped afterwards
            named["device_map"] = {"": device}
            logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it repeats one warning for every product
        model, info = kind.from_pretrained(
            source.name, config=config, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True, **named
        )
        if info["missing_keys"]:
            names = sorted(info["missing_keys"])
            raise ModelUnusable(
                f"{source.name}: the weights lack {len(names)} parts of a {type(model).__name__} ({', '.join(names[:3])}, …):"
                " this is no model that writes text; name a causal language model"
            )
        if adapter is not None:
            model = _merged(model, adapter)
        model = (model if quantised else model.to(device)).eval()
    return ready(model, tokenizer, max_length)


def _transformers() -> Any:
    """The package as an untyped edge: it has annotations, but calls of much of it do not type-check."""
    import transformers

    return transformers


def ready(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> Loaded:
    """The model set to decode as requests say; its own generation defaults are replaced."""
    settings = _transformers().GenerationConfig
    own = model.generation_config or settings()
    given = own.eos_token_id if own.eos_token_id is not None else model.config.get_text_config().eos_token_id
    ends = {*(given if isinstance(given, list) else [given]), tokenizer.eos_token_id} - {None}
    pad = next((i for i in (tokenizer.pad_token_id, own.pad_token_id, *sorted(ends)) if i is not None), 0)
    # A folder's own defaults (temperature, repetition penalty, …) stay out: the request says how an answer is drawn.
    model.generation_config = settings(
        do_sample=False, pad_token_id=pad, bos_token_id=own.bos_token_id, decoder_start_token_id=own.decoder_start_token_id
    )
    return Loaded(model, tokenizer, _context(model, tokenizer, max_length), frozenset(ends), pad)


def _context(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, wanted: int | None) -> int | None:
    config = model.config.get_text_config(decoder=True)
    lengths = [n for name in LENGTHS if isinstance(n := getattr(config, name, None), int) and n > 0]
    most = lengths[0] if lengths else None
    if most is None and 0 < tokenizer.model_max_length < _ENDLESS and not model.config.is_encoder_decoder:
        most = int(tokenizer.model_max_length)
    return checked_context(most, wanted)


def _merged(model: Any, adapter: Path) -> Any:
    try:
        from peft import PeftModel
    except ImportError as e:
        raise PluginError("-M adapter= needs the package 'peft', which is not installed: pip install peft") from e
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of transformers while loading: the run shows its own."""
    bars = _transformers().utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what a loader raises into :class:`ModelUnusable` or :class:`PluginError` with the remedy."""
    try:
        yield
    except (ModelUnusable, PluginError):
        raise
    except ImportError as e:  # a tokenizer or a custom model wants a package of its own
        raise PluginError(f"{name} needs a package that is not installed: {_first_line(e)}") from e
    except Exception as e:  # transformers raises many kinds; each means that this model does not load, and is told apart here
        if is_out_of_memory(e):
            raise ModelUnusable(
                f"{name} does not fit into memory: try -M dtype=bfloat16, another -M device=, or a smaller model"
            ) from e
        raise ModelUnusable(f"{name} does not load: {_remedy(e)}") from e


def _remedy(e: Exception) -> str:
    said = str(e)
    if "trust_remote_code" in said:
        return "it brings its own code, which is not run unless you say so; read that code, then -M trust_remote_code=true"
    if "safetensors" in said and isinstance(e, OSError):
        return (
            "it has no safetensors weights, and others are not loaded (they can run code); convert it once with "
            "AutoModelForCausalLM.from_pretrained(…).save_pretrained(FOLDER) where you trust it, and name that folder"
        )
    if "does not recognize this architecture" in said or "model type" in said:
        return f"the installed transformers does not know it: pip install -U transformers ({_first_line(e)})"
    if "Unrecognized configuration class" in said:
        return "it is no model that writes text; name a causal language model"
    return f"{type(e).__name__}: {_first_line(e)}"


def is_out_of_memory(e: BaseException) -> bool:
    """Whether torch ran out of memory, on a device or in the machine."""
    import torch

    if isinstance(e, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(e, RuntimeError) and any(s in str(e) for s in ("can't allocate memory", "not enough memory"))


def _first_line(e: BaseException) -> str:
    return next((line.strip() for line in str(e).splitlines() if line.strip()), type(e).__name__)
