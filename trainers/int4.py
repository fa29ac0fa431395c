"""``guardeval optimize int4``: weights of 4 bits, for a CPU or for CUDA. Extra: ``optimize``; ``quant`` for CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from guardeval.errors import ConfigError
from guardeval.optimized import read_original, write_optimized
from guardeval.trainers.onnx_export import PACKAGES
from guardeval.trainers.onnx_weights import embeddings_by_row, products_in_bits, with_operators
from guardeval.trainers.small_weights import BITSANDBYTES, Runtime, by_bitsandbytes, of_graph, runtime_for

__all__ = ["Int4"]

_BITS = {"int4": 4, "int8": 8, "float32": 32}


@dataclass(frozen=True)
class Int4:
    """4-bit weights. ``runtime``: ``auto`` is bitsandbytes (nf4) where CUDA is, onnxruntime elsewhere.

    onnxruntime: products with weights of 4 bits, a scale for each ``block`` of them; ``head``: those of the logits, which
    suffer most; ``embeddings`` of 8 bits, a scale a row. ``exact``: multiply in float32, slower, in place of
    8-bit products. ``opset``: as of ``onnx``.
    """

    runtime: Runtime = "auto"
    block: int = 32
    head: Literal["int8", "int4", "float32"] = "int8"
    embeddings: bool = True
    exact: bool = False
    opset: int | None = None

    def __post_init__(self) -> None:
        if self.block < 16 or self.block & (self.block - 1):
            raise ConfigError(f"int4: block={self.block}: 16, 32, 64, 128 or 256 is wanted (a power of two from 16)")

    def optimize(self, folder: Path, out: Path) -> Path:
        """Write the model folder. Raises :class:`ConfigError` or :class:`ModelUnusable` for a model that cannot be taken."""
        original = read_original(folder)
        if runtime_for(self.runtime, original) == "bitsandbytes":
            by_bitsandbytes(original, out, load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
            about: dict[str, Any] = {"precision": "nf4", "runtime": "bitsandbytes"}
            return write_optimized(out, original, self, backend="hf", kind="causal", parameters=about, packages=BITSANDBYTES)
        of_graph(original, out, self.opset, self._changed)
        about = {"precision": "int4", "runtime": "onnxruntime", "block": self.block, "head": self.head}
        return write_optimized(out, original, self, backend="onnx", kind="causal", parameters=about, packages=PACKAGES)

    def _changed(self, model: Any) -> None:
        model.graph.ClearField("value_info")  # shapes that a changed graph need not have
        if self.embeddings:
            embeddings_by_row(model)
        products_in_bits(model, block=self.block, head_bits=_BITS[self.head], exact=self.exact)
        with_operators(model)
