"""A completion as bytes and back: what a row of the cache holds."""

from __future__ import annotations

import json
import zlib
from typing import Any

import orjson

from guardeval.contracts import Completion, Finish, Judgement, Token
from guardeval.values import value

__all__ = ["Settled", "pack", "unpack"]

_COMPRESS_FROM = 4096  # bytes; only answers with token probabilities are longer as a rule
_FINISH = {str(f): f for f in Finish}


@value
class Settled:
    """An answer with what it took when it was first asked."""

    completion: Completion
    latency: float  # seconds of the attempt that was answered; of a batch, the batch's; nan: not measured
    cost: float | None  # US dollars
    attempts: int = 1


def pack(settled: Settled) -> bytes:
    """JSON as a flat list, deflated where long; the first byte tells which."""
    c = settled.completion
    tokens = [[t.text, t.logprob, t.top] for t in c.tokens] if c.tokens else 0
    judgement = c.judgement and [c.judgement.probability, sorted(c.judgement.policies), c.judgement.label, c.judgement.notes]
    row = [c.text, c.finish, c.tokens_in, c.tokens_out, settled.latency, settled.cost, c.thinking, tokens, judgement]
    try:
        data = orjson.dumps(row)
    except TypeError:  # lone surrogates, which models do produce and UTF-8 cannot hold
        data = json.dumps(row).encode()
    return zlib.compress(data, 1) if len(data) >= _COMPRESS_FROM else data


def unpack(data: bytes) -> Settled:
    """What :func:`pack` was given, ``attempts`` aside. Raises ValueError for anything else."""
    if data[:1] != b"[":
        try:
            data = zlib.decompress(data)
        except zlib.error as e:
            raise ValueError(f"neither JSON nor deflated JSON: {e}") from e
    try:
        row = orjson.loads(data)
    except orjson.JSONDecodeError:
        row = json.loads(data)  # lone surrogates
    text, finish, tokens_in, tokens_out, latency, cost, thinking, tokens, judgement = row
    completion = Completion(
        text,
        _FINISH[finish],
        thinking,
        tuple(map(_token, tokens)) if tokens else (),
        tokens_in,
        tokens_out,
        Judgement(judgement[0], frozenset(judgement[1]), judgement[2], tuple(judgement[3])) if judgement else None,
    )
    return Settled(completion, float("nan") if latency is None else latency, cost)  # JSON has no nan


def _token(row: list[Any]) -> Token:
    text, logprob, top = row
    return Token(text, _logprob(logprob), tuple((t, _logprob(p)) for t, p in top))


def _logprob(value: float | None) -> float:
    return float("-inf") if value is None else value  # JSON has no -inf: orjson writes null
