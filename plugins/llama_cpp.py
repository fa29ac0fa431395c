"""GGUF models on llama.cpp: ``llama_cpp/FILE.gguf``, or a folder of ``guardeval optimize gguf``. Needs ``xllamacpp``.

Its server runs in a process of its own on loopback, behind a key made up for the occasion, and ends with the run.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import orjson

from guardeval.api_errors import error_of, read_refusal
from guardeval.chat_api import parse_json, read_answer, sendable, sendable_messages
from guardeval.contracts import Completion, Prompt, Request, Traits
from guardeval.errors import ConfigError, ModelError, ModelUnusable, PluginError, Transient
from guardeval.http_connections import ConnectFailed, HttpConnections
from guardeval.http_reply import BrokenReply
from guardeval.per_loop import PerLoop
from guardeval.served_tokenizer import ServedTokenizer

__all__ = ["LlamaCpp"]


@dataclass(frozen=True)
class LlamaCpp:
    """A model of a GGUF file (the only one of a folder).

    ``context``: tokens of prompt and answer together. ``parallel``: prompts under way at once. ``threads``: where None as
    many as ``OMP_NUM_THREADS`` says, else llama.cpp's own choice. ``gpu_layers``: layers to put on a GPU where xllamacpp was
    built for one. ``start_timeout`` and ``timeout``: seconds that loading, and an answer, may take.
    """

    model: str
    context: int = 8192
    parallel: int = 2
    threads: int | None = None
    gpu_layers: int = 0
    start_timeout: float = 300.0
    timeout: float = 300.0

    path_options: ClassVar[tuple[str, ...]] = ("model",)
    not_in_identity: ClassVar[tuple[str, ...]] = ("parallel", "threads", "start_timeout", "timeout")

    def __post_init__(self) -> None:
        least = {"context": 2, "parallel": 1, "threads": 1, "gpu_layers": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ConfigError(f"{name}={value}: at least {low} is wanted")
        if not (self.timeout > 0 and self.start_timeout > 0):
            raise ConfigError("timeout and start_timeout must be positive")

    @property
    def traits(self) -> Traits:
        return Traits(
            logprobs=True, chat=True, raw=True, forced=True, template=True, connections=self.parallel, timeout=self.timeout,
            remote=True,
            price=(0.0, 0.0),
        )  # fmt: skip

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The content of the file, read once."""
        with self._file.open("rb") as f:
            content = hashlib.file_digest(f, "sha256").hexdigest()
        return {"backend": "llama_cpp", "content": f"sha256:{content}", "context": self.context, "gpu_layers": self.gpu_layers}

    async def start(self) -> None:
        """Start the server. Raises :class:`ModelUnusable` where it does not come up, with what it said."""
        await asyncio.to_thread(lambda: self._server)

    async def close(self) -> None:
        """End the server; a later request would start another."""
        opened, server = self.__dict__.pop("_opened", None), self.__dict__.pop("_server", None)
        if opened is not None:
            await opened.close()
        if server is not None:
            await asyncio.to_thread(server.stop)

    async def generate(self, request: Request) -> Completion:
        raw = request.prompt.frame.raw
        path = "/v1/completions" if raw else "/v1/chat/completions"
        await self.start()
        where = self._server.address + path
        try:
            reply = await self._opened.get().post(path, self._body(request, raw))
        except TimeoutError as e:
            raise Transient(f"{where}: no answer within {self.timeout:g} s (-M timeout=)") from e
        except (ConnectFailed, BrokenReply) as e:
            raise self._broken(where, e) from e
        if reply.status != 200:
            refusal = read_refusal(reply.status, reply.body, reply.headers)
            raise error_of(refusal, where, "its key", True, (self._server.key, *request.prompt.own))
        return read_answer(parse_json(reply.body, where), where, (self._server.key,), request.prompt.frame.forced)

    async def render(self, prompt: Prompt) -> str:
        """The text that the model reads for a prompt, by the server's own chat template and tokenizer."""
        await self.start()
        if prompt.frame.raw:
            text = sendable(prompt.last + prompt.frame.forced)
        else:
            text = str((await self._told("/apply-template", _chat(prompt)))["prompt"])
        read = await self._tokenizer.reads(text)
        if read is None:
            raise ModelError("llama.cpp's server shows nothing of a prompt's tokens")
        return read

    async def beginning(self) -> str | None:
        """What the file's tokenizer puts before a text."""
        await self.start()
        return await self._tokenizer.beginning()

    @property
    def _tokenizer(self) -> ServedTokenizer:
        return ServedTokenizer(self._told, "guard")

    async def _told(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that the server answers to a question other than for a completion."""
        where = self._server.address + path
        try:
            reply = await self._opened.get().post(path, orjson.dumps(body))
        except (TimeoutError, ConnectFailed, BrokenReply) as e:
            raise self._broken(where, e) from e
        if reply.status != 200:
            refusal = read_refusal(reply.status, reply.body, reply.headers)
            raise error_of(refusal, where, "its key", True, (self._server.key,))
        return parse_json(reply.body, path)

    def _broken(self, where: str, e: Exception) -> Transient | ModelUnusable:
        if self._server.process.poll() is None:
            return Transient(f"{where}: {e}")
        return ModelUnusable(
            f"llama.cpp's server ended by itself (code {self._server.process.returncode}): {self._server.said()}"
        )

    def _body(self, request: Request, raw: bool) -> bytes:
        sampling, prompt = request.sampling, request.prompt
        body: dict[str, Any] = {
            "model": "guard", "max_tokens": sampling.max_tokens, "temperature": sampling.temperature, "top_p": sampling.top_p,
            "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0, "cache_prompt": True,
        }  # fmt: skip
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.seed is not None or sampling.temperature > 0:
            body["seed"] = (sampling.seed or 0) + request.draw
        if sampling.top_logprobs:
            k = sampling.top_logprobs
            body |= {"logprobs": k} if raw else {"logprobs": True, "top_logprobs": k}
        asked = {"prompt": sendable(prompt.last + prompt.frame.forced)} if raw else _chat(prompt)
        return orjson.dumps(body | asked)

    @property
    def _file(self) -> Path:
        given = Path(self.model).expanduser()
        if given.is_dir():
            found = sorted(given.glob("*.gguf"))
            if len(found) != 1:
                raise ModelUnusable(f"{given}: holds {len(found)} GGUF files, and one is wanted; name the file")
            return found[0]
        if not given.is_file():
            raise ModelUnusable(
                f"llama_cpp/{self.model}: no such file or folder; `guardeval optimize gguf` writes such a folder"
            )
        return given

    @cached_property
    def _server(self) -> _Server:
        if importlib.util.find_spec("xllamacpp") is None:
            raise PluginError("llama_cpp needs the package 'xllamacpp', which is not installed: pip install xllamacpp")
        told = os.environ.get("OMP_NUM_THREADS", "")  # what torch goes by
        threads = self.threads or (int(told) if told.isdigit() and int(told) else None)
        settings = {k: getattr(self, k) for k in ("context", "parallel", "gpu_layers")}
        return _Server({"path": str(self._file.resolve()), "threads": threads, **settings}, self.start_timeout)

    @cached_property
    def _opened(self) -> PerLoop[HttpConnections]:
        server = self._server
        return PerLoop(lambda: HttpConnections(server.address, {"Authorization": f"Bearer {server.key}"}, self.timeout))


def _chat(prompt: Prompt) -> dict[str, Any]:
    """The turns, for the model's chat template; what is forced is a last turn to be continued."""
    body: dict[str, Any] = {"messages": sendable_messages(prompt)}
    if prompt.frame.options:
        body["chat_template_kwargs"] = dict(prompt.frame.options)
    if prompt.frame.forced:
        body |= {"add_generation_prompt": False, "continue_final_message": True}
    return body


class _Server:
    """The server's process: it ends when its standard input closes, also by the death of this one."""

    def __init__(self, settings: Mapping[str, Any], timeout: float) -> None:
        self.key = secrets.token_urlsafe(24)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the server
        self.process = subprocess.Popen(
            [sys.executable, "-m", "guardeval.plugins.llama_cpp_server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        try:
            self.address = self._ready({**settings, "key": self.key}, timeout)
        except BaseException:
            self.stop()
            raise

    def _ready(self, settings: Mapping[str, Any], timeout: float) -> str:
        import threading

        talk, listen = self.process.stdin, self.process.stdout
        if talk is None or listen is None:  # never: both are pipes
            raise RuntimeError("no pipe to the server")
        timer = threading.Timer(timeout, self.process.kill)
        timer.start()
        try:
            talk.write(json.dumps(settings).encode() + b"\n")
            talk.flush()
            for line in listen:
                if line.startswith(b'{"ready"'):
                    return str(json.loads(line)["ready"])
        except BrokenPipeError:
            pass
        finally:
            timer.cancel()
        self.process.wait()
        raise ModelUnusable(f"llama.cpp cannot run {settings['path']}: {self.said()}")

    def said(self) -> str:
        """The last lines of its log that tell of an error, else its last line."""
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        wrong = [line for line in lines if "error" in line.lower()]
        return " ".join((wrong or lines or ["it said nothing"])[-2:])[:300]

    def stop(self) -> None:
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()
