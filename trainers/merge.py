"""``guardeval optimize merge``: an adapter (LoRA) merged into its base, a model without peft. Extra: ``optimize``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from guardeval.errors import ConfigError, needs_extra
from guardeval.optimized import load_whole, read_original, save_ends, save_tokenizer, write_optimized

__all__ = ["Merge"]


@dataclass(frozen=True)
class Merge:
    """Merge in float32, save in ``dtype``: that of the base model's weights where ``auto``."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    def optimize(self, folder: Path, out: Path) -> Path:
        """Write the model folder. Raises :class:`ConfigError` where there is no adapter to merge."""
        with needs_extra("optimize"):
            import peft  # noqa: F401  named here, so that a missing package is told as such
            import torch
        original = read_original(folder)
        if original.adapter is None:
            original.transformers  # noqa: B018  another backend's folder is told as such
            raise ConfigError(f"{folder}: is a whole model, there is no adapter to merge; it can be run as it is")
        config = original.config()
        kept = config.get("dtype") or config.get("torch_dtype") or "float32"
        dtype = str(kept if self.dtype == "auto" else self.dtype)
        loaded = load_whole(original)
        model: Any = loaded.model
        model = model.to(getattr(torch, dtype))
        model.config.dtype = getattr(torch, dtype)
        out.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(str(out))
        save_ends(loaded, out)
        save_tokenizer(loaded.tokenizer, out, original)
        about = {"precision": dtype}
        packages = ("peft", "torch", "transformers")
        return write_optimized(out, original, self, backend="hf", kind="causal", parameters=about, packages=packages)
