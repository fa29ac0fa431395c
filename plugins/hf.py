"""Local models through transformers: ``hf/REPO_OR_FOLDER``. Extra: ``hf``.

What prompts share is computed once and kept for the batches to come (:mod:`~guardeval.causal.prefix`); answers stop
as soon as their closing block is complete. Models whose attention that does not cover go through ``generate``. In
float32 the text is the same either way; in 16-bit types it varies with the batch, as it does with any batch size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from guardeval.causal.source import Source, base_of_adapter, digest, find, find_adapter, holds_adapter
from guardeval.contracts import Completion, Prompt, Request, Traits
from guardeval.errors import ModelUnusable, needs_extra
from guardeval.model_folder import notices_of

if TYPE_CHECKING:
    from pathlib import Path

    from guardeval.causal.engine import Engine

__all__ = ["HF"]


@dataclass(frozen=True)
class HF:
    """A causal language model (or an encoder-decoder), in this process.

    ``dtype=auto`` is bfloat16 on CUDA and float32 on a CPU. ``device`` is CUDA where there is any. ``batch``: prompts
    decoded together. ``max_length``: tokens of prompt and answer together, where less than the model's context is
    wanted. ``adapter``: folder or repository of a PEFT adapter; a ``model`` that is an adapter's folder brings its base.
    ``attention=plain`` computes no prefix apart.
    ``thinking`` is handed to chat templates that know ``enable_thinking``.

    A prompt of turns goes through the chat template; a model without one reads the turns' contents, a blank line between
    them. The text of a completion is what follows a forced beginning.
    """

    model: str
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str | None = None
    batch: int = 32
    max_length: int | None = None
    adapter: str | None = None
    attention: Literal["shared", "plain"] = "shared"
    thinking: bool | None = None
    trust_remote_code: bool = False

    path_options: ClassVar[tuple[str, ...]] = ("model", "adapter")
    not_in_identity: ClassVar[tuple[str, ...]] = ("batch",)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch={self.batch}: at least one prompt is decoded at a time")
        if self.max_length is not None and self.max_length < 2:
            raise ValueError(f"max_length={self.max_length}: prompt and answer need a token each")

    @property
    def traits(self) -> Traits:
        return Traits(
            logprobs=True,
            chat=True,
            raw=True,
            forced=True,
            template=True,
            literal=True,
            batch=self.batch,
            notices=self._notices,
        )

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The commit of a repository, the content of a folder; asks the Hub, or reads the folder's files, once."""
        device, dtype = self._placed
        return {
            "backend": "hf",
            "model": self._source.name if self._source.commit else None,
            "revision": self._source.content,
            "adapter": None if self._adapter is None else digest(self._adapter),
            "dtype": dtype,
            "device": device.partition(":")[0],
            "max_length": self.max_length,
            "attention": self.attention,
            "thinking": self.thinking,
            **({"trust_remote_code": True} if self.trust_remote_code else {}),  # another code for the same weights
        }

    @property
    def files(self) -> tuple[Path, ...]:
        """Where the weights lie: a folder, or a repository's snapshot in the Hub's cache; of an adapter, its folder too."""
        adapter = () if self.adapter is None else (find_adapter(self.adapter),)
        return (self._source.folder, *adapter)

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
        """Answers in the order asked.

        Raises :class:`ModelError` where a prompt exceeds the context, and where memory does not suffice for half of
        the batch.
        """
        return self._engine.answer(requests)

    @property
    def plain_because(self) -> str | None:
        """Why prefixes are not shared; None where they are. Loads the model."""
        return self._engine.plain_because

    @cached_property
    def _source(self) -> Source:
        own = self._own_adapter
        return find(self.model, self.revision) if own is None else base_of_adapter(own)

    @cached_property
    def _adapter(self) -> Path | None:
        adapter = self._own_adapter if self.adapter is None else self.adapter
        return None if adapter is None else find_adapter(str(adapter))

    @property
    def _own_adapter(self) -> Path | None:
        """The model's folder where that holds an adapter and names its base."""
        folder = Path(self.model).expanduser()
        if not holds_adapter(folder):
            return None
        if self.adapter is not None or self.revision is not None:
            given = "adapter" if self.adapter is not None else "revision"
            raise ModelUnusable(f"{folder} is an adapter that names its base model: leave -M {given}= out")
        return folder

    @cached_property
    def _notices(self) -> tuple[str, ...]:
        return notices_of(Path(self.model).expanduser())

    @property
    def _own_tokenizer(self) -> Path | None:
        own = self._own_adapter
        return own if own is not None and (own / "tokenizer_config.json").is_file() else None

    @cached_property
    def _placed(self) -> tuple[str, str]:
        from guardeval.causal.loading import pick_device, pick_dtype

        device = pick_device(self.device)
        return device, pick_dtype(self.dtype, device)

    @cached_property
    def _engine(self) -> Engine:
        with needs_extra("hf"):
            import torch  # noqa: F401  named here, so that a missing package is told as such
            import transformers  # noqa: F401
        from guardeval.causal.engine import Engine
        from guardeval.causal.loading import load

        device, dtype = self._placed
        loaded = load(
            self._source,
            device=device,
            dtype=dtype,
            adapter=self._adapter,
            tokenizer_folder=self._own_tokenizer,
            trust_remote_code=self.trust_remote_code,
            max_length=self.max_length,
        )
        return Engine(loaded, batch=self.batch, share=self.attention == "shared", thinking=self.thinking)
