"""Who may talk to the page: this browser, this user, this page. Everything else is refused before it is looked at.

The server listens on 127.0.0.1, where any web page and any local user can reach it. So a request needs an unguessable
secret (cookie), must name this server as its host (DNS rebinding), and must not come from another page (Origin,
Sec-Fetch-Site); one that changes anything must also say so in a header that no form and no foreign page can send.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["CSRF_HEADER", "Guard", "Keys"]

CSRF_HEADER = "x-guardeval-review"
_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


class Keys:
    """The secrets of one server: ``entry`` stands in the URL that is printed, ``session`` in the cookie that it buys."""

    def __init__(self) -> None:
        self.entry = secrets.token_urlsafe(32)
        self.session = secrets.token_urlsafe(32)


class Guard:
    """ASGI middleware: checks each request, changes the entry key for a cookie, adds the headers to every response."""

    def __init__(self, app: ASGIApp, port: int, keys: Keys) -> None:
        self.app, self.keys = app, keys
        self.host = f"127.0.0.1:{port}"
        self.cookie = f"guardeval_review_{port}"  # cookies are shared between ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        sending = _with_headers(send)
        headers = _headers(scope)
        why = self._refusal(scope, headers)
        if why is not None:
            await _answer(sending, *why)
        elif self._enters(scope):
            cookie = f"{self.cookie}={self.keys.session}; HttpOnly; SameSite=Strict; Path=/"
            await _answer(sending, 303, "", {"location": "/", "set-cookie": cookie})
        elif not self._known(headers):
            await _answer(sending, 403, "open the address that `guardeval review` printed; this one lacks its key")
        else:
            await self.app(scope, receive, sending)

    def _refusal(self, scope: Scope, headers: Mapping[str, list[str]]) -> tuple[int, str] | None:
        """Status and reason, None for a request that comes from this page or from the address bar."""
        if headers.get("host") != [self.host]:
            return 421, "this server answers to the address that `guardeval review` printed, to no other name"
        if scope["method"] not in {"GET", "HEAD", "POST"}:
            return 405, "GET and POST alone"
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and origin != [f"http://{self.host}"]:
            return 403, "a request from another page"
        if site is not None and site not in (["same-origin"], ["none"]):
            return 403, "a request from another page"
        if scope["method"] == "POST":
            if origin is None or headers.get(CSRF_HEADER) != ["1"]:
                return 403, "a change that this page did not ask for"
            if headers.get("content-type", [""])[0].partition(";")[0].strip().lower() != "application/json":
                return 415, "JSON is wanted"
        return None

    def _enters(self, scope: Scope) -> bool:
        given = scope["query_string"].partition(b"key=")
        return scope["method"] == "GET" and scope["path"] == "/" and not given[0] and _same(given[2], self.keys.entry)

    def _known(self, headers: Mapping[str, list[str]]) -> bool:
        pairs = (p.strip().partition("=") for line in headers.get("cookie", ()) for p in line.split(";"))
        return any(name == self.cookie and _same(value.encode("latin-1"), self.keys.session) for name, _, value in pairs)


def _same(given: bytes, secret: str) -> bool:
    return secrets.compare_digest(given, secret.encode())


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _with_headers(send: Send) -> Callable[[MutableMapping[str, Any]], Awaitable[None]]:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
            message = {**message, "headers": [*(h for h in message["headers"] if h[0].decode() not in _HEADERS), *own]}
        await send(message)

    return sending


async def _answer(send: Send, status: int, text: str, more: Mapping[str, str] | None = None) -> None:
    body = text.encode()
    headers = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body)), **(more or {})}
    start = {"type": "http.response.start", "status": status, "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    await send(start)
    await send({"type": "http.response.body", "body": body})
