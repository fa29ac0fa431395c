"""``guardeval optimize int8``: weights of 8 bits, for a CPU or for CUDA. Extra: ``optimize``; ``quant`` for CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardeval.errors import needs_extra
from guardeval.optimized import Original, read_original, write_optimized
from guardeval.trainers.onnx_export import PACKAGES, hushed, save_graph
from guardeval.trainers.onnx_weights import embeddings_by_row
from guardeval.trainers.small_weights import BITSANDBYTES, Runtime, by_bitsandbytes, of_graph, runtime_for

__all__ = ["Int8"]


@dataclass(frozen=True)
class Int8:
    """8-bit weights. ``runtime``: ``auto`` is bitsandbytes where CUDA is, onnxruntime elsewhere.

    onnxruntime: products with weights of 8 bits, a scale an output, what they are multiplied by quantised as it comes;
    ``embeddings`` too, a scale a row. ``reduce_range``: weights of 7 bits, for CPUs whose 8-bit products overflow (AVX2
    without VNNI). ``opset``: as of ``onnx``.
    """

    runtime: Runtime = "auto"
    embeddings: bool = True
    reduce_range: bool = False
    opset: int | None = None

    def optimize(self, folder: Path, out: Path) -> Path:
        """Write the model folder. Raises :class:`ConfigError` or :class:`ModelUnusable` for a model that cannot be taken."""
        original = read_original(folder)
        if runtime_for(self.runtime, original) == "bitsandbytes":
            by_bitsandbytes(original, out, load_in_8bit=True)
            about = {"precision": "int8", "runtime": "bitsandbytes"}
            return write_optimized(out, original, self, backend="hf", kind="causal", parameters=about, packages=BITSANDBYTES)
        return self._by_onnxruntime(original, out)

    def _by_onnxruntime(self, original: Original, out: Path) -> Path:
        of_graph(original, out, self.opset, self._prepared)
        self._quantised(out / "model.onnx")
        about = {"precision": "int8", "runtime": "onnxruntime", "embeddings": "int8" if self.embeddings else "float32"}
        return write_optimized(out, original, self, backend="onnx", kind="causal", parameters=about, packages=PACKAGES)

    def _prepared(self, model: Any) -> None:
        model.graph.ClearField("value_info")  # shapes that a changed graph need not have
        if self.embeddings:
            embeddings_by_row(model)

    def _quantised(self, path: Path) -> None:
        with needs_extra("optimize"):
            import onnx
            from onnxruntime.quantization import QuantType, quantize_dynamic
        small = path.with_name("small.onnx")
        large = path.with_name("model.onnx_data").is_file()
        with hushed():
            quantize_dynamic(
                str(path), str(small), op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=self.reduce_range,
                weight_type=QuantType.QInt8, extra_options={"MatMulConstBOnly": True}, use_external_data_format=large,
            )  # fmt: skip
        model = onnx.load(str(small))
        for left in path.parent.glob("small.onnx*"):
            left.unlink()
        save_graph(model, path)
