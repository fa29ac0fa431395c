"""Asking through Inspect's model providers: our prompts and sampling in its terms, its output and errors in ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from guardeval.api_errors import error_of, quote, read_refusal
from guardeval.chat_api import read_tokens, sendable, spell_out
from guardeval.contracts import Completion, Finish, Prompt, Request, Traits, Turn
from guardeval.errors import ModelError, ModelUnusable, Transient

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput

__all__ = ["completion_of", "config_of", "error_from", "messages_of", "plain_words", "refuse_wrapping", "traits_of"]

_COMPLETIONS = frozenset({"openai-api-completions", "vllm-completions"})  # raw text in, no chat template
_LOCAL = frozenset({"vllm", "sglang", "openai-api"})  # servers that continue an answer and take options of chat templates
_LOGPROBS = _COMPLETIONS | _LOCAL | {"openai", "grok", "together", "hf", "llama-cpp-python"}
_ALTERNATIVES = 20  # Inspect's most
_MARKUP = re.compile(r"\[/?[a-z ]*\]")  # rich's, in Inspect's own messages
_FINISH = {"max_tokens": Finish.LENGTH, "model_length": Finish.LENGTH, "content_filter": Finish.FILTERED}


def traits_of(provider: str, logprobs: bool | None = None) -> Traits:
    """What Inspect's providers of this name can do. ``logprobs`` None: as Inspect documents it."""
    completions = provider in _COMPLETIONS
    return Traits(
        logprobs=provider in _LOGPROBS if logprobs is None else logprobs,
        chat=not completions,
        raw=completions,
        forced=completions or provider in _LOCAL,
        template=provider in _LOCAL,
        remote=True,
    )


def refuse_wrapping(prompt: Prompt, traits: Traits, model: str) -> None:
    """Raises :class:`ModelUnusable` where the provider would put a chat template round a prompt that has its own."""
    name = model.partition("/")[2] or model
    if prompt.frame.raw and not traits.raw:
        raise ModelUnusable(
            f"{model} takes chat messages and would wrap this guard's own prompt a second time; ask it through a completions "
            f"provider: openai-api-completions/SERVICE/MODEL, or vllm-completions/MODEL (now {name})"
        )
    if prompt.frame.forced and not traits.forced:
        raise ModelUnusable(
            f"{model}: this solver begins the answer itself, which Inspect's provider cannot continue; use openai-api, vllm, "
            "sglang, or one of the completions providers"
        )


def messages_of(prompt: Prompt, traits: Traits) -> list[ChatMessage]:
    """A prompt as Inspect's messages: for completions one user message, which those providers send as it is."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds: dict[str, Any] = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    turns: tuple[Turn, ...] = prompt.turns
    if not traits.chat:
        text = "\n\n".join(content for _, content in turns) + prompt.frame.forced
        return [ChatMessageUser(content=sendable(text), source="input")]
    if prompt.frame.forced:
        turns = (*turns, Turn("assistant", prompt.frame.forced))
    # put in, not generated: so whoever reads the log tells an earlier turn of the assistant's from an answer of the model
    return [kinds[role](content=sendable(content), source="input") for role, content in turns]


def config_of(request: Request, traits: Traits, extra_body: Mapping[str, Any] | None = None) -> GenerateConfig:
    """A request's sampling as Inspect's configuration; what is at its default is left to the provider, as elsewhere.

    ``extra_body``: the user's own fields for a request's body, which stay.
    """
    from inspect_ai.model import GenerateConfig

    sampling, frame = request.sampling, request.prompt.frame
    asked: dict[str, Any] = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    if sampling.top_p != 1.0 or sampling.temperature > 0:
        asked["top_p"] = sampling.top_p
    if sampling.stop:
        asked["stop_seqs"] = list(sampling.stop)
    if sampling.seed is not None:
        asked["seed"] = sampling.seed + request.draw
    if sampling.top_logprobs and traits.logprobs:
        asked |= {"logprobs": True, "top_logprobs": min(sampling.top_logprobs, _ALTERNATIVES)}
    extra: dict[str, Any] = dict(extra_body or {})
    if frame.options and traits.template:
        extra["chat_template_kwargs"] = {**extra.get("chat_template_kwargs", {}), **frame.options}
    if frame.forced and traits.chat:
        extra |= {"continue_final_message": True, "add_generation_prompt": False}
    elif frame.role == "assistant" and traits.template and traits.chat:  # Inspect would have it continued, not judged
        extra |= {"continue_final_message": False, "add_generation_prompt": True}
    return GenerateConfig(**asked, **({"extra_body": extra} if extra else {}))


def completion_of(output: ModelOutput, where: str, forced: str = "") -> Completion:
    """What a provider returned. Raises :class:`Transient` for nothing, :class:`ModelError` for what was no answer.

    ``forced``: the beginning of the answer that was asked to be continued; the completion never holds it.
    """
    if output.empty:
        raise Transient(f"{where} answered without choices")
    choice = output.choices[0]
    if choice.stop_reason == "tool_calls" and not output.completion:
        raise ModelError(f"{where}: the model called a tool instead of answering")
    if choice.stop_reason == "model_length" and output.usage is None:  # Inspect's way to say that the prompt is too long
        raise ModelError(f"{where}: the prompt does not fit the model{quote(output.completion)}")
    text = choice.message.text
    tokens = read_tokens(choice.logprobs.model_dump()) if choice.logprobs is not None else []
    if forced and text.startswith(forced) and "".join(t.text for t in tokens) != text:
        text = text[len(forced) :]
    used = output.usage
    read = used and used.input_tokens + (used.input_tokens_cache_read or 0) + (used.input_tokens_cache_write or 0)
    return Completion(
        text,
        _FINISH.get(choice.stop_reason, Finish.STOP),
        _thinking(choice.message.content),
        spell_out(tokens, text) if tokens else (),
        read,
        used and used.output_tokens,
    )


def _thinking(content: Any) -> str | None:
    """Reasoning that the provider reports apart from the answer; of redacted reasoning its summary."""
    parts = [] if isinstance(content, str) else [p for p in content if p.type == "reasoning"]
    said = [(p.summary or "") if p.redacted else p.reasoning for p in parts]
    return "\n\n".join(s for s in said if s) or None


def error_from(
    error: Exception, api: ModelAPI, where: str, key_env: str = "", has_key: bool = True, withheld: Iterable[str] = ()
) -> ModelError:
    """Ours for what a provider raised: the status where there is one, else what the provider says about asking again."""
    if isinstance(error, ModelError):
        return error
    given = tuple(withheld)
    # Inspect wraps some errors in one whose words are the whole request: what it wraps is read first
    chain = [e for e in (error.__cause__, error) if isinstance(e, Exception)]
    variable = key_env or next(iter(api.api_key_vars), "that holds the provider's key")
    origin, status = next(((e, s) for e in chain if (s := _status(e)) is not None), (error, None))
    if status is not None and 400 <= status < 600:
        refusal = read_refusal(status, _words(origin), _headers(origin))
        if refusal.complains_about("logprob"):
            return ModelUnusable(f"{where} gives no token probabilities{quote(refusal.words, given)}; say logprobs=false")
        return error_of(refusal, where, variable, has_key, given)
    said = f"{where}: {type(error).__name__}{quote(plain_words(chain[0]), given)}"
    if any(api.is_auth_failure(e) for e in chain):
        return ModelUnusable(f"{said}; check the key in the environment variable {variable}")
    if any(isinstance(e, ImportError) or type(e).__name__ == "PrerequisiteError" for e in chain):
        return ModelUnusable(said)
    decision = next((d for e in chain if (d := api.should_retry(e))), None)
    if decision or any(isinstance(e, (json.JSONDecodeError, ConnectionError, TimeoutError)) for e in chain):
        limited = getattr(decision, "kind", "") == "rate_limit"
        return Transient(said, getattr(decision, "retry_after", None), limited)
    return ModelError(said)


def plain_words(error: BaseException) -> str:
    """An error's message as plain text; Inspect keeps some in ``message`` alone, marked up for a terminal."""
    words = str(error) or str(getattr(error, "message", ""))
    return " ".join(_MARKUP.sub("", words).removeprefix("ERROR: ").split())


def _status(error: BaseException) -> int | None:
    found = getattr(error, "status_code", None)
    return found if isinstance(found, int) else None


def _words(error: BaseException) -> Any:
    body = getattr(error, "body", None)
    return body if isinstance(body, (Mapping, str, bytes)) else plain_words(error)


def _headers(error: BaseException) -> Mapping[str, str]:
    found = getattr(getattr(error, "response", None), "headers", None)
    return dict(found) if found is not None else {}
