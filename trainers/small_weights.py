"""Where weights in few bits are to run, and the two ways to them: an exported graph, or bitsandbytes in transformers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from guardeval.errors import ConfigError, needs_extra
from guardeval.optimized import Original, load_whole, save_ends, save_tokenizer
from guardeval.trainers.onnx_export import export, folded, save_graph

__all__ = ["BITSANDBYTES", "Runtime", "by_bitsandbytes", "of_graph", "runtime_for"]

BITSANDBYTES = ("bitsandbytes", "torch", "transformers")
Runtime = Literal["auto", "onnxruntime", "bitsandbytes"]


def runtime_for(wanted: Runtime, original: Original) -> Runtime:
    """``auto``: bitsandbytes where CUDA is, else onnxruntime; of an exported model always the latter.

    Raises :class:`ConfigError` for a folder that the runtime cannot take.
    """
    if original.backend == "onnx":
        if wanted == "bitsandbytes":
            raise ConfigError(
                f"{original.folder}: is exported already; bitsandbytes wants the transformers model that it was made from"
            )
        return "onnxruntime"
    original.transformers  # noqa: B018  refuses other folders
    if wanted != "auto":
        return wanted
    with needs_extra("hf"):
        import torch
    return "bitsandbytes" if torch.cuda.is_available() else "onnxruntime"


def of_graph(original: Original, out: Path, opset: int | None, change: Callable[[Any], None]) -> None:
    """A copy of the exported model in ``out`` (exported first where it is none) with its graph changed."""
    with needs_extra("optimize"):
        import onnx
    out.mkdir(parents=True, exist_ok=True)
    if original.backend == "onnx":
        _copied(original, out)
    else:
        export(original, out, opset)
    path = out / "model.onnx"
    model = onnx.load(str(path))
    floating = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64)
    if any(i.data_type not in floating for i in model.graph.initializer if len(i.dims) > 1):
        raise ConfigError(f"{original.folder}: its weights are in few bits already; name the model that it was made from")
    folded(model)
    change(model)
    save_graph(model, path)


def _copied(original: Original, out: Path) -> None:
    for path in sorted(original.folder.iterdir()):
        if path.is_file() and path.suffix in {".onnx", ".onnx_data", ".data", ".json", ".jinja"} and path.name != "check.json":
            shutil.copyfile(path, out / path.name)


def by_bitsandbytes(original: Original, out: Path, **settings: Any) -> None:
    """Save the transformers model, its adapter merged first, with weights that bitsandbytes quantised."""
    with needs_extra("quant"):
        import accelerate  # noqa: F401  named here, so that a missing package is told as such
        import bitsandbytes  # noqa: F401
        import torch
        import transformers
    whole = load_whole(original)
    library: Any = transformers
    config = library.BitsAndBytesConfig(**settings)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device != "cpu" and torch.cuda.is_bf16_supported() else torch.float32
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as merged:
        whole.model.save_pretrained(merged)
        small = library.AutoModelForCausalLM.from_pretrained(
            merged, quantization_config=config, device_map={"": device}, dtype=dtype, use_safetensors=True
        )
        small.save_pretrained(str(out))
    save_ends(whole, out)
    save_tokenizer(whole.tokenizer, out, original)
