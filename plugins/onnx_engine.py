"""Requests in, completions out, on an exported model: encode, check lengths, sort, decode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from guardeval.causal.answer import Answer
from guardeval.causal.asking import Asked, begun, check_fits, context_of, parts
from guardeval.causal.file_tokenizer import FileTokenizer, read_json
from guardeval.causal.picking import pick
from guardeval.causal.tokens import Codec, Encoded
from guardeval.contracts import Completion, Prompt, Request
from guardeval.errors import ModelError
from guardeval.plugins.onnx_graph import Graph, Layers

__all__ = ["OnnxEngine"]

_LEAST = 16  # shared tokens below which sharing is not worth a pass of its own
_KEPT = 4  # beginnings whose layers are kept
_ROPES = {"default", "linear", "llama3", "yarn"}  # the others turn with the length of the whole batch
_OTHER = ("attn_logit_softcapping", "attention_chunk_size", "alibi")


class OnnxEngine:
    """One loaded model. Rows of a part are decoded together, padded on the left, behind the beginning they share."""

    def __init__(
        self, folder: Path, *, batch: int, threads: int | None, max_length: int | None, thinking: bool | None, cuda: bool
    ) -> None:
        config = read_json(folder / "config.json")
        tokenizer = FileTokenizer(folder)
        self._graph = Graph(folder / "model.onnx", threads=threads, cuda=cuda)
        self._batch, self._context = batch, context_of(config, max_length)
        self._codec = Codec(tokenizer, thinking=thinking)
        self._ends = _ends(folder, config, tokenizer)
        turn_end = self._codec.turn_end
        self._turn_ends = self._ends if turn_end is None else self._ends | {turn_end}
        self._shares = self._graph.has_positions and sees_everything(config)
        self._beginnings: dict[tuple[int, ...], Layers] = {}

    def answer(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions, in the order of ``requests``. Raises :class:`ModelError`: too long a prompt, too little memory."""
        asked = list(zip(requests, self._codec.encode([r.prompt for r in requests]), strict=True))
        for _, prompt in asked:
            check_fits(prompt, self._context)
        found: dict[int, Completion] = {}
        for alike in self._alike(asked):
            for part in parts(sorted(alike, key=lambda i: -len(asked[i][1].ids)), asked, self._batch):
                found |= zip(part, self._decoded([asked[i] for i in part]), strict=True)
        return [found[i] for i in range(len(asked))]

    def render(self, prompt: Prompt) -> str:
        """The text that the model reads."""
        return self._codec.render(prompt)

    @property
    def beginning(self) -> str:
        """What the tokenizer by itself puts before a text; empty for nothing."""
        return self._codec.beginning

    def _alike(self, asked: Sequence[Asked]) -> Iterable[list[int]]:
        """Places of prompts of one frame, where beginnings are shared; else all together."""
        frames: dict[int, list[int]] = {}
        for at, (_, prompt) in enumerate(asked):
            frames.setdefault(id(prompt.frame) if self._shares else 0, []).append(at)
        return frames.values()

    def _decoded(self, asked: Sequence[Asked]) -> list[Completion]:
        answers = [self._begun(request, prompt) for request, prompt in asked]
        beginning = self._beginning([prompt for _, prompt in asked])
        try:
            self._write([prompt.ids for _, prompt in asked], answers, beginning)
        except MemoryError as e:
            self._beginnings.clear()
            raise ModelError(
                f"out of memory with {len(asked)} prompts at a time: lower -M batch=, or use shorter policies"
            ) from e
        return [answer.completion() for answer in answers]

    def _write(self, prompts: Sequence[list[int]], answers: list[Answer], beginning: tuple[int, ...]) -> None:
        """All answers, a token of each at a time; rows that are done leave the batch."""
        layers = self._layers(beginning) if beginning else None
        batch = self._graph.batch([ids[len(beginning) :] for ids in prompts], len(beginning), layers)
        logits = batch.read()
        while True:
            tokens = pick(logits, answers)
            alive = [i for i, answer in enumerate(answers) if not answer.done]
            if not alive:
                return
            if len(alive) < len(answers):
                batch.keep(alive)
                answers, tokens = [answers[i] for i in alive], [tokens[i] for i in alive]
            logits = batch.step(tokens)

    def _begun(self, request: Request, prompt: Encoded) -> Answer:
        ends = self._ends if request.prompt.frame.raw else self._turn_ends
        return begun(request, prompt, self._codec, ends, self._context)

    def _beginning(self, prompts: Sequence[Encoded]) -> tuple[int, ...]:
        """The tokens that prompts of one frame begin with; a token at least is left to each."""
        if not self._shares:
            return ()
        first = prompts[0]
        length = min(min(_common(first.frame, p.ids), len(p.ids) - 1) for p in prompts)
        return tuple(first.frame[:length]) if length >= _LEAST else ()

    def _layers(self, beginning: tuple[int, ...]) -> Layers:
        """Keys and values of a beginning, computed once while it is among the last that were used."""
        if beginning not in self._beginnings:
            while len(self._beginnings) >= _KEPT:
                self._beginnings.pop(next(iter(self._beginnings)))
            self._beginnings[beginning] = self._graph.layers_of(beginning)
        self._beginnings[beginning] = self._beginnings.pop(beginning)  # the last used goes last
        return self._beginnings[beginning]


def _common(frame: Sequence[int], ids: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(frame, ids, strict=False)) if a != b), min(len(frame), len(ids)))


def _ends(folder: Path, config: Mapping[str, Any], tokenizer: FileTokenizer) -> frozenset[int]:
    """Tokens that end an answer: as ``hf`` takes them, from the generation settings, else the configuration."""
    given = read_json(folder / "generation_config.json", required=False).get("eos_token_id")
    if given is None:
        inner = config.get("text_config")
        given = (inner if isinstance(inner, Mapping) else config).get("eos_token_id")
    named = given if isinstance(given, list) else [given]
    return frozenset(i for i in (*named, tokenizer.id_of(tokenizer.eos_token)) if isinstance(i, int))


def sees_everything(config: Mapping[str, Any]) -> bool:
    """Whether every token sees all earlier ones, by position alone: then a gap between beginning and rest does no harm."""
    return not any(_windows(config))


def _windows(config: Mapping[str, Any]) -> Iterator[bool]:
    inner = config.get("text_config")
    text = inner if isinstance(inner, Mapping) else config
    layers = text.get("layer_types")
    yield bool(set(layers or ()) - {"full_attention"})
    yield not layers and bool(text.get("sliding_window"))
    yield any(text.get(name) not in (None, False) for name in _OTHER)
    ropes = text.get("rope_parameters") or text.get("rope_scaling") or {}
    kinds = (s.get("rope_type") or s.get("type") for s in (ropes, *ropes.values()) if isinstance(s, Mapping))
    yield bool({k for k in kinds if k} - _ROPES)
