"""OpenAI's own models, and Azure's by environment, through the ``openai`` package. Extra: ``openai``.

For other servers ``openai_compatible`` is several times cheaper a request.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from guardeval.api_errors import Refusal, error_of, quote, read_refusal
from guardeval.chat_api import model_names, parse_json, read_answer, read_answers, sendable_messages
from guardeval.chat_batches import batch_line, batch_status, read_results
from guardeval.contracts import Completion, Finish, OfflineLimits, OfflineStatus, Prompt, Request, Sampling, Traits
from guardeval.endpoint import api_key, clean_base_url
from guardeval.errors import ConfigError, ModelError, ModelUnusable, Transient, did_you_mean, needs_extra
from guardeval.per_loop import PerLoop
from guardeval.prices import checked_price, price_of

if TYPE_CHECKING:
    import openai

__all__ = ["OpenAI"]

_HOME = "https://api.openai.com/v1"
_PATH = "/v1/chat/completions"
_LISTED = 300  # latest batches that are looked through for one of ours
_REASONS = re.compile(r"(o\d|gpt-([5-9]|\d\d))(?!.*-chat)")


@dataclass(frozen=True)
class OpenAI:
    """``openai/gpt-4o``. With ``AZURE_OPENAI_ENDPOINT`` set the name is that of an Azure deployment.

    Reasoning models take no temperature, stop words or seed and give no token probabilities; ``reasoning`` sets their
    effort, and says of a model with an unknown name that it is one.
    """

    model: str
    reasoning: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    base_url: str | None = None  # None: AZURE_OPENAI_ENDPOINT, OPENAI_BASE_URL, or OpenAI itself
    timeout: float = 300.0  # seconds an attempt
    api_key_env: str | None = None  # None: OPENAI_API_KEY, or AZURE_OPENAI_API_KEY
    logprobs: bool = True  # whether this model gives token probabilities
    draws: int = 16  # of one question that a request asks for at most (`n`); 1 = a request a draw
    price: tuple[float, float] | None = None  # US dollars per million tokens in, out; None: list price if known

    not_in_identity: ClassVar[tuple[str, ...]] = ("timeout", "api_key_env", "draws", "price")

    offline: ClassVar[OfflineLimits] = OfflineLimits(requests=50_000, size=200_000_000, price=0.5)

    def __post_init__(self) -> None:
        if self.base_url is not None:
            object.__setattr__(self, "base_url", clean_base_url(self.base_url, root="/v1"))
        if not self.timeout > 0 or self.draws < 1:
            raise ConfigError(f"timeout={self.timeout} and draws={self.draws} must be positive")
        checked_price(self.price)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        identity: dict[str, Any] = {"backend": "openai", "model": self.model, "base_url": self._address}
        if self._is_azure:
            identity["api_version"] = os.environ.get("OPENAI_API_VERSION")
        return identity | {"reasoning": self.reasoning, "logprobs": self.logprobs}

    @cached_property
    def traits(self) -> Traits:
        return Traits(
            logprobs=self.logprobs and not self._reasons,
            timeout=self.timeout,
            remote=True,
            price=self.price or price_of(self.model),
            draws=self.draws,
        )

    async def start(self) -> None:
        """Raises :class:`ModelUnusable` without a key that works, a server, or a model of this name."""
        with needs_extra("openai"):
            import openai

        try:
            reply = await self._client.models.with_raw_response.list(timeout=min(self.timeout, 30.0))
            names = model_names(parse_json(reply.http_response.content, self._address))
        except openai.APITimeoutError:
            return
        except openai.APIConnectionError as e:
            raise ModelUnusable(f"no server answers at {self._address} ({e.__cause__ or e})") from e
        except openai.AuthenticationError as e:
            raise self._error(e) from e
        except (openai.OpenAIError, Transient):
            return  # a key may be barred from this list, a server not have one: the first request will tell
        if self._address == _HOME and names and self.model not in names:
            raise ModelUnusable(f"{_HOME} has no model {self.model!r} for this key{did_you_mean(self.model, names)}")

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        await self._opened.close()

    async def generate(self, request: Request) -> Completion:
        answer = await self._answer(request, self._settings(request.sampling, request.draw))
        if answer is None:
            return Completion("", Finish.FILTERED)
        return read_answer(answer, self._chat, self._withheld(request.prompt))

    async def generate_draws(self, requests: Sequence[Request]) -> list[Completion | ModelError]:
        """Several answers to one question in one request (``n``)."""
        first, most = requests[0], len(requests)
        answer = await self._answer(first, self._settings(first.sampling, first.draw) | {"n": most})
        if answer is None:
            return [Completion("", Finish.FILTERED)] * most
        return read_answers(answer, most, self._chat, self._withheld(first.prompt))

    async def _answer(self, request: Request, settings: Mapping[str, Any]) -> Any:
        """The JSON that the server answers with; None where it withholds an answer."""
        import openai

        prompt = request.prompt
        try:
            reply = await self._client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=cast(Any, sendable_messages(prompt)),
                **settings,
            )
            data = reply.http_response.content
        except openai.APIStatusError as e:
            refusal = read_refusal(e.status_code, e.response.content, e.response.headers)
            if refusal.is_filter:
                return None
            raise self._error(e, prompt) from e
        except openai.OpenAIError as e:
            raise self._error(e, prompt) from e
        return parse_json(data, self._chat)

    def _settings(self, sampling: Sampling, draw: int) -> dict[str, Any]:
        settings: dict[str, Any] = {} if self.reasoning is None else {"reasoning_effort": self.reasoning}
        if self._reasons:
            return settings | {"max_completion_tokens": sampling.max_tokens}
        field = "max_tokens" if self.reasoning is None else "max_completion_tokens"
        settings |= {field: sampling.max_tokens, "temperature": sampling.temperature, "top_p": sampling.top_p}
        if sampling.stop:
            settings["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            settings["seed"] = sampling.seed + draw
        if self.logprobs and sampling.top_logprobs:
            settings |= {"logprobs": True, "top_logprobs": min(sampling.top_logprobs, 20)}
        return settings

    # ── batches: many requests at half the price, within 24 hours ─────────────────────────────────────────────────

    def offline_line(self, name: str, request: Request) -> bytes:
        settings = self._settings(request.sampling, request.draw)
        body = {"model": self.model, "messages": sendable_messages(request.prompt), **settings}
        return batch_line(name, self._endpoint, body)

    async def submit(self, lines: Sequence[bytes], mark: str) -> str:
        import openai

        try:
            file = await self._client.files.create(file=(f"guardeval-{mark}.jsonl", b"".join(lines)), purpose="batch")
            batch = await self._client.batches.create(
                input_file_id=file.id,
                endpoint=cast(Any, self._endpoint),
                completion_window="24h",
                metadata={"guardeval": mark},
            )
        except openai.OpenAIError as e:
            raise self._error(e) from e
        return batch.id

    async def find(self, mark: str) -> str | None:
        import openai

        try:
            seen = 0
            async for batch in self._client.batches.list(limit=100):
                if (batch.metadata or {}).get("guardeval") == mark:
                    return batch.id
                seen += 1
                if seen >= _LISTED:
                    break
        except openai.OpenAIError as e:
            raise self._error(e) from e
        return None

    async def status(self, submission: str) -> OfflineStatus:
        return batch_status(await self._batch(submission))

    async def fetch(self, submission: str, requests: Mapping[str, Request]) -> dict[str, Completion | ModelError]:
        import openai

        batch = await self._batch(submission)
        out: dict[str, Completion | ModelError] = {}
        for field in ("error_file_id", "output_file_id"):  # what was answered after all counts
            if batch.get(field):
                try:
                    data = (await self._client.files.content(batch[field])).content
                except openai.OpenAIError as e:
                    raise self._error(e) from e
                out.update(read_results(data, self._chat, requests, self._key[0]))
        return out

    @property
    def _endpoint(self) -> str:
        return _PATH.removeprefix("/v1") if self._is_azure else _PATH

    async def _batch(self, submission: str) -> dict[str, Any]:
        import openai

        try:
            reply = await self._client.batches.with_raw_response.retrieve(submission)
        except openai.OpenAIError as e:
            raise self._error(e) from e
        found = parse_json(reply.http_response.content, f"{self._address}/batches")
        if not isinstance(found, dict) or "status" not in found:
            raise Transient(f"{self._address}/batches/{submission} answered no batch")
        return found

    # ── what went wrong ───────────────────────────────────────────────────────────────────────────────────────────

    def _error(self, error: openai.OpenAIError, prompt: Prompt | None = None) -> ModelError:
        """Ours for any error that the package raises."""
        import openai

        withheld = self._withheld(prompt)
        if isinstance(error, openai.APIStatusError):
            refusal = read_refusal(error.status_code, error.response.content, error.response.headers)
            where = f"{self._address} (model {self.model!r})"
            return self._remedy(refusal, withheld) or error_of(refusal, where, self._key[1], self._key[0] is not None, withheld)
        if isinstance(error, openai.APITimeoutError):
            return Transient(f"{self._address}: no answer within {self.timeout:g} s (-M timeout=)")
        if isinstance(error, openai.APIError):  # connections, answers that are not what the package expects
            return Transient(f"{self._address}: {type(error).__name__}{quote(str(error.__cause__ or error), withheld)}")
        return ModelUnusable(f"openai/{self.model}: {type(error).__name__}{quote(str(error), withheld)}")

    def _remedy(self, refusal: Refusal, withheld: tuple[str, ...]) -> ModelError | None:
        """Where the request's options are what this model does not take, the option of ours that leaves them out."""
        said = quote(refusal.words, withheld)
        if refusal.complains_about("logprob"):
            return ModelUnusable(f"{self.model} gives no token probabilities{said}; run with -M logprobs=false")
        if refusal.complains_about("reasoning_effort", "reasoning.effort"):
            return ModelUnusable(f"{self.model} does not take reasoning={self.reasoning}{said}; choose another effort or none")
        if refusal.complains_about("max_completion_tokens", "'temperature'", "'top_p'", "'stop'"):
            return ModelUnusable(f"{self.model} is asked like a chat model{said}; if it reasons, say -M reasoning=medium")
        return None

    def _withheld(self, prompt: Prompt | None = None) -> tuple[str, ...]:
        key = (self._key[0],) if self._key[0] else ()
        return (*key, *prompt.own, prompt.frame.before) if prompt is not None else key

    # ── the connection ────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _reasons(self) -> bool:
        if self.reasoning is not None:
            return self.reasoning != "none"
        return _REASONS.match(self.model) is not None

    @cached_property
    def _is_azure(self) -> bool:
        return self.base_url is None and bool(os.environ.get("AZURE_OPENAI_ENDPOINT"))

    @property
    def _chat(self) -> str:
        return f"{self._address}/chat/completions"

    @cached_property
    def _address(self) -> str:
        if self.base_url is not None:
            return self.base_url
        if self._is_azure:
            return clean_base_url(os.environ["AZURE_OPENAI_ENDPOINT"])
        return clean_base_url(os.environ.get("OPENAI_BASE_URL") or _HOME)

    @cached_property
    def _key(self) -> tuple[str | None, str]:
        return api_key(self.api_key_env, "AZURE_OPENAI_API_KEY" if self._is_azure else "OPENAI_API_KEY")

    @property
    def _client(self) -> openai.AsyncOpenAI:
        """The client of the running event loop; retries are the broker's."""
        return self._opened.get()

    @cached_property
    def _opened(self) -> PerLoop[openai.AsyncOpenAI]:
        return PerLoop(self._open)

    def _open(self) -> openai.AsyncOpenAI:
        with needs_extra("openai"):
            import openai
        key, variable = self._key
        if not key and not (self._is_azure and os.environ.get("AZURE_OPENAI_AD_TOKEN")):
            raise ModelUnusable(
                f"openai/{self.model} needs a key: export {variable}=…, or name another variable by -M api_key_env=NAME"
            )
        if not self._is_azure:
            return openai.AsyncOpenAI(api_key=key, base_url=self._address, timeout=self.timeout, max_retries=0)
        version = os.environ.get("OPENAI_API_VERSION")
        if not version:
            raise ModelUnusable(f"openai/{self.model} on Azure needs its API version: export OPENAI_API_VERSION=2024-10-21")
        return openai.AsyncAzureOpenAI(
            api_key=key, azure_endpoint=self._address, api_version=version, timeout=self.timeout, max_retries=0
        )
