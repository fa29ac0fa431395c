"""OpenAI-shaped batches of chat completions: the lines of an input file, and what output and error files hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from guardeval.api_errors import quote, read_refusal
from guardeval.chat_api import read_answer
from guardeval.contracts import Completion, Finish, OfflineState, OfflineStatus, Request
from guardeval.errors import ModelError

__all__ = ["batch_line", "batch_status", "read_results"]

_STATES = {"completed": OfflineState.ENDED, "expired": OfflineState.ENDED, "cancelled": OfflineState.ENDED}
_LATE = {"batch_expired": "was not answered within the batch's 24 hours", "batch_cancelled": "the batch was cancelled"}


def batch_line(name: str, url: str, body: Mapping[str, Any]) -> bytes:
    """One request; ``name`` comes back with its answer."""
    line = {"custom_id": name, "method": "POST", "url": url, "body": body}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def batch_status(batch: Mapping[str, Any]) -> OfflineStatus:
    """How a batch object says that it fares. A state that is not known is one to wait in."""
    word = str(batch.get("status"))
    counts = batch.get("request_counts") or {}
    total, done = counts.get("total"), (counts.get("completed") or 0) + (counts.get("failed") or 0)
    if word == "failed":
        return OfflineStatus(OfflineState.REFUSED, _errors(batch), 0, total)
    return OfflineStatus(_STATES.get(word, OfflineState.WAITING), word.replace("_", " "), done, total)


def _errors(batch: Mapping[str, Any]) -> str:
    listed = (batch.get("errors") or {}).get("data") or ()
    said = [f"{e.get('message') or e.get('code')}" + (f" (line {e['line']})" if e.get("line") else "") for e in listed[:3]]
    return quote("; ".join(said)).removeprefix(": ") or "the provider did not say why"


def read_results(
    data: bytes, where: str, requests: Mapping[str, Request], key: str | None
) -> Iterator[tuple[str, Completion | ModelError]]:
    """Name and outcome of each line of an output or error file; lines without a name are left out."""
    for raw in data.splitlines():
        if not raw.strip():
            continue
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError:
            continue  # a line that is cut: its request counts as not answered, the others are kept
        if isinstance(line, dict) and isinstance(line.get("custom_id"), str):
            request = requests.get(line["custom_id"])
            texts = () if request is None else (*request.prompt.own, request.prompt.frame.before)
            yield line["custom_id"], _outcome(line, where, (*((key,) if key else ()), *texts))


def _outcome(line: Mapping[str, Any], where: str, withheld: tuple[str, ...]) -> Completion | ModelError:
    error, response = line.get("error"), line.get("response")
    if isinstance(response, dict) and response.get("body") is not None:
        status, body = response.get("status_code"), response["body"]
        if status == 200:
            try:
                return read_answer(body, where, withheld)
            except ModelError as e:
                return ModelError(str(e))  # a batch is over: nothing in it is worth asking again by itself
        refusal = read_refusal(status if isinstance(status, int) else 500, body, {})
        if refusal.is_filter:
            return Completion("", Finish.FILTERED)
        return ModelError(f"{where} answered {refusal.status} in a batch{quote(refusal.words, withheld)}")
    code = str(error.get("code") or "") if isinstance(error, dict) else ""
    words = str(error.get("message") or code) if isinstance(error, dict) else ""
    return ModelError(f"{where}: {_LATE.get(code, 'not answered in the batch')}{quote(words, withheld)}")
