"""What OpenAI-shaped servers are sent and what they answer, chat or raw completions, read into a :class:`Completion`.

Servers differ: reasoning stands in ``reasoning_content`` or ``reasoning``, token probabilities in two layouts, and an
answer without content may mean four things. What cannot be understood is an error; nothing missing becomes ``""``.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from guardeval.api_errors import error_of, quote, read_refusal
from guardeval.contracts import Completion, Finish, Prompt, Token
from guardeval.errors import ModelError, Transient

__all__ = [
    "model_names",
    "parse_json",
    "read_answer",
    "read_answers",
    "read_tokens",
    "sendable",
    "sendable_messages",
    "spell_out",
]

_FINISH = {
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "model_length": Finish.LENGTH,
    "content_filter": Finish.FILTERED,
    "safety": Finish.FILTERED,
}
_BROKEN_OFF = {"abort", "aborted", "cancelled", "error", "insufficient_system_resource"}


def sendable(text: str) -> str:
    """``text`` as UTF-8 can carry it: lone surrogates become U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def sendable_messages(prompt: Prompt) -> list[dict[str, str]]:
    """The turns of a prompt as chat completions take them, see :func:`sendable`."""
    return [{"role": m["role"], "content": sendable(m["content"])} for m in prompt.messages()]


def parse_json(data: bytes, where: str) -> Any:
    """The JSON value in ``data``. Raises :class:`Transient` when it is cut or broken.

    Half characters (an answer cut inside one) and numbers that JSON does not know (``NaN``) are put up with.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        lenient = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as e:
        raise Transient(f"{where} answered broken JSON ({len(data)} bytes)") from e
    return json.loads(json.dumps(lenient, ensure_ascii=False).encode("utf-8", "replace"))


def model_names(listed: Any) -> list[str]:
    """Names in a ``/models`` answer; empty when it is something else."""
    rows = listed.get("data") if isinstance(listed, Mapping) else None
    return [str(r["id"]) for r in rows if isinstance(r, Mapping) and "id" in r] if isinstance(rows, list) else []


def read_answer(answer: Any, where: str, withheld: Iterable[str] = (), forced: str = "") -> Completion:
    """The first choice of a ``/chat/completions`` or ``/completions`` answer.

    Raises :class:`Transient` where choices or content are missing, :class:`ModelError` where the model called a tool.
    ``where`` is the address asked, for messages; ``withheld`` are texts that must not appear in them. ``forced`` is the
    beginning of the answer that was asked to be continued: some servers repeat it, the completion never holds it.
    """
    choice = _sound(_choices(answer, where, withheld)[0], where, withheld)
    usage = answer.get("usage")
    return _completion(choice, where, forced, _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))


def read_answers(
    answer: Any, most: int, where: str, withheld: Iterable[str] = (), forced: str = ""
) -> list[Completion | ModelError]:
    """All choices of an answer, the first ``most`` of them, as :class:`~guardeval.contracts.DrawingModel` gives them.

    One that cannot be read is its error. Servers count tokens over all choices: the prompt's go to the first that can be
    read, those generated are shared out by length, the last takes what rounding leaves.
    """
    given = tuple(withheld)
    out: list[Completion | ModelError] = []
    for choice in _choices(answer, where, given)[:most]:
        try:
            out.append(_completion(_sound(choice, where, given), where, forced))
        except ModelError as e:
            out.append(e)
    usage = answer.get("usage")
    lengths = [len(c.text) + len(c.thinking or "") for c in out if isinstance(c, Completion)]
    shares = iter(_shares(_count(usage, "completion_tokens"), lengths))
    prompt = _count(usage, "prompt_tokens")
    for i, heard in enumerate(out):
        if isinstance(heard, Completion):
            out[i] = replace(heard, tokens_in=prompt, tokens_out=next(shares))
            prompt = None if prompt is None else 0
    return out


def _shares(total: int | None, lengths: Sequence[int]) -> list[int | None]:
    """``total`` in proportion to the lengths, equally where all are 0; whole numbers that add up to it."""
    if total is None:
        return [None] * len(lengths)
    weights = lengths if any(lengths) else [1] * len(lengths)
    floors = [total * weight // sum(weights) for weight in weights]
    return [*floors[:-1], total - sum(floors[:-1])] if floors else []


def _completion(
    choice: Mapping[str, Any], where: str, forced: str, tokens_in: int | None = None, tokens_out: int | None = None
) -> Completion:
    reason = str(choice.get("finish_reason") or "").lower()
    if reason in _BROKEN_OFF:
        raise Transient(f"{where} broke its answer off ({reason})")
    finish = _FINISH.get(reason, Finish.STOP)
    message = choice.get("message")
    text, thinking = _chat_text(message) if isinstance(message, Mapping) else (choice.get("text"), None)
    if not isinstance(text, str):
        refused = message.get("refusal") if isinstance(message, Mapping) else None
        if isinstance(refused, str) and refused:
            text, finish = refused, Finish.FILTERED
        elif finish is not Finish.STOP or thinking:
            text = ""  # cut off, withheld, or reasoned and then said nothing: each is visible in what we return
        elif isinstance(message, Mapping) and message.get("tool_calls"):
            raise ModelError(f"{where}: the model called a tool instead of answering")
        else:
            raise Transient(f"{where} answered without content")
    logprobs = choice.get("logprobs")
    tokens = read_tokens(logprobs) if logprobs else []
    if forced and text.startswith(forced) and "".join(t.text for t in tokens) != text:
        text = text[len(forced) :]
    return Completion(text, finish, thinking, spell_out(tokens, text) if tokens else (), tokens_in, tokens_out)


def _choices(answer: Any, where: str, withheld: Iterable[str]) -> list[Any]:
    """At least one, and that one is an object."""
    if not isinstance(answer, Mapping):
        raise Transient(f"{where} answered {type(answer).__name__}, not a JSON object")
    choices = answer.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices
    if answer.get("error"):
        raise _passed_on(answer["error"], where, withheld)
    raise Transient(f"{where} answered without choices")


def _sound(choice: Any, where: str, withheld: Iterable[str]) -> Mapping[str, Any]:
    """The choice, where there is no error inside it."""
    if not isinstance(choice, Mapping):
        raise Transient(f"{where} answered with a choice that is {type(choice).__name__}, not a JSON object")
    if choice.get("error"):
        raise _passed_on(choice["error"], where, withheld)
    return choice


def _passed_on(error: Any, where: str, withheld: Iterable[str]) -> ModelError:
    """Routers answer 200 and put the provider's refusal inside; it says nothing about our own key and address."""
    code = error.get("code") if isinstance(error, Mapping) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    refusal = read_refusal(status, {"error": error}, {})
    if status >= 500 or status in {402, 408, 429}:
        return error_of(refusal, where, "the environment", True, withheld)
    return ModelError(f"{where} passed on a refusal ({status}){quote(refusal.words, withheld)}")


def _chat_text(message: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Answer and reasoning of a message; content may be a text or a list of typed parts."""
    content = message.get("content")
    thinking = message.get("reasoning_content")
    if thinking is None:
        thinking = message.get("reasoning")
    if isinstance(content, list):
        parts = [p for p in content if isinstance(p, Mapping)]
        said = [p["text"] for p in parts if p.get("type", "text") == "text" and isinstance(p.get("text"), str)]
        thought = [_flat(p.get("thinking")) for p in parts if p.get("type") == "thinking"]
        content = "".join(said) if said else None
        thinking = "".join(thought) if thought and not thinking else thinking
    return (content if isinstance(content, str) else None), (thinking if isinstance(thinking, str) and thinking else None)


def _flat(value: Any) -> str:
    if isinstance(value, list):
        return "".join(str(p.get("text", "")) if isinstance(p, Mapping) else str(p) for p in value)
    return value if isinstance(value, str) else ""


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and value >= 0 else None


def read_tokens(logprobs: Any) -> list[Token]:
    """Tokens of either layout: ``content`` (chat; llama.cpp's raw completions too) or parallel lists (raw completions).

    Empty when a token comes without its probability: half a distribution is none.
    """
    if not isinstance(logprobs, Mapping):
        return []
    try:
        if isinstance(logprobs.get("content"), list):
            return _whole_characters(logprobs["content"])
        if isinstance(logprobs.get("tokens"), list):
            return _from_lists(logprobs)
    except (KeyError, TypeError, ValueError, AttributeError):
        return []
    return []


def _whole_characters(content: Sequence[Mapping[str, Any]]) -> list[Token]:
    """Tokens of the chat layout. Where a character is spread over tokens, its last token spells it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    out = []
    for entry in content:
        text, spelt = str(entry["token"]), entry.get("bytes")
        if spelt and (len(spelt) != len(text) or not text.isascii()):
            text = decoder.decode(bytes(spelt))
        top = tuple((str(a["token"]), float(a["logprob"])) for a in entry.get("top_logprobs") or () if a["logprob"] is not None)
        out.append(_token(text, float(entry["logprob"]), top, str(entry["token"])))
    return out


def _from_lists(logprobs: Mapping[str, Any]) -> list[Token]:
    tops = logprobs.get("top_logprobs") or [None] * len(logprobs["tokens"])
    out = []
    for text, logprob, top in zip(logprobs["tokens"], logprobs["token_logprobs"], tops, strict=True):
        pairs = tuple((str(t), float(p)) for t, p in (top or {}).items() if p is not None)
        out.append(_token(str(text), float(logprob), pairs, str(text)))
    return out


def _token(text: str, logprob: float, top: tuple[tuple[str, float], ...], name: str) -> Token:
    if top and all(t != name for t, _ in top):
        top = (*top, (name, logprob))
    return Token(text, logprob, top)


def spell_out(tokens: Sequence[Token], text: str) -> tuple[Token, ...]:
    """The tokens that spell exactly ``text``: reasoning before it, stop words and end marks after it are cut off.

    Empty when they do not spell it; then nothing is known about where a word of the answer stands among them.
    """
    said = "".join(t.text for t in tokens)
    if said == text:
        return tuple(tokens)
    start = said.rfind(text) if text else -1
    if start < 0:
        return ()
    end, at = start + len(text), 0
    out = []
    for token in tokens:
        low, high = max(start - at, 0), min(end - at, len(token.text))
        if low < high:
            out.append(token if (low, high) == (0, len(token.text)) else Token(token.text[low:high], token.logprob, token.top))
        at += len(token.text)
    return tuple(out)
