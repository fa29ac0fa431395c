"""What is asked of a local model before any token is computed: does it fit, which prompts go together, what may be written.

No torch here: every backend that writes answers itself asks the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guardeval.causal.answer import Answer, Spelling
from guardeval.causal.tokens import Encoded
from guardeval.contracts import Request
from guardeval.errors import ModelError, ModelUnusable

__all__ = ["LENGTHS", "Asked", "begun", "check_fits", "checked_context", "context_of", "parts"]

Asked = tuple[Request, Encoded]
LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "n_ctx")


def context_of(config: Mapping[str, Any], wanted: int | None) -> int | None:
    """Tokens that prompt and answer may have together, from a ``config.json``; None for no limit.

    Raises :class:`ModelUnusable` where more is ``wanted`` than the model has.
    """
    inner = config.get("text_config")
    text = inner if isinstance(inner, Mapping) else config
    found = (text.get(name) for name in LENGTHS)
    most = next((n for n in found if isinstance(n, int) and not isinstance(n, bool) and n > 0), None)
    return checked_context(most, wanted)


def checked_context(most: int | None, wanted: int | None) -> int | None:
    """What the user wants, else what the model has. Raises :class:`ModelUnusable` for more than that."""
    if wanted is not None and most is not None and wanted > most:
        raise ModelUnusable(
            f"-M max_length={wanted}: this model's context is {most} tokens; say {most} or less, or leave it out"
        )
    return most if wanted is None else wanted


def check_fits(prompt: Encoded, context: int | None) -> None:
    """Raises :class:`ModelError` for a prompt with nothing to continue, or without room for an answer."""
    length = len(prompt.ids)
    if not length:
        raise ModelError(
            "the prompt is empty, and this model's tokenizer begins a text with nothing: there is nothing to continue"
        )
    if context is not None and length >= context:
        raise ModelError(
            f"the prompt has {length} tokens, the context is {context}, answer included; nothing was cut off: use shorter"
            " policies, or a model with a longer context"
        )


def parts(order: Sequence[int], asked: Sequence[Asked], most: int) -> Iterator[list[int]]:
    """At most ``most`` at a time; a prompt far longer than the rest gets its own part, not everybody its padding.

    ``order``: places in ``asked``, the longest prompts first.
    """
    part: list[int] = []
    for at in order:
        if part and (len(part) == most or len(asked[part[0]][1].ids) > 4 * len(asked[at][1].ids) + 1024):
            yield part
            part = []
        part.append(at)
    if part:
        yield part


def begun(request: Request, prompt: Encoded, spelling: Spelling, ends: frozenset[int], context: int | None) -> Answer:
    """The answer to be written, its budget what the request allows and the context leaves."""
    length = len(prompt.ids)
    room = request.sampling.max_tokens if context is None else context - length
    budget = max(1, min(request.sampling.max_tokens, room))
    return Answer(request, spelling, ends=ends, tokens_in=length, budget=budget, thinking=prompt.thinks)
