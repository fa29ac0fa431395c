"""How answers of an lm-eval backend ended, which ``generate_until`` does not tell: texts are all it returns.

What a backend decodes (token ids of a local model, the JSON of a server) passes by here on its way, and the hook that lm-eval
calls for its cache says which prompt it belongs to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guardeval.contracts import Finish

__all__ = ["Ending", "Endings"]

_CUT = {"length", "max_tokens", "model_length", "max_output_tokens"}  # OpenAI's word and others'
_WITHHELD = {"content_filter", "refusal", "safety"}


@dataclass(frozen=True, slots=True)
class Ending:
    """Why an answer ended, and how many tokens it has, where that is known."""

    finish: Finish
    tokens: int | None = None


class Endings:
    """Stands where lm-eval expects its cache hook. ``budget`` and ``stop`` are those of the call under way.

    ``missing``: what lm-eval puts in place of an answer that a server left out.
    """

    dbdict = None  # lm-eval: nothing is cached

    def __init__(self, lm: Any, missing: str) -> None:
        self.budget, self.stop = 0, ()  # type: tuple[int, tuple[str, ...]]
        self._missing = missing
        self._pending: list[tuple[str, Ending]] = []
        self._found: dict[tuple[str, str], list[Ending]] = defaultdict(list)
        if hasattr(lm, "parse_generations"):
            self._watch_server(lm)
        elif hasattr(lm, "_model_generate") and hasattr(lm, "tok_decode"):
            self._watch_decoding(lm)
        lm.set_cache_hook(self)

    def add_partial(self, method: str, asked: Sequence[Any], answer: str) -> None:
        """lm-eval: one answer is there."""
        for at, (text, ending) in enumerate(self._pending):
            if answer.startswith(text) or text.startswith(answer):  # local backends cut at stop strings after decoding
                del self._pending[at]
                self._found[str(asked[0]), answer].append(ending)
                return

    def take(self, prompt: str, answer: str) -> Ending | None:
        """How this answer to this prompt ended; None where nothing was seen of it."""
        endings = self._found.get((prompt, answer))
        if endings:
            return endings.pop(0)
        if answer == self._missing:  # lm-eval tells nobody about these
            at = next((i for i, (text, _) in enumerate(self._pending) if text == answer), None)
            return None if at is None else self._pending.pop(at)[1]
        return None

    def begin(self, budget: int, stop: tuple[str, ...]) -> None:
        """A call begins; what is left of the one before is forgotten."""
        self.budget, self.stop = budget, stop
        self._pending.clear()
        self._found.clear()

    def _watch_server(self, lm: Any) -> None:
        parse = lm.parse_generations

        def parsed(*given: Any, outputs: Any = None, **more: Any) -> list[str | None]:
            texts: list[str | None] = parse(*given, outputs=outputs, **more)
            ends = [e for out in (outputs if isinstance(outputs, list) else [outputs]) for e in _of_reply(out)]
            if len(ends) == len(texts):
                self._pending += [(self._missing if t is None else t, e) for t, e in zip(texts, ends, strict=True)]
            return texts

        lm.parse_generations = parsed

    def _watch_decoding(self, lm: Any) -> None:
        decode, ends = lm.tok_decode, _ends_of(lm)

        def decoded(tokens: Any, *given: Any, **more: Any) -> str:
            text: str = decode(tokens, *given, **more)
            if isinstance(tokens, list):
                self._pending = [(text, self._of_ids(tokens, text, ends))]
            return text

        lm.tok_decode = decoded

    def _of_ids(self, ids: Sequence[int], text: str, ends: frozenset[int]) -> Ending:
        """Of a row of a batch: whatever stands behind the end of the turn is padding."""
        last = next((at for at, token in enumerate(ids) if token in ends), None)
        if last is not None:
            return Ending(Finish.STOP, last + 1)
        stopped = any(stop and stop in text for stop in self.stop)
        return Ending(Finish.LENGTH if len(ids) >= self.budget and not stopped else Finish.STOP, len(ids))


def _ends_of(lm: Any) -> frozenset[int]:
    """Token ids that end an answer: the tokenizer's, and those of the model's generation settings."""
    settings = getattr(getattr(lm, "model", None), "generation_config", None)
    own = getattr(settings, "eos_token_id", None)
    found = [*(own if isinstance(own, list) else [own]), getattr(lm, "eot_token_id", None)]
    return frozenset(token for token in found if isinstance(token, int))


def _of_reply(reply: Any) -> list[Ending]:
    """Endings of the answers in one reply, in the order of their places; empty where the reply is of no known kind."""
    if not isinstance(reply, Mapping):
        return []
    choices = reply.get("choices")
    if not isinstance(choices, list):
        return [Ending(_finish(reply["stop_reason"]))] if "stop_reason" in reply else []
    ordered = sorted(choices, key=lambda c: c.get("index", 0))
    counted = (reply.get("usage") or {}).get("completion_tokens") if len(ordered) == 1 else None
    return [Ending(_finish(c.get("finish_reason")), counted) for c in ordered]


def _finish(word: Any) -> Finish:
    return Finish.LENGTH if word in _CUT else Finish.FILTERED if word in _WITHHELD else Finish.STOP
