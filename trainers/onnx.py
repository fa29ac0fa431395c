"""``guardeval optimize onnx``: a transformers model exported for onnxruntime, to run without torch. Extra: ``optimize``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from guardeval.optimized import read_original, write_optimized
from guardeval.trainers.onnx_export import PACKAGES, export

__all__ = ["OnnxExport"]


@dataclass(frozen=True)
class OnnxExport:
    """Export with key-value cache in float32, an adapter merged first; tokenizer and chat template go along.

    ``opset``: version of the ONNX operators, the exporter's own choice where None.
    """

    opset: int | None = None

    def optimize(self, folder: Path, out: Path) -> Path:
        """Write the model folder. Raises :class:`ConfigError` or :class:`ModelUnusable` for a model that cannot be exported."""
        original = read_original(folder)
        original.transformers  # noqa: B018  refuses other folders before anything is loaded
        out.mkdir(parents=True, exist_ok=True)
        export(original, out, self.opset)
        return write_optimized(
            out, original, self, backend="onnx", kind="causal", parameters={"precision": "float32"}, packages=PACKAGES
        )
