"""A real HTTP server on loopback that answers as a function says, and can break off, hang or lie about a length."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["Answer", "Asked", "ScriptedServer", "chat_answer", "unused_port"]


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: Any  # parsed JSON, None without a body


@dataclass(frozen=True)
class Answer:
    """What to answer. ``fault``: ``hang`` (never), ``reset`` (close the connection), ``cut`` (promise more than is sent)."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""

    @property
    def patience(self) -> float:
        """Seconds to wait for it: few for one that never comes, and more than a busy machine takes for all others."""
        return 0.5 if self.fault == "hang" else 30.0

    @property
    def data(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


Script = Callable[[Asked], Answer]


class ScriptedServer:
    """``with ScriptedServer(script) as server:``; ``server.asked`` holds what came, in order."""

    def __init__(self, script: Script) -> None:
        self.asked: list[Asked] = []
        self._end = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body go out one by one: held back, each answer would take 40 ms

            def do_GET(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                data = self.rfile.read(length)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, json.loads(data) if data else None)
                outer.asked.append(asked)
                self._send(script(asked))

            def do_POST(self) -> None:
                self.do_GET()

            def _send(self, answer: Answer) -> None:
                if answer.fault == "hang":
                    outer._end.wait(60)
                if answer.fault in {"hang", "reset"}:
                    self.close_connection = True
                    return
                data = answer.data
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data) + (100 if answer.fault == "cut" else 0)))
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = answer.fault == "cut"

            def log_message(self, *_: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            request_queue_size = 256  # of connections that wait: one refused for want of room is tried again a second later
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()


def chat_answer(content: Any = "Decision: unharmful", **fields: Any) -> Answer:
    """A chat completion. ``fields`` of the choice (``finish_reason``, ``logprobs``) and the message (all others)."""
    choice = {k: fields.pop(k) for k in ("finish_reason", "logprobs") if k in fields}
    message = {"role": "assistant", "content": content, **fields}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return Answer({"choices": [{"index": 0, "finish_reason": "stop", "message": message, **choice}], "usage": usage})


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
