"""Exported models on onnxruntime, without torch: ``./folder`` that ``guardeval optimize onnx`` wrote. Extra: ``onnx``.

Prompts become the very tokens that the ``hf`` backend would send; what prompts share is computed once and kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from guardeval.causal.source import digest
from guardeval.contracts import Completion, Prompt, Request, Traits
from guardeval.errors import ModelUnusable, needs_extra

if TYPE_CHECKING:
    from guardeval.plugins.onnx_engine import OnnxEngine

__all__ = ["Onnx"]

_PARTS = ("*.onnx", "*.onnx_data", "*.data", "*.json", "*.jinja")  # files of a folder that can change an answer


@dataclass(frozen=True)
class Onnx:
    """A causal language model exported with its key-value cache, in this process.

    ``model``: the folder. ``batch``: prompts decoded together. ``threads``: of onnxruntime; where None as many as
    ``OMP_NUM_THREADS`` says, else all cores.
    ``max_length``: tokens of prompt and answer together, where less than the model's context is wanted. ``thinking`` is
    handed to chat templates that know ``enable_thinking``. ``provider=cuda`` needs the package ``onnxruntime-gpu``.
    """

    model: str
    batch: int = 8
    threads: int | None = None
    max_length: int | None = None
    thinking: bool | None = None
    provider: Literal["cpu", "cuda"] = "cpu"

    path_options: ClassVar[tuple[str, ...]] = ("model",)
    not_in_identity: ClassVar[tuple[str, ...]] = ("batch", "threads")

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch={self.batch}: at least one prompt is decoded at a time")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads={self.threads}: at least one thread computes")
        if self.max_length is not None and self.max_length < 2:
            raise ValueError(f"max_length={self.max_length}: prompt and answer need a token each")

    @property
    def traits(self) -> Traits:
        return Traits(logprobs=True, chat=True, raw=True, forced=True, template=True, literal=True, batch=self.batch)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The content of the folder's files, read once."""
        return {
            "backend": "onnx",
            "content": digest(self._folder, _PARTS),
            "max_length": self.max_length,
            "thinking": self.thinking,
            "provider": self.provider,
        }

    async def start(self) -> None:
        """Load the model, so that what cannot work is told before the first sample."""
        await asyncio.to_thread(lambda: self._engine)

    async def close(self) -> None:
        """Give the memory back; a later batch would load the model again."""
        self.__dict__.pop("_engine", None)

    async def render(self, prompt: Prompt) -> str:
        """The text that the model reads for a prompt, as its tokens spell it."""
        return await asyncio.to_thread(lambda: self._engine.render(prompt))

    async def beginning(self) -> str:
        """What the tokenizer by itself puts before a text; empty for nothing."""
        return await asyncio.to_thread(lambda: self._engine.beginning)

    def generate_batch(self, requests: Sequence[Request]) -> Sequence[Completion]:
        """Answers in the order asked. Raises :class:`ModelError` for a prompt beyond the context, or too little memory."""
        return self._engine.answer(requests)

    @property
    def _folder(self) -> Path:
        folder = Path(self.model).expanduser()
        if not (folder / "model.onnx").is_file():
            raise ModelUnusable(
                f"onnx/{self.model}: no model.onnx in it; `guardeval optimize onnx --model FOLDER --out DIR` writes one"
            )
        return folder

    @cached_property
    def _engine(self) -> OnnxEngine:
        with needs_extra("onnx"):
            import jinja2  # noqa: F401  named here, so that a missing package is told as such
            import onnxruntime  # noqa: F401
            import tokenizers  # noqa: F401
        from guardeval.plugins.onnx_engine import OnnxEngine

        return OnnxEngine(
            self._folder,
            batch=self.batch,
            threads=self.threads,
            max_length=self.max_length,
            thinking=self.thinking,
            cuda=self.provider == "cuda",
        )
