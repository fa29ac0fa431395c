"""A decoder exported with its key-value cache, as onnxruntime runs it: a batch of rows, read once, then a token at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guardeval.errors import ModelUnusable, needs_extra

__all__ = ["Batch", "Graph", "Layers"]

Array = NDArray[Any]
Layers = dict[str, Array]  # by the name of the graph's input: keys and values [rows, heads, tokens, size]

_TYPES: dict[str, Any] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_LOGITS = 1 << 26  # numbers of logits that one pass may make
_QUERIES = 512  # tokens of a row read in one pass
_KNOWN = ("input_ids", "attention_mask", "position_ids")


class Graph:
    """``model.onnx`` as the exporter's ``text-generation-with-past`` makes it. Raises :class:`ModelUnusable` for another."""

    def __init__(self, path: Path, *, threads: int | None, cuda: bool) -> None:
        self._session = _opened(path, threads, cuda)
        inputs = {i.name: i for i in self._session.get_inputs()}
        outputs = [o.name for o in self._session.get_outputs()]
        self._past = {name: name.replace("past_key_values", "present") for name in inputs if name.startswith("past_key_values")}
        other = sorted(set(inputs) - set(self._past) - set(_KNOWN))
        if not self._past or other or "input_ids" not in inputs or "logits" not in outputs:
            what = f"it also wants {', '.join(other)}" if other else "it takes no key-value cache"
            raise ModelUnusable(
                f"{path}: is no decoder that this backend can run: {what}; `guardeval optimize onnx` writes one"
            )
        self.has_positions = "position_ids" in inputs
        self._has_mask = "attention_mask" in inputs
        self._empty = {name: _empty(path, inputs[name]) for name in self._past}
        self._outputs = ["logits", *self._past.values()]
        shape = next(o.shape for o in self._session.get_outputs() if o.name == "logits")
        self._last_only = shape[1] == 1
        self._vocabulary = shape[-1] if isinstance(shape[-1], int) else 1 << 17

    def layers_of(self, ids: Sequence[int]) -> Layers:
        """Keys and values of a text that many rows begin with."""
        batch = self.batch([list(ids)], 0, None)
        batch.read()
        return batch.layers

    def batch(self, rows: Sequence[list[int]], shared: int, layers: Layers | None) -> Batch:
        """Rows to be decoded together, behind ``shared`` tokens whose ``layers`` are computed already."""
        past = {name: np.repeat((layers or self._empty)[name], len(rows), axis=0) for name in self._past}
        return Batch(self, rows, shared, past)

    def portion(self, rows: int) -> int:
        """Tokens of each row to read in one pass, so that no pass makes more logits than memory likes."""
        return _QUERIES if self._last_only else max(1, min(_QUERIES, _LOGITS // (rows * self._vocabulary)))

    def run(self, tokens: Array, mask: Array, positions: Array, past: Layers) -> tuple[Array, Layers]:
        """Logits of the last token [rows, vocabulary], and the layers grown by ``tokens``. Raises ``MemoryError``."""
        given = {"input_ids": tokens, **past}
        if self._has_mask:
            given["attention_mask"] = mask
        if self.has_positions:
            given["position_ids"] = positions
        try:
            logits, *grown = self._session.run(self._outputs, given)
        except RuntimeError as e:  # onnxruntime's errors; a plain one is all that tells what went wrong
            if "allocate memory" in str(e) or "bad_alloc" in str(e) or "out of memory" in str(e).lower():
                raise MemoryError(str(e)) from e
            raise
        return logits[:, -1], dict(zip(self._past, grown, strict=True))


class Batch:
    """Rows padded on the left, between what they share and what is their own, so that all write the same column."""

    def __init__(self, graph: Graph, rows: Sequence[list[int]], shared: int, past: Layers) -> None:
        self._graph, self.layers = graph, past
        longest = max(map(len, rows))
        gaps = np.array([longest - len(ids) for ids in rows])
        self._tokens = np.array([[0] * (longest - len(ids)) + ids for ids in rows], np.int64)
        columns = np.arange(longest)
        self._mask = np.concatenate(
            [np.ones((len(rows), shared), np.int64), (columns >= gaps[:, None]).astype(np.int64)], axis=1
        )
        self._positions = np.maximum(shared + columns - gaps[:, None], 0).astype(np.int64)
        self._next = shared + longest - gaps  # the position of each row's next token
        self._shared = shared

    def read(self) -> Array:
        """Take in the rows' own prompt tokens; logits of each row's first answer token."""
        size = self._graph.portion(len(self._tokens))
        for start in range(0, self._tokens.shape[1], size):
            part = slice(start, start + size)
            tokens = self._tokens[:, part]
            mask = self._mask[:, : self._shared + start + tokens.shape[1]]
            logits, self.layers = self._graph.run(tokens, mask, self._positions[:, part], self.layers)
        return logits

    def step(self, tokens: Sequence[int]) -> Array:
        """Logits that follow the tokens just picked, one a row."""
        given = np.array(tokens, np.int64)[:, None]
        self._mask = np.concatenate([self._mask, np.ones_like(given)], axis=1)
        positions, self._next = self._next[:, None].astype(np.int64), self._next + 1
        logits, self.layers = self._graph.run(given, self._mask, positions, self.layers)
        return logits

    def keep(self, alive: Sequence[int]) -> None:
        """Go on with these rows only."""
        rows = np.array(alive)
        self._mask, self._next = self._mask[rows], self._next[rows]
        self.layers = {name: np.ascontiguousarray(layer[rows]) for name, layer in self.layers.items()}


def _empty(path: Path, given: Any) -> Array:
    shape = given.shape
    if given.type not in _TYPES or len(shape) != 4 or not isinstance(shape[1], int) or not isinstance(shape[3], int):
        raise ModelUnusable(
            f"{path}: keeps its keys and values as {given.type} {shape}, and [rows, heads, tokens, size] in floating point is "
            "what this backend can grow; use the hf backend for this architecture"
        )
    return np.zeros((1, shape[1], 0, shape[3]), _TYPES[given.type])


def _opened(path: Path, threads: int | None, cuda: bool) -> Any:
    with needs_extra("onnx"):
        import onnxruntime
    provider = "CUDAExecutionProvider" if cuda else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise ModelUnusable(
            "-M provider=cuda: the installed onnxruntime computes on the CPU only; pip install onnxruntime-gpu in its place"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    told = os.environ.get("OMP_NUM_THREADS", "")  # what torch goes by
    threads = threads or (int(told) if told.isdigit() and int(told) else None)
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider, "CPUExecutionProvider"][: 1 + cuda])
    except Exception as e:  # the package's exceptions have no common parent but Exception; each means that it does not load
        raise ModelUnusable(
            f"{path} does not load: {str(e).splitlines()[0]}; make the folder again, or update onnxruntime"
        ) from e
