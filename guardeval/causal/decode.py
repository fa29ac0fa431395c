"""Decoding: the next token for each row, and the loops that write answers, with a shared beginning and without.

Draws come from each request's own stream of numbers, so what a request says does not hang on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel, StoppingCriteria

from guardeval.causal.answer import Answer
from guardeval.causal.batch import SharedBatch, switched
from guardeval.causal.prefix import Layers, Prefixes, shared_length
from guardeval.causal.tokens import Encoded

__all__ = ["Row", "decode_plain", "decode_shared", "pick"]

_LEAST = 16  # shared tokens below which sharing is not worth a pass of its own


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and the answer to be written to it."""

    prompt: Encoded
    answer: Answer


def pick(logits: Tensor, answers: Sequence[Answer]) -> list[int]:
    """The next token of each row of ``logits`` [rows, vocabulary]; unfinished ``answers`` are fed with it.

    Greedy at temperature 0, else by inverse distribution function within the top-p nucleus. Log probabilities are
    the model's own, before temperature, in float32.
    """
    logits = logits.float()
    chosen = logits.argmax(-1)
    for at, answer in enumerate(answers):
        if answer.sampling.temperature > 0 and not answer.done:
            chosen[at] = _drawn(logits[at], answer)
    tokens: list[int] = chosen.tolist()
    most = min(max((a.sampling.top_logprobs for a in answers), default=0), logits.shape[-1])
    if not most:
        for answer, token in zip(answers, tokens, strict=True):
            if not answer.done:
                answer.add(token)
        return tokens
    total = logits.logsumexp(-1, keepdim=True)
    best = logits.topk(most)
    own = (logits.gather(-1, chosen[:, None]) - total)[:, 0].tolist()
    values, indices = (best.values - total).tolist(), best.indices.tolist()
    for at, (answer, token) in enumerate(zip(answers, tokens, strict=True)):
        if not answer.done:
            top = list(zip(indices[at], values[at], strict=True))[: answer.sampling.top_logprobs]
            if top and all(token != other for other, _ in top):
                top.append((token, own[at]))
            answer.add(token, own[at] if top else None, top)
    return tokens


def _drawn(logits: Tensor, answer: Answer) -> int:
    probabilities = (logits / answer.sampling.temperature).softmax(-1).double()
    order = None
    if answer.sampling.top_p < 1:
        probabilities, order = probabilities.sort(descending=True, stable=True)
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities * (before < answer.sampling.top_p)
    running = probabilities.cumsum(-1)
    at = torch.searchsorted(running, running[-1:] * answer.uniform(), right=True).clamp_(max=len(running) - 1)
    return int(at if order is None else order[at])


# -- with a shared beginning -----------------------------------------------------------------------------------------


def decode_shared(model: PreTrainedModel, prefixes: Prefixes, rows: Sequence[Row]) -> None:
    """Write all answers, the rows' common beginnings computed once. Text equals that of :func:`decode_plain`."""
    plan = _planned(rows, prefixes)
    answers = [row.answer for row, _ in plan]
    batch = SharedBatch(model, [row.prompt.ids for row, _ in plan], [shared for _, shared in plan])
    with switched(model):
        logits = batch.read()
        while True:
            tokens = pick(logits, answers)
            alive = [i for i, answer in enumerate(answers) if not answer.done]
            if not alive:
                return
            if len(answers) - len(alive) >= max(1, len(answers) // 8):
                batch.keep(alive)
                answers, tokens = [answers[i] for i in alive], [tokens[i] for i in alive]
            logits = batch.step(tokens)


def _planned(rows: Sequence[Row], prefixes: Prefixes) -> list[tuple[Row, tuple[int, Layers]]]:
    """Rows with length and layers of their beginning; those that begin alike are neighbours, the longest first."""
    found: dict[tuple[int, ...], list[Row]] = {}
    for framed, alike in _buckets(rows):
        found.setdefault(_beginning(framed, alike), []).extend(alike)
    out: list[tuple[Row, tuple[int, Layers]]] = []
    for ids, alike in found.items():
        shared = prefixes.get(ids) if ids else (0, ())
        out += [(row, shared) for row in sorted(alike, key=lambda row: -len(row.prompt.ids))]
    return out


def _buckets(rows: Sequence[Row]) -> Iterator[tuple[int, list[Row]]]:
    """Rows of one frame with the number of tokens it begins them with; with 0, the rows whose frames say too little."""
    by_frame: dict[int, list[Row]] = {}
    for row in rows:
        by_frame.setdefault(id(row.prompt.frame), []).append(row)
    pool = []
    for alike in by_frame.values():
        framed = min(min(shared_length(r.prompt.frame, r.prompt.ids), len(r.prompt.ids) - 1) for r in alike)
        if framed >= _LEAST:
            yield framed, alike
        else:
            pool += alike
    if pool:
        yield 0, pool


def _beginning(framed: int, rows: Sequence[Row]) -> tuple[int, ...]:
    """The tokens to share: the frame's, which later batches have too, or all that the prompts have in common.

    The latter where the frame says nothing, or where it spares more than computing it takes (draws of one prompt).
    """
    first = rows[0].prompt.ids
    common = min((min(shared_length(first, r.prompt.ids), len(r.prompt.ids) - 1) for r in rows[1:]), default=framed)
    common = min(common, len(first) - 1)
    length = common if len(rows) * (common - framed) > common else framed
    return tuple(first[:length]) if length >= _LEAST else ()


# -- without ---------------------------------------------------------------------------------------------------------


def decode_plain(model: PreTrainedModel, rows: Sequence[Row], pad: int) -> None:
    """Write all answers with the model's own ``generate``: any attention, any cache, encoders too."""
    longest = max(len(row.prompt.ids) for row in rows)
    gaps = [longest - len(row.prompt.ids) for row in rows]
    tokens = [[pad] * gap + row.prompt.ids for gap, row in zip(gaps, rows, strict=True)]
    mask = [[0] * gap + [1] * (longest - gap) for gap in gaps]
    answers = [row.answer for row in rows]
    generate: Any = model.generate
    generate(
        torch.tensor(tokens, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        max_new_tokens=max(answer.budget for answer in answers),
        do_sample=False,
        pad_token_id=pad,
        logits_processor=[_Steer(answers)],
        stopping_criteria=[_Stop(answers)],
    )


class _Steer(LogitsProcessor):
    """Makes ``generate`` write what :func:`pick` chose."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        chosen = torch.tensor(pick(scores, self._answers), device=scores.device)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)


class _Stop(StoppingCriteria):
    """Stops ``generate`` when all answers are done."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        return torch.tensor([answer.done for answer in self._answers], device=input_ids.device)
