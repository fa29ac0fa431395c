"""Any server that speaks OpenAI's chat or raw completions: vLLM, llama.cpp, LM Studio, a hosted one.

The fast path: a request's bytes are put together from parts that are escaped once a frame, and go out over plain kept-alive
connections. How many there are is the broker's to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import orjson

from guardeval.api_errors import Refusal, error_of, quote, read_refusal
from guardeval.chat_api import model_names, parse_json, read_answer, read_answers, sendable, sendable_messages
from guardeval.contracts import Completion, Finish, Frame, Prompt, Request, Sampling, Traits, Turn
from guardeval.endpoint import api_key, clean_base_url, needs_proxy
from guardeval.errors import ConfigError, ModelError, ModelUnusable, Transient, did_you_mean
from guardeval.http_connections import ConnectFailed, HttpConnections
from guardeval.http_reply import BrokenReply
from guardeval.per_loop import PerLoop
from guardeval.prices import checked_price
from guardeval.served_tokenizer import ServedTokenizer

__all__ = ["OpenAICompatible"]

_LAST = "An answer that is to be judged."
_OURS = {"messages", "prompt", "model", "stream", "n"}  # body fields that are not the user's to set


@dataclass(frozen=True)
class OpenAICompatible:
    """``openai_compatible/NAME -M base_url=http://127.0.0.1:8000/v1``.

    Chat prompts go to ``/chat/completions``, raw ones to ``/completions``; ``endpoint`` fixes one for all.
    """

    model: str
    base_url: str
    endpoint: Literal["auto", "chat", "completions"] = "auto"
    timeout: float = 300.0  # seconds an attempt
    api_key_env: str | None = None  # variable that holds the key; None: OPENAI_API_KEY if it is set
    logprobs: bool = True  # whether the server gives token probabilities
    top_logprobs: int = 20  # alternatives per token it gives at most
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra: Mapping[str, Any] = field(default_factory=dict)  # more fields for the body, as JSON
    draws: int = 16  # of one question that a request asks for at most (the server's `n`); 1 = a request a draw
    price: tuple[float, float] | None = None  # US dollars per million tokens in, out

    not_in_identity: ClassVar[tuple[str, ...]] = ("timeout", "api_key_env", "draws", "price")

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", clean_base_url(self.base_url, root="/v1"))
        if not isinstance(self.extra, Mapping):
            raise ConfigError(f'extra={self.extra!r}: a JSON object is wanted, like {{"top_k": 1}}')
        if taken := sorted(_OURS & set(self.extra)):
            raise ConfigError(f"extra: {', '.join(taken)} cannot be set there; what is asked is the solver's to say")
        if not self.timeout > 0 or self.top_logprobs < 1 or self.draws < 1:
            given = f"timeout={self.timeout}, top_logprobs={self.top_logprobs} and draws={self.draws}"
            raise ConfigError(f"{given} must be positive")
        checked_price(self.price)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        identity = {"backend": "openai_compatible", "model": self.model, "base_url": self.base_url}
        rest = {"endpoint": self.endpoint, "top_logprobs": self.top_logprobs, "extra": dict(self.extra)}
        limit = {} if self.max_tokens_field == "max_tokens" else {"max_tokens_field": self.max_tokens_field}
        return {**identity, **rest, "logprobs": self.logprobs, **limit}  # a server may not know the other, and set no limit

    @cached_property
    def traits(self) -> Traits:
        return Traits(
            logprobs=self.logprobs,
            chat=self.endpoint != "completions",
            raw=self.endpoint != "chat",
            forced=True,
            template=True,
            timeout=self.timeout,
            remote=True,
            price=self.price,
            draws=self.draws,
        )

    async def start(self) -> None:
        """Raises :class:`ModelUnusable` when no server answers there or it does not take the key."""
        if needs_proxy(self.base_url):
            raise ModelUnusable(
                f"the environment names a proxy for {self.base_url}, and openai_compatible connects directly; put the host "
                f"into NO_PROXY, or use openai/{self.model} -M base_url={self.base_url}, which takes proxies"
            )
        try:
            reply = await self._connections.get("/models", min(self.timeout, 10.0))
        except ConnectFailed as e:
            raise ModelUnusable(
                f"no server answers at {self.base_url} ({e}); start one there, or name another by -M base_url="
            ) from e
        except (TimeoutError, BrokenReply):
            return  # something is there, if slow or odd: the first request will tell
        if reply.status == 401:
            refusal = read_refusal(reply.status, reply.body, reply.headers)
            raise error_of(refusal, f"{self.base_url}/models", self._key[1], bool(self._key[0]), self._withheld())

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        await self._opened.close()

    async def generate(self, request: Request) -> Completion:
        prompt = request.prompt
        where = self._where(prompt.frame)
        answer = await self._answer(request, 1, where)
        if answer is None:
            return Completion("", Finish.FILTERED)
        return read_answer(answer, where, self._withheld(prompt), prompt.frame.forced)

    async def generate_draws(self, requests: Sequence[Request]) -> list[Completion | ModelError]:
        """Several answers to one question in one request (``n``)."""
        first, most = requests[0], len(requests)
        where = self._where(first.prompt.frame)
        answer = await self._answer(first, most, where)
        if answer is None:
            return [Completion("", Finish.FILTERED)] * most
        return read_answers(answer, most, where, self._withheld(first.prompt), first.prompt.frame.forced)

    async def render(self, prompt: Prompt) -> str:
        """The text that the model reads for a prompt. Raises :class:`ModelError` where the server does not show it."""
        if self._is_raw(prompt.frame):
            text = await self._tokenizer.reads(sendable(_raw_text(prompt)))
            if text is None:
                raise ModelError(f"{self.base_url} shows nothing of a raw prompt: it has no /tokenize and /detokenize")
            return text
        kwargs = {"chat_template_kwargs": dict(prompt.frame.options)} if prompt.frame.options else {}
        body = {"model": self.model, "messages": sendable_messages(prompt), **kwargs}
        applied = await self._applied(body)
        if applied is not None:
            return await self._tokenizer.reads(applied) or applied
        text = await self._tokenizer.reads_turns(body)
        if text is None:
            raise ModelError(f"{self.base_url} shows no rendered prompt: it has neither /apply-template nor /tokenize")
        return text

    async def beginning(self) -> str | None:
        """What the server's tokenizer puts before a raw text; None where the server does not show it."""
        return await self._tokenizer.beginning()

    @property
    def _tokenizer(self) -> ServedTokenizer:
        return ServedTokenizer(self._beside, self.model, bool(self.extra.get("add_special_tokens", True)))

    async def _applied(self, body: Mapping[str, Any]) -> str | None:
        """As llama.cpp's server tells it."""
        found = await self._beside("/apply-template", body)
        return found.get("prompt") if isinstance(found, dict) else None

    async def _beside(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON of a path at the server's root, None where it has no such path."""
        root = HttpConnections(self.base_url.removesuffix("/v1"), self._authorization, self.timeout)
        try:
            reply = await root.post(path, orjson.dumps(body))
        except (TimeoutError, ConnectFailed, BrokenReply) as e:
            raise Transient(f"{self.base_url.removesuffix('/v1')}{path}: {e}") from e
        finally:
            await root.close()
        return parse_json(reply.body, path) if reply.status == 200 else None

    async def _answer(self, request: Request, n: int, where: str) -> Any:
        """The JSON that the server answers with; None where it withholds an answer."""
        prompt = request.prompt
        raw = self._is_raw(prompt.frame)
        if prompt.frame.role == "assistant" and not prompt.frame.forced and not raw:
            await self._judges_last_turn()
        try:
            body = self._body(prompt, request.sampling, request.draw, raw, n)
            reply = await self._connections.post(where.removeprefix(self.base_url), body)
        except TimeoutError as e:
            raise Transient(f"{where}: no answer within {self.timeout:g} s (-M timeout=)") from e
        except (ConnectFailed, BrokenReply) as e:
            raise Transient(f"{where}: {e}") from e
        if reply.status == 200:
            return parse_json(reply.body, where)
        refusal = read_refusal(reply.status, reply.body, reply.headers)
        if refusal.is_filter:
            return None
        raise await self._error(refusal, where, request, raw)

    async def _judges_last_turn(self) -> None:
        """Raises :class:`ModelUnusable` where the server would continue a last turn of the assistant, as llama.cpp's does
        unless told otherwise: the model would go on writing what it is to judge. Asked once; others have no such path.
        """
        if self.__dict__.get("_continues") is None:
            turns = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": _LAST}]
            shown = await self._applied({"model": self.model, "messages": turns})
            self.__dict__["_continues"] = shown is not None and shown.rstrip().endswith(_LAST)
        if self.__dict__["_continues"]:
            raise ModelUnusable(
                f"{self.base_url} continues a last turn of the assistant, which this solver wants judged; start the "
                "server with --no-prefill-assistant, or ask the file itself: --model llama_cpp/FILE.gguf"
            )

    async def _error(self, refusal: Refusal, url: str, request: Request, raw: bool) -> ModelError:
        withheld = self._withheld(request.prompt)
        said = quote(refusal.words, withheld)
        if self.logprobs and request.sampling.top_logprobs and refusal.complains_about("logprob"):
            return ModelUnusable(
                f"{url} gives no token probabilities as asked{said}; run with -M logprobs=false, or fewer: -M top_logprobs=5"
            )
        if self.max_tokens_field == "max_tokens" and refusal.complains_about("max_completion_tokens"):
            return ModelUnusable(f"{url} does not take max_tokens{said}; run with -M max_tokens_field=max_completion_tokens")
        if refusal.status == 404:
            known = await self._models()
            if known and self.model not in known:
                return ModelUnusable(f"{self.base_url} has no model {self.model!r}{did_you_mean(self.model, known)}")
            if raw:
                return ModelUnusable(
                    f"{url} answered 404{said}; raw prompts need a server that takes raw completions (vLLM and llama.cpp do)"
                )
        return error_of(refusal, url, self._key[1], self._key[0] is not None, withheld)

    async def _models(self) -> list[str]:
        """Names the server knows; empty when it does not say."""
        try:
            reply = await self._connections.get("/models", min(self.timeout, 10.0))
            return model_names(parse_json(reply.body, self.base_url)) if reply.status == 200 else []
        except (TimeoutError, ConnectFailed, BrokenReply, Transient):
            return []

    # ── what is sent ──────────────────────────────────────────────────────────────────────────────────────────────

    def _where(self, frame: Frame) -> str:
        return self.base_url + ("/completions" if self._is_raw(frame) else "/chat/completions")

    def _is_raw(self, frame: Frame) -> bool:
        return self.endpoint == "completions" or (frame.raw and self.endpoint == "auto")

    def _body(self, prompt: Prompt, sampling: Sampling, draw: int, raw: bool, n: int = 1) -> bytes:
        parts = _parts(prompt, raw)
        settings = self._settings.get((sampling, raw))
        if settings is None:
            settings = self._settings[sampling, raw] = self._encoded(sampling, raw)
        seed = b"" if sampling.seed is None else b',"seed":%d' % (sampling.seed + draw)
        if n > 1:
            seed += b',"n":%d' % n
        return b"".join((settings, seed, parts[0], _escaped(prompt.text), parts[1], b"}"))

    def _encoded(self, sampling: Sampling, raw: bool) -> bytes:
        """All body fields but prompt and seed, as JSON without the closing brace."""
        body: dict[str, Any] = {
            "model": self.model,
            self.max_tokens_field: sampling.max_tokens,
            "temperature": sampling.temperature,
        }
        if sampling.top_p != 1.0 or sampling.temperature > 0:
            body["top_p"] = sampling.top_p
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self.logprobs and sampling.top_logprobs:
            k = min(sampling.top_logprobs, self.top_logprobs)
            body |= {"logprobs": k} if raw else {"logprobs": True, "top_logprobs": k}
        return orjson.dumps(body | dict(self.extra))[:-1]

    # ── the connection ────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _key(self) -> tuple[str | None, str]:
        return api_key(self.api_key_env, "OPENAI_API_KEY")

    @cached_property
    def _settings(self) -> dict[tuple[Sampling, bool], bytes]:
        return {}

    @property
    def _connections(self) -> HttpConnections:
        """Those of the running event loop."""
        return self._opened.get()

    @cached_property
    def _opened(self) -> PerLoop[HttpConnections]:
        return PerLoop(lambda: HttpConnections(self.base_url, self._authorization, self.timeout))

    @property
    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key[0]}"} if self._key[0] else {}

    def _withheld(self, prompt: Prompt | None = None) -> tuple[str, ...]:
        """What a server may repeat in its words and an error must not."""
        key = (self._key[0],) if self._key[0] else ()
        return (*key, *prompt.own, prompt.frame.before) if prompt is not None else key


def _escaped(text: str) -> bytes:
    """The inside of a JSON string."""
    try:
        return orjson.dumps(text)[1:-1]
    except orjson.JSONEncodeError:
        return orjson.dumps(sendable(text))[1:-1]


def _parts(prompt: Prompt, raw: bool) -> tuple[bytes, bytes]:
    """A prompt's JSON before and after its text, escaped once a frame where the sample brings no turns of its own."""
    frame, make = prompt.frame, _raw_parts if raw else _chat_parts
    if prompt.earlier:
        return make(frame, prompt.earlier)
    name = "completions" if raw else "chat"
    parts: tuple[bytes, bytes] | None = frame.memo.get(name)
    if parts is None:
        parts = frame.memo[name] = make(frame)
    return parts


def _chat_parts(frame: Frame, earlier: Sequence[Turn] = ()) -> tuple[bytes, bytes]:
    """``,"messages":[…`` up to the hole and from it on. A forced beginning is a last assistant message to be continued."""
    shown = (*frame.turns, *earlier)
    turns = b"".join(b'{"role":"%s","content":"%s"},' % (role.encode(), _escaped(content)) for role, content in shown)
    head = b',"messages":[%s{"role":"%s","content":"%s' % (turns, frame.role.encode(), _escaped(frame.before))
    tail = _escaped(frame.after) + b'"}'
    if frame.options:  # as vLLM, SGLang and llama.cpp take them
        head = b',"chat_template_kwargs":' + orjson.dumps(frame.options) + head
    if not frame.forced:
        return head, tail + b"]"
    forced = b',{"role":"assistant","content":"%s"}]' % _escaped(frame.forced)
    return head, tail + forced + b',"continue_final_message":true,"add_generation_prompt":false'


def _raw_text(prompt: Prompt) -> str:
    """A prompt as raw completions are sent it, see :func:`_raw_parts`."""
    *earlier, last = prompt.turns
    return "".join(f"{content}\n\n" for _, content in earlier) + last.content + prompt.frame.forced


def _raw_parts(frame: Frame, turns: Sequence[Turn] = ()) -> tuple[bytes, bytes]:
    """``,"prompt":"…`` up to the hole and from it on; turns of a chat prompt stand under each other."""
    earlier = b"".join(_escaped(content + "\n\n") for _, content in (*frame.turns, *turns))
    return b',"prompt":"' + earlier + _escaped(frame.before), _escaped(frame.after + frame.forced) + b'"'
