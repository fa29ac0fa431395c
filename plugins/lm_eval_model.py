"""Any backend of lm-evaluation-harness as a guardeval model: ``lm_eval/hf -M pretrained=…``. Extra: ``lm-eval``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from guardeval.causal.source import digest
from guardeval.contracts import Completion, Request, Traits
from guardeval.errors import ConfigError
from guardeval.interop.lm_eval_backend import LmEvalBackend, takes_messages
from guardeval.model_folder import notices_of

__all__ = ["LmEval"]

_SECRET = re.compile(r"(^|_)(api_?key|token|auth_token|access_token|secret|password|credentials?|headers?)$", re.IGNORECASE)
_NO_SECRET = re.compile(r"(think_end|bos|eos|pad|prefix|end)_token$")
_NO_MATTER = frozenset({"batch_size", "max_batch_size", "num_concurrent", "max_retries", "timeout", "verify_certificate"})


@dataclass(frozen=True)
class LmEval:
    """``lm_eval/BACKEND``: ``hf``, ``vllm``, ``local-completions``, ``local-chat-completions``, whatever lm-eval knows.

    All other ``-M`` options are the backend's own, lm-eval's ``--model_args``: ``pretrained``, ``batch_size``, ``base_url``, ….
    ``batch``: requests handed over in one call. Keys are read from the environment variables that lm-eval reads.

    There are no token probabilities: lm-eval's backends return texts. A prompt is never cut to fit.
    """

    backend: str
    batch: int = 64
    options: Mapping[str, Any] = field(default_factory=dict)

    name_option: ClassVar[str] = "backend"  # what stands behind ``lm_eval/``
    open_options: ClassVar[str] = "options"  # takes the options that are not named here
    path_options: ClassVar[tuple[str, ...]] = ("pretrained", "tokenizer", "peft")
    not_in_identity: ClassVar[tuple[str, ...]] = ("batch",)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch={self.batch}: at least one request is handed over at a time")
        for name, value in self.options.items():
            if _SECRET.search(name) and not _NO_SECRET.search(name) and not isinstance(value, bool):
                raise ConfigError(
                    f"{name} looks like a secret, and options are written to the run folder: put it into the environment "
                    "variable that lm-eval reads (OPENAI_API_KEY, ANTHROPIC_API_KEY, HF_TOKEN, …)"
                )

    @property
    def traits(self) -> Traits:
        messages = takes_messages(self.backend)
        return Traits(chat=True, raw=not messages, forced=not messages, batch=self.batch, notices=self._notices)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The backend, its options, and the content of weights in a folder."""
        options = {key: value for key, value in sorted(self.options.items()) if key not in _NO_MATTER}
        contents = {
            key: digest(Path(options.pop(key)).expanduser()) for key in self.path_options if self._folder(key) is not None
        }
        return {"backend": "lm_eval", "name": self.backend, "options": options, "contents": contents}

    @property
    def files(self) -> tuple[Path, ...]:
        """The folder of the weights, where one was named."""
        folder = self._folder("pretrained")
        return () if folder is None else (folder,)

    @property
    def pretrained(self) -> str | None:
        """The model as lm-eval calls it; a model folder says what it has seen."""
        given = self.options.get("pretrained")
        return None if given is None else str(given)

    async def start(self) -> None:
        """Open the backend, so that what cannot work is told before the first sample."""
        await asyncio.to_thread(lambda: self._opened)

    async def close(self) -> None:
        """Give the memory back; a later batch would open the backend again."""
        self.__dict__.pop("_opened", None)

    def generate_batch(self, requests: Sequence[Request]) -> Sequence[Completion]:
        """Answers in the order asked. Raises :class:`ModelError` for a prompt beyond the context, and what the backend says."""
        return self._opened.answer(requests)

    @cached_property
    def _opened(self) -> LmEvalBackend:
        return LmEvalBackend(self.backend, self.options)

    @cached_property
    def _notices(self) -> tuple[str, ...]:
        folder = self._folder("pretrained")
        return () if folder is None else notices_of(folder)

    def _folder(self, option: str) -> Path | None:
        given = self.options.get(option)
        found = Path(given).expanduser() if isinstance(given, str) else None
        return found if found is not None and found.is_dir() else None
