"""A batch of prompts on a model with shared-prefix attention: read the prompts, then take a step at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from guardeval.causal.prefix import ATTENTION, Group, Layers, OwnKeys, attending

__all__ = ["SharedBatch", "switched"]

_QUERIES = 512  # tokens of a row read in one pass
_TOKENS = 4096  # tokens of all rows read in one pass
_ROOM = 64  # columns for answers at first


@contextmanager
def switched(model: PreTrainedModel) -> Iterator[None]:
    """The model with shared-prefix attention in place of its own."""
    usual = model.config._attn_implementation
    model.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


class SharedBatch:
    """Rows decoded together: their own tokens padded on the left, so that all write the same column at a time.

    ``shared`` says of each prompt how many of its first tokens are computed already, and their layers; rows of one
    beginning are neighbours, the longest first. Used within :func:`switched`.
    """

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], shared: Sequence[tuple[int, Layers]]) -> None:
        self._model, self._device, self._dtype = model, model.device, model.dtype
        self._own = [list(ids[length:]) for ids, (length, _) in zip(prompts, shared, strict=True)]
        self._layers = [layers for _, layers in shared]
        self._at = max(map(len, self._own))  # the column that is written next
        self._keys = OwnKeys(len(prompts), self._at + _ROOM)
        lengths = torch.tensor([len(ids) for ids in self._own], device=self._device)
        self._first = self._at - lengths  # each row's first column that is no padding
        self._shift = torch.tensor([length for length, _ in shared], device=self._device) - self._first

    def read(self) -> Tensor:
        """Take in the rows' own prompt tokens; logits of each row's first answer token."""
        return torch.cat([self._read(start, stop) for start, stop in self._portions()])

    def _portions(self) -> Iterator[tuple[int, int]]:
        """Neighbours of like length, so that little is padding and a pass stays small."""
        start = 0
        for at, ids in enumerate(self._own):
            longest = len(self._own[start])
            apart = self._layers[at] is not self._layers[start] or longest > 2 * len(ids) + 16
            if at > start and (apart or (at + 1 - start) * min(_QUERIES, longest) > _TOKENS):
                yield start, at
                start = at
        yield start, len(self._own)

    def _read(self, start: int, stop: int) -> Tensor:
        longest = max(map(len, self._own[start:stop]))
        tokens = torch.tensor([[0] * (longest - len(ids)) + ids for ids in self._own[start:stop]], device=self._device)
        first = self._at - longest
        for at in range(0, longest, _QUERIES):
            part = tokens[:, at : at + _QUERIES]
            logits = self._pass(part, slice(start, stop), first, slice(first + at, first + at + part.shape[1]))
        return logits

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Logits that follow the tokens just picked, one a row."""
        self._keys.reserve(self._at + 1)
        columns = slice(self._at, self._at + 1)
        self._at += 1
        given = torch.tensor(tokens, device=self._device)[:, None]
        return self._pass(given, slice(0, len(tokens)), 0, columns)

    def _pass(self, tokens: Tensor, rows: slice, first: int, columns: slice) -> Tensor:
        """Logits of the last column; ``first`` is the first column that any of the rows uses."""
        self._keys.window = (rows, first, columns)
        written = torch.arange(columns.start, columns.stop, device=self._device)
        seen = torch.arange(first, columns.stop, device=self._device)
        hidden = (seen[None, None] < self._first[rows, None, None]) | (seen[None, None] > written[None, :, None])
        bias = torch.zeros(hidden.shape, dtype=self._dtype, device=self._device)
        bias.masked_fill_(hidden, torch.finfo(self._dtype).min / 2)  # halved: a score added to it stays finite
        positions = (written[None] + self._shift[rows, None]).clamp_(min=0)
        with attending(self._groups(rows), bias[:, None, None]) as layers:
            out = self._model(tokens, position_ids=positions, past_key_values=self._keys, use_cache=True, logits_to_keep=1)
        self.layers_seen = len(layers)
        logits: Tensor = out.logits[:, -1]
        return logits

    def _groups(self, rows: slice) -> list[Group]:
        """Runs of rows that share their beginning, counted from the window's first row."""
        out: list[Group] = []
        layers = self._layers[rows]
        for at, here in enumerate(layers):
            if out and layers[at - 1] is here:
                out[-1] = Group(out[-1].start, at + 1, here)
            else:
                out.append(Group(at, at + 1, here))
        return out

    def keep(self, alive: Sequence[int]) -> None:
        """Go on with these rows only."""
        rows = torch.tensor(alive, device=self._device)
        self._keys.keep(rows)
        self._first, self._shift = self._first[rows], self._shift[rows]
        self._layers = [self._layers[i] for i in alive]
