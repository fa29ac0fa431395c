"""Requests in, completions out, on a loaded model: encode, check lengths, sort, decode, and mind the memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from guardeval.causal.answer import Answer
from guardeval.causal.asking import Asked, begun, check_fits, parts
from guardeval.causal.decode import Row, decode_plain, decode_shared
from guardeval.causal.loading import Loaded, is_out_of_memory
from guardeval.causal.prefix import Prefixes
from guardeval.causal.support import why_plain
from guardeval.causal.tokens import Codec, Encoded
from guardeval.contracts import Completion, Prompt, Request
from guardeval.errors import ModelError

__all__ = ["Engine", "halving"]

T = TypeVar("T")
R = TypeVar("R")


class Engine:
    """One loaded model. ``plain_because`` says why beginnings are not shared, None where they are."""

    def __init__(self, loaded: Loaded, *, batch: int, share: bool, thinking: bool | None) -> None:
        self._loaded, self._batch = loaded, batch
        self._encoder = bool(loaded.model.config.is_encoder_decoder)
        self._codec = Codec(loaded.tokenizer, thinking=thinking, encoder=self._encoder)
        turn_end = self._codec.turn_end
        self._turn_ends = loaded.ends if turn_end is None else loaded.ends | {turn_end}
        self._prefixes = Prefixes(loaded.model)
        self.plain_because = why_plain(loaded.model) if share else "attention=plain"

    @torch.inference_mode()
    def answer(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions, in the order of ``requests``. Raises :class:`ModelError`: too long a prompt, too little memory."""
        asked = list(zip(requests, self._codec.encode([r.prompt for r in requests]), strict=True))
        for request, prompt in asked:
            self._check(request, prompt)
        order = sorted(range(len(asked)), key=lambda i: -len(asked[i][1].ids))
        found: dict[int, Completion] = {}
        for part in parts(order, asked, self._batch):
            found |= zip(part, halving(self._decoded, [asked[i] for i in part], self._relieve), strict=True)
        return [found[i] for i in range(len(asked))]

    def render(self, prompt: Prompt) -> str:
        """The text that the model reads."""
        return self._codec.render(prompt)

    @property
    def beginning(self) -> str:
        """What the tokenizer by itself puts before a text; empty for nothing."""
        return self._codec.beginning

    def _check(self, request: Request, prompt: Encoded) -> None:
        if self._encoder and request.prompt.frame.forced:
            raise ModelError("an encoder-decoder cannot continue a forced beginning; use a solver that forces none")
        check_fits(prompt, self._context)

    @property
    def _context(self) -> int | None:
        """An encoder-decoder's prompt takes nothing from its answer."""
        return None if self._encoder else self._loaded.context

    def _decoded(self, asked: Sequence[Asked]) -> list[Completion]:
        rows = [Row(prompt, self._begun(request, prompt)) for request, prompt in asked]
        if self.plain_because is None:
            decode_shared(self._loaded.model, self._prefixes, rows)
        else:
            decode_plain(self._loaded.model, rows, self._loaded.pad)
        return [row.answer.completion() for row in rows]

    def _begun(self, request: Request, prompt: Encoded) -> Answer:
        ends = self._loaded.ends if request.prompt.frame.raw else self._turn_ends
        return begun(request, prompt, self._codec, ends, self._context)

    def _relieve(self) -> None:
        """Free what can be made again."""
        self._prefixes.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def halving(run: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T], relieve: Callable[[], None]) -> list[R]:
    """``run(items)``; where memory runs out, once more in two halves. Raises :class:`ModelError` with the remedy."""
    try:
        return list(run(items))
    except Exception as e:  # looked at: only running out of memory is dealt with here
        if not is_out_of_memory(e):
            raise
    relieve()  # after the handler, which would keep the tensors of the failed pass alive
    middle = (len(items) + 1) // 2
    out: list[R] = []
    for half in (items[:middle], items[middle:]):
        try:
            out += run(half) if half else []
        except Exception as e:
            if not is_out_of_memory(e):
                raise
            raise ModelError(
                f"out of memory with {len(half)} prompts at a time: lower -M batch= (half of it was tried), use shorter"
                " policies, or -M dtype=bfloat16"
            ) from e
    return out
