"""A real HTTP server on loopback that speaks OpenAI's files and batches, and plain chat completions.

A batch is worked on once ``working`` is set; before, it is "in progress". ``answer`` gives each request's outcome: a chat
completion's JSON, ``(status, JSON)`` for one that the provider refuses, or None for one that it never comes to (expired).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["BatchServer", "completion"]

Outcome = Mapping[str, Any] | tuple[int, Mapping[str, Any]] | None


def completion(text: str | None, finish: str = "stop", tokens: tuple[int, int] = (1000, 100), **message: Any) -> dict[str, Any]:
    """The JSON of a chat completion."""
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    said = {"role": "assistant", "content": text, **message}
    return {
        "id": "c",
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": finish, "message": said}],
        "usage": usage,
    }


class BatchServer:
    """``with BatchServer(answer) as server:``. ``batches`` and ``files`` hold what was handed in, ``chats`` what was asked at once.

    ``refuse``: words with which every batch fails as a whole. ``lose_create``: the next batches are made, and the connection is
    then closed instead of an answer, so often; ``hold_create`` leaves it open for ever. ``flaky``: so many looks at a batch are answered 503.
    """

    def __init__(self, answer: Callable[[Mapping[str, Any]], Outcome], working: bool = True, port: int = 0) -> None:
        self.answer = answer
        self.working = threading.Event()
        self.refuse = ""
        self.lose_create = self.flaky = 0
        self.hold_create = False
        self._end = threading.Event()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.chats: list[Any] = []
        self.asked: list[str] = []  # "METHOD path"
        if working:
            self.working.set()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._do(b"")

            def do_POST(self) -> None:
                self._do(self.rfile.read(int(self.headers.get("content-length") or 0)))

            def _do(self, body: bytes) -> None:
                with outer._lock:
                    outer.asked.append(f"{self.command} {self.path}")
                    found = outer._route(self.command, self.path.partition("?")[0], body)
                if found is None:
                    if outer.hold_create:
                        outer._end.wait(60)
                    self.close_connection = True
                    return
                status, data = found
                raw = data if isinstance(data, bytes) else json.dumps(data).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def lines(self, batch: str) -> list[dict[str, Any]]:
        """The requests of a batch."""
        return [json.loads(line) for line in self.files[self.batches[batch]["input_file_id"]].splitlines()]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()

    # ---- what is answered ----

    def _route(self, method: str, path: str, body: bytes) -> tuple[int, Any] | None:
        path = path.removeprefix("/v1")
        if path == "/models":
            return 200, {"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}
        if path == "/files" and method == "POST":
            return self._upload(body)
        if path == "/batches" and method == "POST":
            return self._create(json.loads(body))
        if path == "/batches":
            return 200, {"object": "list", "data": [*map(self._look, self.batches)][::-1], "has_more": False}
        if found := re.fullmatch(r"/batches/(\w+)", path):
            if self.flaky:
                self.flaky -= 1
                return 503, {"error": {"message": "overloaded"}}
            missing = 404, {"error": {"message": "No batch found"}}
            return (200, self._look(found[1])) if found[1] in self.batches else missing
        if found := re.fullmatch(r"/files/([\w.]+)/content", path):
            return 200, self.files[found[1]]
        if path == "/chat/completions":
            self.chats.append(json.loads(body))
            outcome = self.answer(self.chats[-1])
            if outcome is None:
                return 500, {"error": {"message": "never"}}
            return outcome if isinstance(outcome, tuple) else (200, outcome)
        return 404, {"error": {"message": f"no {method} {path} here"}}

    def _upload(self, body: bytes) -> tuple[int, Any]:
        boundary, _, _ = body.partition(b"\r\n")
        parts = {}
        for part in body.split(boundary)[1:-1]:
            head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
            parts[re.search(rb'name="(\w+)"', head)[1].decode()] = content  # type: ignore[index]
        assert parts["purpose"] == b"batch"
        name = f"file{len(self.files) + 1}"
        self.files[name] = parts["file"]
        about = {
            "id": name,
            "object": "file",
            "bytes": len(parts["file"]),
            "created_at": 1,
            "filename": "x",
            "purpose": "batch",
        }
        return 200, {**about, "status": "processed"}

    def _create(self, asked: Mapping[str, Any]) -> tuple[int, Any] | None:
        assert asked["endpoint"] == "/v1/chat/completions"
        assert asked["completion_window"] == "24h"
        name = f"batch{len(self.batches) + 1}"
        self.batches[name] = {"id": name, "object": "batch", "created_at": 1, "status": "in_progress", **asked}
        if self.lose_create or self.hold_create:
            self.lose_create = max(self.lose_create - 1, 0)
            return None
        return 200, self.batches[name]

    def _look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        if batch["status"] == "in_progress" and self.refuse:
            batch |= {"status": "failed", "errors": {"object": "list", "data": [{"message": self.refuse, "line": 1}]}}
        if batch["status"] == "in_progress" and self.working.is_set():
            self._work(batch)
        return batch

    def _work(self, batch: dict[str, Any]) -> None:
        good, bad = [], []
        for line in self.lines(batch["id"]):
            outcome = self.answer(line["body"])
            head = {"id": "r", "custom_id": line["custom_id"]}
            if outcome is None:
                error = {"code": "batch_expired", "message": "This request could not be executed before the completion window"}
                bad.append({**head, "response": None, "error": error})
            elif isinstance(outcome, tuple):
                response = {"status_code": outcome[0], "request_id": "x", "body": outcome[1]}
                bad.append({**head, "response": response, "error": None})
            else:
                good.append({**head, "response": {"status_code": 200, "request_id": "x", "body": outcome}, "error": None})
        expired = any(line["response"] is None for line in bad)
        counts = {"total": len(good) + len(bad), "completed": len(good), "failed": len(bad)}
        batch |= {"status": "expired" if expired else "completed", "request_counts": counts}
        for field, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:
                batch[field] = f"{batch['id']}{field}"
                self.files[batch[field]] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
