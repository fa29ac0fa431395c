"""A loopback server that speaks OpenAI's API, answers what it is told to, late and badly on purpose.

For tests of backends, of the broker and of whole runs, in the test's own process::

    with FaultServer(lambda body: "Decision: unharmful\nPolicies: none", Faults(http_500=0.05)) as server:
        ...  # ask server.url + "/chat/completions"
    assert server.stats()["repeated"] == 0

or in one of its own: ``python -m guardeval.testing.faults --http_500 0.05 --latency 0.1`` prints its address.
``POST …/chat/completions`` and ``…/completions`` answer, ``GET …/models`` lists, ``GET /stats`` counts, ``POST /reset``
forgets the counts. Whether a request meets a fault depends on the seed, its messages and how often they were asked, and on
nothing else: a run meets the same faults in any order, and asking again draws anew.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Self, cast

__all__ = ["Answer", "FaultServer", "Faults"]

# request body → content, one a choice where it is a list, or the whole reply's JSON (HTTP 400 where it holds an `error`)
Answer = Callable[[Mapping[str, Any]], str | Sequence[str] | Mapping[str, Any]]
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares of requests, each in [0, 1], together at most 1."""

    http_500: float = 0.0
    throttled: float = 0.0  # HTTP 429 with Retry-After
    truncated: float = 0.0  # half of the JSON, as if it were all
    hung: float = 0.0  # never answered
    empty: float = 0.0  # no choices
    dropped: float = 0.0  # the connection closes without an answer
    retry_after: float = 1.0  # seconds that a 429 asks for
    seed: int = 0

    def draw(self, key: str, attempt: int) -> str:
        """Name of the fault that an attempt meets, ``""`` for none."""
        digest = hashlib.blake2b(f"{self.seed}|{key}|{attempt}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        left = int.from_bytes(digest, "big") / 2**64
        for kind in ("http_500", "throttled", "truncated", "hung", "empty", "dropped"):
            left -= float(getattr(self, kind))
            if left < 0:
                return kind
        return ""


class FaultServer:
    """The server, on a free port of 127.0.0.1, in a thread of its own: ``with FaultServer(...) as server``.

    ``answer``: what is said, a text or a function of the request's body. ``latency``: seconds. ``slots``: more requests than
    these at once are answered with 429. ``choices``: what it gives at most to one request, whatever ``n`` asks for.
    ``api_key``: anything else is answered with 401. ``models``: what ``/models`` lists;
    ``strict``: a model of another name is answered with 404.
    """

    def __init__(
        self,
        answer: str | Sequence[str] | Answer = "Decision: unharmful\nPolicies: none",
        faults: Faults | None = None,
        *,
        latency: float = 0.0,
        slots: int | None = None,
        choices: int | None = None,
        api_key: str | None = None,
        models: tuple[str, ...] = ("scripted",),
        strict: bool = False,
        port: int = 0,
    ) -> None:
        self.answer: Answer = answer if callable(answer) else lambda _: answer
        self.faults = faults or Faults()
        self.latency = latency
        self.slots = slots
        self.choices = choices
        self.api_key = api_key
        self.models = models
        self.strict = strict
        self.port = port
        self.bodies: list[dict[str, Any]] = []  # of the first hundred requests
        self._loop: asyncio.AbstractEventLoop  # the server's, once it serves
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._clear()

    @property
    def url(self) -> str:
        """The API's base: ``http://127.0.0.1:PORT/v1``."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve(ready.set)), daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError(f"no server could be started on port {self.port} of 127.0.0.1 within 10 seconds")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port and every connection, as a server that dies does."""
        if self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until :meth:`stop`; ``ready`` is called once ``port`` is known and listens."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        await self._stop.wait()
        server.close()
        for connection in list(self._connections):
            connection.abort()

    def reset(self) -> None:
        """Forget what was counted; also how often messages were asked, so that faults begin anew."""
        with self._lock:
            self._clear()

    def stats(self) -> dict[str, Any]:
        """What happened so far.

        ``requests``, ``unique``, ``repeated`` (asked again, whatever came of the first), ``answered`` (in full), ``reanswered``
        (answered in full more than once: paid twice), ``under_way``, ``max_under_way``, ``connections``, ``faults`` by kind,
        and ``span``: seconds from the first request to the last reply.
        """
        with self._lock:
            return {
                "requests": sum(self._asked.values()),
                "unique": len(self._asked),
                "repeated": sum(self._asked.values()) - len(self._asked),
                "answered": sum(self._heard.values()),
                "reanswered": sum(self._heard.values()) - len(self._heard),
                "under_way": self._under_way,
                "max_under_way": self._max_under_way,
                "connections": self._opened,
                "faults": dict(self._faults),
                "span": self._last - self._first if self._last else 0.0,
            }

    def _clear(self) -> None:
        self._asked: Counter[str] = Counter()
        self._heard: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._under_way = self._max_under_way = self._opened = 0
        self._first = self._last = 0.0
        self.bodies.clear()

    def _opens(self, connection: _Connection) -> None:
        self._connections.add(connection)
        with self._lock:
            self._opened += 1

    def _handle(self, connection: _Connection, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        path = path.partition("?")[0].rstrip("/")
        if path == "/stats":
            connection.send(200, self.stats())
        elif path == "/reset":
            self.reset()
            connection.send(200, {})
        elif self.api_key is not None and headers.get("authorization") != f"Bearer {self.api_key}":
            connection.send(401, _error("incorrect API key provided", "invalid_request_error"))
        elif path.endswith("/models"):
            connection.send(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})
        elif path.endswith("/completions") and method == "POST":
            self._complete(connection, body, chat=path.endswith("/chat/completions"))
        else:
            connection.send(404, _error(f"no {method} {path} here", "invalid_request_error"))

    def _complete(self, connection: _Connection, raw: bytes, chat: bool) -> None:
        try:
            body = json.loads(raw)
            asked = body["messages" if chat else "prompt"]
        except (ValueError, KeyError, TypeError) as e:
            connection.send(400, _error(f"not a request: {type(e).__name__}: {e}", "invalid_request_error"))
            return
        if self.strict and body.get("model") not in self.models:
            connection.send(404, _error(f"the model {body.get('model')!r} does not exist", "invalid_request_error"))
            return
        key = f"{body.get('model')}|{json.dumps(asked, sort_keys=True)}"
        with self._lock:
            self._first = self._first or self._loop.time()
            fault = self.faults.draw(key, self._asked[key])
            if not fault and self.slots is not None and self._under_way >= self.slots:
                fault = "throttled"
            self._asked[key] += 1
            if fault:
                self._faults[fault] += 1
            if len(self.bodies) < 100:
                self.bodies.append(body)
            if fault == "hung":
                return
            self._under_way += 1
            self._max_under_way = max(self._max_under_way, self._under_way)
        if self.latency and fault != "throttled":
            self._loop.call_later(self.latency, self._reply, connection, key, body, chat, fault)
        else:
            self._reply(connection, key, body, chat, fault)

    def _reply(self, connection: _Connection, key: str, body: Mapping[str, Any], chat: bool, fault: str) -> None:
        with self._lock:
            self._under_way -= 1
            self._last = self._loop.time()
            if not fault and not connection.lost:
                self._heard[key] += 1
        if fault == "http_500":
            connection.send(500, _error("the server had an error", "server_error"))
        elif fault == "throttled":
            connection.send(
                429, _error("rate limit reached", "rate_limit_error"), f"Retry-After: {self.faults.retry_after:g}\r\n"
            )
        elif fault == "dropped":
            connection.abort()
        else:
            answer = self.answer(body)
            if isinstance(answer, Mapping):
                reply = dict(answer)
            else:
                n = int(body.get("n") or 1)
                n = n if self.choices is None else min(n, self.choices)
                reply = _reply_json(body, [answer] * n if isinstance(answer, str) else answer[:n], chat)
            status = 400 if "error" in reply else 200
            connection.send(status, reply | {"choices": []} if fault == "empty" else reply, truncated=fault == "truncated")


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request after another."""

    def __init__(self, server: FaultServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server._opens(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._server._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            stop = end + 4 + int(headers.get("content-length", "0"))
            if len(self._buffer) < stop:
                return
            body = bytes(self._buffer[end + 4 : stop])
            del self._buffer[:stop]
            method, path, *_ = [*first.split(" "), "", ""]
            self._server._handle(self, method, path, headers, body)

    def send(self, status: int, reply: Mapping[str, Any], extra: str = "", truncated: bool = False) -> None:
        if self.lost:
            return
        body = json.dumps(reply).encode()
        if truncated:
            body = body[: len(body) // 2]
        head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Internal Server Error')}\r\nContent-Type: application/json\r\n"
        self._transport.write(f"{head}Content-Length: {len(body)}\r\n{extra}\r\n".encode() + body)

    def abort(self) -> None:
        self._transport.abort()


def _error(message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind}}


def _reply_json(body: Mapping[str, Any], texts: Sequence[str], chat: bool) -> dict[str, Any]:
    asked = json.dumps(body.get("messages") or body.get("prompt"))
    usage = {"prompt_tokens": len(asked) // 4, "completion_tokens": sum(len(text) // 4 + 1 for text in texts)}
    said: list[dict[str, Any]] = [
        {"message": {"role": "assistant", "content": text}} if chat else {"text": text} for text in texts
    ]
    return {
        "id": "scripted",
        "object": "chat.completion" if chat else "text_completion",
        "created": 0,
        "model": body.get("model", ""),
        "choices": [{"index": i, "finish_reason": "stop", **each} for i, each in enumerate(said)],
        "usage": usage | {"total_tokens": sum(usage.values())},
    }


def main() -> None:
    """Serve from the command line until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m guardeval.testing.faults", description=FaultServer.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--slots", type=int)
    parser.add_argument("--text", default="Decision: unharmful\nPolicies: none")
    for field in fields(Faults):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    args = vars(parser.parse_args())
    options = {name: args.pop(name) for name in ("port", "latency", "slots")}
    server = FaultServer(args.pop("text"), Faults(**args), **options)
    try:
        asyncio.run(server.serve(lambda: print(server.url, flush=True)))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
