"""The page and its few addresses: a page, two static files, the state, one sample, marks, undo. Extra: ``review``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.errors import ConfigError, DataError, needs_extra
from guardeval.review.marks import Field
from guardeval.review.security import Guard, Keys
from guardeval.review.session import Refused, Session

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

__all__ = ["review_app"]

_HERE = Path(__file__).parent
_TYPES = {"review.js": "text/javascript", "review.css": "text/css"}
_MOST_BODY = 200_000  # bytes; a comment is far smaller


class _TooMuch(DataError):
    """A body that no mark has."""


def review_app(session: Session, port: int, keys: Keys) -> ASGIApp:
    """The application for one reviewer. Raises :class:`PluginError` that names the extra where packages are missing."""
    with needs_extra("review"):
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Route
    page = _page(session)

    def show(request: Request) -> Response:
        return Response(page, media_type="text/html")

    def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _TYPES:
            return _said("no such file", 404)
        return Response((_HERE / "static" / name).read_bytes(), media_type=_TYPES[name])

    def _said(error: str, status: int) -> Response:
        return JSONResponse({"error": error}, status)

    async def answer(work: Callable[..., dict[str, Any]], *args: Any) -> Response:
        """The store may wait for another server: never in the event loop."""
        try:
            return JSONResponse(await run_in_threadpool(work, *args))
        except IndexError:
            return _said("no such sample", 404)
        except Refused as e:
            return _said(str(e), 409)
        except ConfigError as e:  # the database cannot be written
            return _said(str(e), 503)
        except DataError as e:
            return _said(str(e), 400)

    async def state(request: Request) -> Response:
        return await answer(session.state)

    async def sample(request: Request) -> Response:
        return await answer(session.sample, request.path_params["position"])

    async def mark(request: Request) -> Response:
        try:
            return await answer(session.mark, *_mark_in(await _body(request)))
        except _TooMuch as e:
            return _said(str(e), 413)
        except DataError as e:
            return _said(str(e), 400)

    async def undo(request: Request) -> Response:
        return await answer(session.undo)

    routes = [
        Route("/", show),
        Route("/static/{name}", static),
        Route("/api/state", state),
        Route("/api/samples/{position:int}", sample),
        Route("/api/marks", mark, methods=["POST"]),
        Route("/api/undo", undo, methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes), port, keys)


def _page(session: Session) -> str:
    with needs_extra("review"):
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    loader = FileSystemLoader(_HERE / "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("review.html").render(session.state())


async def _body(request: Request) -> Any:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_BODY:
            raise _TooMuch(f"more than {_MOST_BODY} bytes: no mark is as long")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise DataError("the body is no JSON") from None


def _mark_in(body: Any) -> tuple[int, Field, Any, str]:
    """Position, field, value and member of a mark. Raises :class:`DataError` for anything else."""
    if not isinstance(body, dict):
        raise DataError("an object is wanted")
    position, field, member = body.get("position"), body.get("field"), body.get("member", "")
    if type(position) is not int or not isinstance(member, str) or field not in tuple(Field):
        raise DataError("position (a number), field and value are wanted")
    return position, Field(field), body.get("value"), member
