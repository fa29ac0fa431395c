"""Models served by Ollama, through the native API of the ``ollama`` package. Extra: ``ollama``.

Ollama cuts a prompt that does not fit its context without a word. So every request says how large a context it needs,
asks the server to refuse rather than cut, and its token counts are checked when it comes back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from guardeval.api_errors import Refusal, error_of, quote, retry_after
from guardeval.chat_api import read_tokens, sendable, sendable_messages, spell_out
from guardeval.contracts import Completion, Finish, Prompt, Request, Sampling, Traits
from guardeval.endpoint import api_key, clean_base_url, needs_proxy
from guardeval.errors import ConfigError, ModelError, ModelUnusable, Transient, did_you_mean, needs_extra
from guardeval.per_loop import PerLoop
from guardeval.plugins.ollama_context import Window, refuse_to_cut, was_cut
from guardeval.prices import checked_price

if TYPE_CHECKING:
    import ollama

__all__ = ["Ollama"]

_TOO_LONG = ("context length", "context size", "context window", "exceeds the available", "input length", "too long")


@dataclass(frozen=True)
class Ollama:
    """``ollama/gpt-oss:20b``.

    ``num_ctx`` is the context in tokens; without it each request asks for the smallest power of two that covers its
    prompt and answer, never less than an earlier one, so that the server seldom loads the model anew.
    """

    model: str
    num_ctx: int | None = None
    think: Literal["low", "medium", "high", "true", "false"] | None = None  # None: as the model does by itself
    keep_alive: str | None = None  # how long the server keeps the model loaded, e.g. 30m
    options: Mapping[str, Any] = field(default_factory=dict)  # more of Ollama's options, as JSON
    logprobs: bool = True  # ask for token probabilities; servers before 0.12.11 give none
    base_url: str | None = None  # None: OLLAMA_HOST, or http://127.0.0.1:11434
    timeout: float = 300.0  # seconds an attempt
    api_key_env: str | None = None  # None: OLLAMA_API_KEY if it is set
    price: tuple[float, float] | None = None  # US dollars per million tokens in, out

    not_in_identity: ClassVar[tuple[str, ...]] = ("keep_alive", "timeout", "api_key_env", "price")

    def __post_init__(self) -> None:
        if self.base_url is not None:
            object.__setattr__(self, "base_url", _server(self.base_url))
        if not self.timeout > 0 or (self.num_ctx is not None and self.num_ctx < 1):
            raise ConfigError(f"timeout={self.timeout} and num_ctx={self.num_ctx} must be positive")
        if not isinstance(self.options, Mapping) or "num_ctx" in self.options:
            raise ConfigError(f'options={self.options!r}: a JSON object is wanted, like {{"top_k": 1}}; num_ctx has its own -M')
        checked_price(self.price)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Holds the model's digest, so that another pull of the same name is another model; asks the server for it."""
        digest = self._installed if self._installed is not None else self._ask_digest()
        rest = {"num_ctx": self.num_ctx, "think": self.think, "options": dict(self.options), "logprobs": self.logprobs}
        return {"backend": "ollama", "model": self.model, "base_url": self._address, "digest": digest, **rest}

    @cached_property
    def traits(self) -> Traits:
        return Traits(
            logprobs=self.logprobs, raw=True, forced=True, connections=4, timeout=self.timeout, remote=True, price=self.price
        )

    async def start(self) -> None:
        """Raises :class:`ModelUnusable` when no Ollama answers, the model is not there, or ``num_ctx`` is beyond it."""
        client = self._client
        try:
            listed = await client.list()
        except self._failures as e:
            raise self._at_start(e) from e
        self.__dict__["_installed"] = self._digest(listed)
        try:
            facts = (await client.show(self.model)).modelinfo or {}
        except self._failures:
            facts = {}  # an older server, or one that says less: the limit stays unknown
        lengths = [v for k, v in facts.items() if k.endswith(".context_length") and isinstance(v, int)]
        self._window.limit = max(lengths, default=None)
        if self.num_ctx and self._window.limit and self.num_ctx > self._window.limit:
            raise ModelUnusable(f"num_ctx={self.num_ctx}: {self.model} has a context of {self._window.limit} tokens at most")

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        await self._opened.close()

    async def generate(self, request: Request) -> Completion:
        prompt, sampling = request.prompt, request.sampling
        if prompt.frame.role == "assistant" and not prompt.frame.raw and not prompt.frame.forced:
            raise ModelUnusable(
                f"{self._address} continues a last turn of the assistant, which this solver wants judged; ask the model "
                "through hf/…, llama_cpp/… or openai_compatible/… (vLLM)"
            )
        size = len(prompt.as_text().encode("utf-8", "surrogatepass"))
        num_ctx = self._window.cover(size, sampling.max_tokens)
        if num_ctx is None:
            raise ModelError(
                f"{self.model}: a prompt of {size} bytes and {sampling.max_tokens} tokens of answer cannot fit its context of "
                f"{self._window.limit} tokens; shorter policies may (--policies minimal)"
            )
        settings = self._settings(sampling, request.draw, num_ctx)
        try:
            if prompt.frame.raw:
                text = sendable(prompt.as_text())
                generated = await self._client.generate(self.model, prompt=text, raw=True, **settings)
                return self._completion(generated, generated.response, generated.thinking, size, num_ctx)
            reply = await self._client.chat(self.model, messages=sendable_messages(prompt), think=self._think, **settings)
            return self._completion(reply, reply.message.content, reply.message.thinking, size, num_ctx)
        except self._failures as e:
            raise self._error(e, prompt, num_ctx) from e

    def _settings(self, sampling: Sampling, draw: int, num_ctx: int) -> dict[str, Any]:
        options: dict[str, Any] = {
            **self.options,
            "num_ctx": num_ctx,
            "num_predict": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.stop:
            options["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            options["seed"] = sampling.seed + draw
        settings: dict[str, Any] = {"options": options, "keep_alive": self.keep_alive}
        if self.logprobs and sampling.top_logprobs:
            settings |= {"logprobs": True, "top_logprobs": min(sampling.top_logprobs, 20)}
        return settings

    def _completion(self, reply: Any, text: str | None, thinking: str | None, size: int, num_ctx: int) -> Completion:
        where = f"{self._address} (model {self.model})"
        if reply.done is False or reply.done_reason in {"load", "unload"} or not isinstance(text, str):
            raise Transient(f"{where} broke its answer off ({reply.done_reason or 'no content'})")
        tokens_in, tokens_out = reply.prompt_eval_count, reply.eval_count
        if was_cut(size, tokens_in or 0, tokens_out or 0, num_ctx):
            raise self._overflow(num_ctx)
        finish = Finish.LENGTH if reply.done_reason == "length" else Finish.STOP
        entries = [entry.model_dump() for entry in reply.logprobs or ()]
        tokens = spell_out(read_tokens({"content": entries}), text) if entries else ()
        return Completion(text, finish, thinking or None, tokens, tokens_in, tokens_out)

    # ── what went wrong ───────────────────────────────────────────────────────────────────────────────────────────

    def _overflow(self, num_ctx: int) -> ModelError:
        """A context too small: ask again with a larger one, or say that there is none."""
        cut = f"{self.model}: the prompt and its answer do not fit num_ctx={num_ctx}, and Ollama would cut the policies"
        if self.num_ctx is not None:
            return ModelUnusable(f"{cut}; give more by -M num_ctx=, leave num_ctx away, or use --policies minimal")
        if self._window.grow(num_ctx):
            return Transient(f"{cut}; asking again with more")
        return ModelError(f"{cut}; the model has no larger context: use --policies minimal")

    def _error(self, error: Exception, prompt: Prompt, num_ctx: int) -> ModelError:
        import httpx
        import ollama

        if isinstance(error, ModelError):
            return error
        if isinstance(error, ollama.ResponseError):
            withheld = (*((self._key[0],) if self._key[0] else ()), *prompt.own, prompt.frame.before)
            status = error.status_code if error.status_code > 0 else 500
            refusal = Refusal(status, error.error, retry_after=_retry_after(error))
            said = quote(refusal.words, withheld)
            if refusal.complains_about(*_TOO_LONG):
                return self._overflow(num_ctx)
            if refusal.complains_about("thinking", "think value"):
                return ModelUnusable(f"{self.model} does not think as asked by think={self.think}{said}; leave -M think away")
            if refusal.status == 404:
                return ModelUnusable(f"{self._address} has no model {self.model!r}{said}; fetch it: ollama pull {self.model}")
            return error_of(refusal, self._address, self._key[1], self._key[0] is not None, withheld)
        if isinstance(error, httpx.TimeoutException):
            return Transient(f"{self._address}: no answer within {self.timeout:g} s (-M timeout=)")
        if isinstance(error, ValueError):
            return Transient(f"{self._address}: its answer cannot be read ({type(error).__name__})")
        return Transient(f"{self._address}: {type(error).__name__}{quote(str(error))}")

    def _at_start(self, error: Exception) -> Exception:
        import httpx
        import ollama

        if isinstance(error, ModelError):
            return error
        if isinstance(error, (ConnectionError, httpx.TransportError)):
            return ModelUnusable(f"no Ollama answers at {self._address}; start it (ollama serve) or say where: -M base_url=")
        if isinstance(error, ollama.ResponseError):
            return error_of(Refusal(error.status_code, error.error), self._address, self._key[1], self._key[0] is not None)
        if isinstance(error, ValueError):
            return ModelUnusable(
                f"{self._address}/api/tags lists no models, so this is no Ollama server; say where one is: -M base_url="
            )
        return error

    # ── the connection ────────────────────────────────────────────────────────────────────────────────────────────

    def _digest(self, listed: ollama.ListResponse) -> str:
        known = {m.model: m.digest or "" for m in listed.models if m.model}
        name = self.model if self.model in known else f"{self.model}:latest"
        if name not in known:
            hint = did_you_mean(self.model, known)
            raise ModelUnusable(f"{self._address} has no model {self.model!r}{hint}; fetch it: ollama pull {self.model}")
        return known[name]

    def _ask_digest(self) -> str:
        with needs_extra("ollama"):
            import ollama
        try:
            with ollama.Client(self._address, **self._connection()) as client:
                return self._digest(client.list())
        except self._failures as e:
            raise self._at_start(e) from e

    @cached_property
    def _failures(self) -> tuple[type[Exception], ...]:
        """What the package raises: refusals, transport errors, no connection, an answer that it cannot read."""
        import httpx
        import ollama

        return ollama.ResponseError, httpx.HTTPError, ConnectionError, ValueError

    @cached_property
    def _window(self) -> Window:
        return Window(self.num_ctx)

    @cached_property
    def _installed(self) -> str | None:
        return None

    @cached_property
    def _think(self) -> Any:
        return {"true": True, "false": False}.get(self.think or "", self.think)

    @cached_property
    def _address(self) -> str:
        return self.base_url or _server(os.environ.get("OLLAMA_HOST") or "127.0.0.1:11434")

    @cached_property
    def _key(self) -> tuple[str | None, str]:
        return api_key(self.api_key_env, "OLLAMA_API_KEY")

    def _connection(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._key[0]}"} if self._key[0] else None
        return {"headers": headers, "timeout": self.timeout, "trust_env": needs_proxy(self._address)}

    @property
    def _client(self) -> ollama.AsyncClient:
        """The client of the running event loop."""
        return self._opened.get()

    @cached_property
    def _opened(self) -> PerLoop[ollama.AsyncClient]:
        return PerLoop(self._open)

    def _open(self) -> ollama.AsyncClient:
        with needs_extra("ollama"):
            import ollama
        return ollama.AsyncClient(self._address, auth=refuse_to_cut(), **self._connection())


def _retry_after(error: Exception) -> float | None:
    """What the reply's header asked for: the package drops the reply, but the error that it made its own of holds it."""
    reply = getattr(error.__context__, "response", None)
    return None if reply is None else retry_after(reply.headers)


def _server(url: str) -> str:
    """Ollama's address from what users write: a bare host, an address with ``/v1`` or ``/api``, ``0.0.0.0``."""
    given = url.strip()
    if "://" not in given:
        given = f"http://{given}" if urlsplit(f"//{given}").port else f"http://{given.rstrip('/')}:11434"
    return clean_base_url(given.replace("//0.0.0.0", "//127.0.0.1")).removesuffix("/v1").removesuffix("/api")
