"""The next token of each row from logits in numpy: what :mod:`guardeval.causal.decode` does with torch's tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guardeval.causal.answer import Answer

__all__ = ["pick"]

Logits = NDArray[Any]


def pick(logits: Logits, answers: Sequence[Answer]) -> list[int]:
    """The next token of each row of ``logits`` [rows, vocabulary]; unfinished ``answers`` are fed with it.

    Greedy at temperature 0, else by inverse distribution function within the top-p nucleus. Log probabilities are
    the model's own, before temperature, in float32.
    """
    logits = logits.astype(np.float32, copy=False)
    tokens: list[int] = logits.argmax(-1).tolist()
    for at, answer in enumerate(answers):
        if answer.sampling.temperature > 0 and not answer.done:
            tokens[at] = _drawn(logits[at], answer)
    for at, (answer, token) in enumerate(zip(answers, tokens, strict=True)):
        if not answer.done:
            _feed(answer, token, logits[at])
    return tokens


def _feed(answer: Answer, token: int, logits: Logits) -> None:
    most = min(answer.sampling.top_logprobs, len(logits))
    if not most:
        answer.add(token)
        return
    peak = logits.max()
    total = peak + np.log(np.exp(logits - peak).sum())
    best = np.argpartition(-logits, most - 1)[:most]
    best = best[np.argsort(-logits[best], kind="stable")]
    top = [(int(t), float(logits[t] - total)) for t in best]
    own = float(logits[token] - total)
    if all(token != other for other, _ in top):
        top.append((token, own))
    answer.add(token, own, top)


def _drawn(logits: Logits, answer: Answer) -> int:
    scaled = (logits / np.float32(answer.sampling.temperature)).astype(np.float64)
    probabilities = np.exp(scaled - scaled.max())
    probabilities /= probabilities.sum()
    order = None
    if answer.sampling.top_p < 1:
        order = np.argsort(-probabilities, kind="stable")
        probabilities = probabilities[order]
        before = probabilities.cumsum() - probabilities
        probabilities = np.where(before < answer.sampling.top_p, probabilities, 0.0)
    running = probabilities.cumsum()
    at = min(int(np.searchsorted(running, running[-1] * answer.uniform(), side="right")), len(running) - 1)
    return at if order is None else int(order[at])
