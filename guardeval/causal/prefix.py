"""Attention over a beginning that many prompts share: its keys and values are computed once and never copied.

All queries of a batch meet the keys of the shared beginning in one matrix product; each row's own keys are added before
the softmax, so the result is ordinary attention. This is the decomposition of Hydragen (Juravsky et al., 2024,
arXiv:2402.05099), with one joint softmax instead of two that are merged.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, DynamicCache, PreTrainedModel

__all__ = ["ATTENTION", "Group", "OwnKeys", "Prefixes", "Unshared", "attending", "shared_length"]

ATTENTION = "guardeval_shared_prefix"

Layers = Sequence[tuple[Tensor, Tensor]]  # keys and values of each layer, [key heads, tokens, head size]

_SCORES = 1 << 24  # attention scores held at once; longer work is cut by rows
_HARMLESS = {"cache_position", "is_causal", "output_attentions", "output_hidden_states", "position_embeddings"}
_HARMLESS |= {"position_ids", "return_dict", "use_cache"}
_SLACK = 32  # tokens of a beginning that may be computed again by each row, so that a kept one serves


class Unshared(RuntimeError):
    """The model wants something of its attention that the shared computation does not know."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows ``start`` to ``stop`` of a batch, which begin alike; ``layers`` is empty for rows that share nothing."""

    start: int
    stop: int
    layers: Layers = ()


class _Now(threading.local):
    """What the attention of this thread's forward pass needs beside queries and own keys."""

    groups: Sequence[Group] = ()
    bias: Tensor | None = None  # [rows, 1, 1, queries, own keys], added to the scores of the rows' own keys
    seen: set[int] | None = None  # layers that asked


_now = _Now()


@contextmanager
def attending(groups: Sequence[Group], bias: Tensor) -> Iterator[set[int]]:
    """Forward passes inside attend over ``groups``; yields the set of layers that have."""
    _now.groups, _now.bias, _now.seen = groups, bias, set()
    try:
        yield _now.seen
    finally:
        _now.groups, _now.bias, _now.seen = (), None, None


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """``query`` [rows, heads, queries, size]; ``key`` and ``value`` [rows, key heads, own keys, size], the rows' own."""
    unknown = sorted(
        name for name, given in options.items() if given is not None and given is not False and name not in _HARMLESS
    )
    if unknown or dropout or _now.bias is None or _now.seen is None:
        raise Unshared(f"attention with {', '.join(unknown) or 'dropout, or outside a batch'}")
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    _now.seen.add(layer)
    rows, heads, queries, size = query.shape
    per_key = heads // key.shape[1]
    scale = size**-0.5 if scaling is None else scaling
    grouped = (query * scale).reshape(rows, key.shape[1], per_key * queries, size)
    parts = []
    for group in _now.groups:
        prefix = group.layers[layer] if group.layers else None
        width = key.shape[2] + (prefix[0].shape[1] if prefix else 0)
        step = max(1, _SCORES // (heads * queries * width))
        for at in range(group.start, group.stop, step):
            own = slice(at, min(at + step, group.stop))
            parts.append(_joint(grouped[own], key[own], value[own], _now.bias[own], prefix))
    out = parts[0] if len(parts) == 1 else torch.cat(parts)
    return out.reshape(rows, heads, queries, value.shape[-1]).transpose(1, 2), None


def _joint(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, prefix: tuple[Tensor, Tensor] | None) -> Tensor:
    """Attention of ``query`` [rows, key heads, group x queries, size] over the shared and the own keys together."""
    rows, heads, many, size = query.shape
    queries, own = bias.shape[-2:]
    scores = query @ key.transpose(2, 3)
    scores = (scores.view(rows, heads, many // queries, queries, own) + bias).view(rows, heads, many, own)
    if prefix is None:
        return scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value
    shared_key, shared_value = prefix
    length = shared_key.shape[1]
    flat = query.transpose(0, 1).reshape(heads, rows * many, size)
    shared = (flat @ shared_key.transpose(1, 2)).view(heads, rows, many, length).transpose(0, 1)
    weights = torch.cat([shared, scores], -1).softmax(-1, dtype=torch.float32).to(value.dtype)
    on_shared = weights[..., :length].transpose(0, 1).reshape(heads, rows * many, length) @ shared_value
    return on_shared.view(heads, rows, many, -1).transpose(0, 1) + weights[..., length:] @ value


AttentionInterface.register(ATTENTION, _attention)


class OwnKeys(DynamicCache):
    """Keys and values of each row's own tokens: one buffer a layer, written in place, rows dropped when done.

    ``window`` says what the next forward pass writes and sees: rows, first column seen, columns written.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self._rows, self._columns = rows, columns
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self.window = (slice(0, rows), 0, slice(0, 0))

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store the new columns; return all columns that the rows of the window have."""
        rows, first, columns = self.window
        while len(self._buffers) <= layer_idx:  # layers come in order; each has its own head count and device
            made = tuple(x.new_zeros(self._rows, x.shape[1], self._columns, x.shape[3]) for x in (key_states, value_states))
            self._buffers.append((made[0], made[1]))
        keys, values = self._buffers[layer_idx]
        keys[rows, :, columns], values[rows, :, columns] = key_states, value_states
        return keys[rows, :, first : columns.stop], values[rows, :, first : columns.stop]

    def get_seq_length(self, layer_idx: int | None = 0) -> int:
        return int(self.window[2].start)

    def reserve(self, columns: int) -> None:
        """Make room for at least ``columns``; grows by half, so that the copying stays linear in the answer."""
        if columns > self._columns:
            more = max(columns, self._columns + self._columns // 2) - self._columns
            self._columns += more
            self._buffers = [(_padded(k, more), _padded(v, more)) for k, v in self._buffers]

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        self._rows = len(rows)
        self._buffers = [(k.index_select(0, rows), v.index_select(0, rows)) for k, v in self._buffers]


def _padded(x: Tensor, columns: int) -> Tensor:
    return torch.cat([x, x.new_zeros(*x.shape[:2], columns, x.shape[3])], 2)


class Prefixes:
    """Keys and values of shared beginnings; the ``keep`` used last stay, for the batches to come."""

    def __init__(self, model: PreTrainedModel, keep: int = 8) -> None:
        self._model, self._keep = model, keep
        self._kept: OrderedDict[tuple[int, ...], Layers] = OrderedDict()

    def get(self, ids: Sequence[int]) -> tuple[int, Layers]:
        """How many of ``ids`` are covered, at most a few less than all, and the layers of that many tokens."""
        wanted = tuple(ids)
        for kept in reversed(self._kept):
            length = shared_length(kept, wanted)
            if length == len(wanted) or (length == len(kept) and len(wanted) - length < _SLACK):
                self._kept.move_to_end(kept)
                layers = self._kept[kept]
                return length, layers if length == len(kept) else [(k[:, :length], v[:, :length]) for k, v in layers]
        self._kept[wanted] = layers = self._computed(wanted)
        while len(self._kept) > self._keep:
            self._kept.popitem(last=False)
        return len(wanted), layers

    def clear(self) -> None:
        self._kept.clear()

    def _computed(self, ids: tuple[int, ...]) -> Layers:
        cache = DynamicCache()
        tokens = torch.tensor([ids], device=self._model.device)
        self._model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        layers: Sequence[Any] = cache.layers
        return [(layer.keys[0], layer.values[0]) for layer in layers]


def shared_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two prompts have in common from their beginning."""
    most = min(len(first), len(second))
    if first[:most] == second[:most]:
        return most
    return next(i for i in range(most) if first[i] != second[i])
