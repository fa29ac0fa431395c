"""``guardeval optimize gguf``: a Llama as one GGUF file for llama.cpp and Ollama. Extra: ``optimize``."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from guardeval.errors import needs_extra
from guardeval.optimized import load_whole, read_original, save_tokenizer, write_optimized
from guardeval.trainers.gguf_tokenizer import add_tokenizer
from guardeval.trainers.gguf_weights import add_settings, add_weights, check_supported

__all__ = ["Gguf"]

_CONTEXT = 8192  # tokens that the card asks the server to hold, where the model has more


@dataclass(frozen=True)
class Gguf:
    """One file ``model.gguf``, an adapter merged first. ``precision``: of the matrices; embeddings and logits keep 8 bits.

    Llama only, with a byte-level BPE tokenizer; what cannot be written faithfully is refused with the reason.
    """

    precision: Literal["f32", "f16", "q8_0", "q4_0"] = "q8_0"

    def optimize(self, folder: Path, out: Path) -> Path:
        """Write the model folder. Raises :class:`ModelUnusable` for a model that cannot be written as GGUF."""
        with needs_extra("optimize"):
            import gguf
        original = read_original(folder)
        config = original.config()
        check_supported(str(folder), config)
        loaded = load_whole(original)
        config = loaded.model.config.to_dict()
        out.mkdir(parents=True, exist_ok=True)
        writer = gguf.GGUFWriter(str(out / "model.gguf"), "llama")
        add_settings(writer, config, self.precision, folder.resolve().name)
        with tempfile.TemporaryDirectory(dir=out) as saved:
            save_tokenizer(loaded.tokenizer, Path(saved), original)
            add_tokenizer(writer, Path(saved), config["vocab_size"], loaded.ends)
        add_weights(writer, config, {k: v.numpy() for k, v in loaded.model.state_dict().items()}, self.precision)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        context = min(config["max_position_embeddings"], _CONTEXT)
        return write_optimized(
            out, original, self, backend="llama_cpp", kind="causal", options={"context": context},
            parameters={"precision": self.precision}, packages=("gguf", "torch", "transformers"),
        )  # fmt: skip
