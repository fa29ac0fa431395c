"""A server on loopback that speaks Ollama's native API over a function: prompts go in, answers come out.

No real Ollama can be had where these tests run. What matters here is kept: tags with digests, a context that a prompt is
silently cut to (as servers up to 0.32 did, or by half as later ones), and a refusal when the client asks for it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scripted_server import Answer, Asked

__all__ = ["OllamaScript", "Reply", "Speaker", "content_key"]

Reply = Mapping[str, Any] | Answer
Speaker = Callable[[str, int | None], Reply]  # text and seed (None: none was sent) → reply
_NOT_CONTENT = ("keep_alive", "stream")
_NANOSECONDS_A_TOKEN = 1_000_000


def content_key(path: str, body: Mapping[str, Any]) -> str:
    """What two requests share that ask the same thing: all but the context's size and what concerns the transport."""
    kept = {k: v for k, v in body.items() if k not in _NOT_CONTENT}
    if isinstance(kept.get("options"), Mapping):
        kept["options"] = {k: v for k, v in kept["options"].items() if k != "num_ctx"}
    return hashlib.sha256(json.dumps([path, kept], sort_keys=True).encode()).hexdigest()


def _silent(_: str) -> Reply:
    return Answer({"error": "this server was given no answers"}, 500)


@dataclass
class OllamaScript:
    """``ScriptedServer(OllamaScript(answer))``. ``answer`` gets the text that the model reads, after any cutting, and
    returns the fields of its reply: ``content``, ``thinking``, ``done_reason``, ``logprobs``, …, or an :class:`Answer`.

    ``OllamaScript(speakers={"gpt-oss:20b": speaker, …})`` serves several models, each with its own function of text and
    seed; a name without a tag is the one tagged ``latest``, as in Ollama. ``counted`` holds how often each content was
    asked for (see :func:`content_key`): as many keys as requests means that nothing was asked twice.
    """

    answer: Callable[[str], Reply] = _silent
    context_length: int | None = 8192
    refuses_when_asked: bool = True  # knows truncate=false
    keeps_half: bool = False  # cuts to half the context and two tokens
    models: Mapping[str, str] = field(default_factory=lambda: {"tiny:latest": "sha256-0123"})
    bytes_per_token: int = 4
    contexts: list[int] = field(default_factory=list)  # num_ctx of each request
    speakers: Mapping[str, Speaker] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    by_model: Counter[str] = field(default_factory=Counter)  # requests by the name that was asked for
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if self.speakers:
            self.models = {name: f"sha256-{hashlib.sha256(name.encode()).hexdigest()}" for name in map(_tagged, self.speakers)}
            self.speakers = {_tagged(name): speaker for name, speaker in self.speakers.items()}

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/api/tags":
            rows = [{"name": name, "model": name, "digest": digest, "size": 1} for name, digest in self.models.items()]
            return Answer({"models": rows})
        if asked.path == "/api/version":
            return Answer({"version": "0.12.11"})
        if asked.path == "/api/show":
            known = {} if self.context_length is None else {"llama.context_length": self.context_length}
            return Answer({"details": {}, "model_info": {"general.architecture": "llama", **known}})
        if asked.path in {"/api/chat", "/api/generate"}:
            return self._reply(asked.path, asked.body)
        return Answer("404 page not found", 404)

    def _tokens(self, text: str) -> int:
        return -(-len(text.encode()) // self.bytes_per_token)

    def _reply(self, path: str, body: Mapping[str, Any]) -> Answer:
        name = body["model"]
        if _tagged(name) not in self.models:
            return Answer({"error": f"model '{name}' not found"}, 404)
        with self._lock:  # a server answers in many threads
            self.counted[content_key(path, body)] += 1
            self.by_model[name] += 1
        text = body["prompt"] if path == "/api/generate" else "".join(m["content"] for m in body["messages"])
        size = int(body["options"]["num_ctx"])
        self.contexts.append(size)
        size = min(size, self.context_length or size)
        if self._tokens(text) > size:
            if self.refuses_when_asked and body.get("truncate") is False:
                return Answer({"error": "the input length exceeds the context length"}, 400)
            text = text[-self.bytes_per_token * (size // 2 + 2 if self.keeps_half else size) :]
        speaker = self.speakers.get(_tagged(name))
        said = self.answer(text) if speaker is None else speaker(text, body["options"].get("seed"))
        if isinstance(said, Answer):
            return said
        fields = dict(said)
        content, thinking = fields.pop("content"), fields.pop("thinking", None)
        answer = {"model": name, "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop"}
        answer |= _measured(self._tokens(text), self._tokens((thinking or "") + (content or ""))) | fields
        if path == "/api/generate":
            answer |= {"response": content, "thinking": thinking}
        else:
            answer |= {"message": {"role": "assistant", "content": content, "thinking": thinking}}
        return Answer(answer)


def _tagged(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _measured(tokens_in: int, tokens_out: int) -> dict[str, int]:
    """Token counts, and durations in nanoseconds as a machine would report that reads and writes at an even pace."""
    reading, writing = tokens_in * _NANOSECONDS_A_TOKEN // 10, tokens_out * _NANOSECONDS_A_TOKEN
    durations = {"prompt_eval_duration": reading, "eval_duration": writing, "load_duration": _NANOSECONDS_A_TOKEN}
    return {
        "prompt_eval_count": tokens_in,
        "eval_count": tokens_out,
        "total_duration": sum(durations.values()),
        **durations,
    }
