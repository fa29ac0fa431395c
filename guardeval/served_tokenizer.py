"""A server's own tokenizer, as it shows itself: what the model reads of a text, and what stands before it.

Two dialects of ``/tokenize`` and ``/detokenize``: vLLM's (``prompt``, ``add_special_tokens``) and llama.cpp's (``content``,
``add_special``). A server of one answers the other's question with an error, or with no tokens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ServedTokenizer"]

_PROBE = "a"  # a text that every tokenizer knows


@dataclass(frozen=True)
class ServedTokenizer:
    """``ask`` gives the JSON that a path answers to a body, None where the server has no such path.

    ``special``: whether the server is asked to put its beginning of text (BOS) before a raw prompt, which is its default.
    """

    ask: Callable[[str, Mapping[str, Any]], Awaitable[Any]]
    model: str
    special: bool = True

    async def reads(self, text: str) -> str | None:
        """What the model reads where it is given ``text`` as a raw prompt; None where the server does not show it."""
        tokens = await self._tokens(text, self.special)
        return None if tokens is None else await self.spelt(tokens)

    async def reads_turns(self, body: Mapping[str, Any]) -> str | None:
        """What the model reads of a body with ``messages``, as vLLM tells it; None where the server does not."""
        tokens = _tokens_in(await self.ask("/tokenize", body))
        return None if tokens is None else await self.spelt(tokens)

    async def beginning(self) -> str | None:
        """What the tokenizer by itself puts before a text, ``""`` for nothing; None where the server does not show it."""
        bare, dressed = await self._tokens(_PROBE, False), await self._tokens(_PROBE, True)
        if bare is None or dressed is None:
            return None
        at = next((i for i in range(len(dressed)) if dressed[i : i + len(bare)] == bare), None)
        if not at:
            return "" if at == 0 else None
        return await self.spelt(dressed[:at]) or None  # one that leaves control tokens out of its texts does not show it

    async def spelt(self, tokens: list[Any]) -> str | None:
        """The text of tokens, control tokens included."""
        found = await self.ask("/detokenize", {"model": self.model, "tokens": tokens})
        text = found.get("prompt", found.get("content")) if isinstance(found, Mapping) else None
        return text if isinstance(text, str) else None

    async def _tokens(self, text: str, special: bool) -> list[Any] | None:
        for body in (
            {"model": self.model, "prompt": text, "add_special_tokens": special},
            {"content": text, "add_special": special, "parse_special": True},
        ):
            tokens = _tokens_in(await self.ask("/tokenize", body))
            if tokens is not None:
                return tokens
        return None


def _tokens_in(answer: Any) -> list[Any] | None:
    """The tokens of an answer; None where there are none, as llama.cpp says to a question of vLLM's."""
    tokens = answer.get("tokens") if isinstance(answer, Mapping) else None
    return tokens if isinstance(tokens, list) and tokens else None
