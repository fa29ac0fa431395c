"""The page on a port of this machine, until somebody stops it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING

from guardeval.errors import ConfigError, needs_extra
from guardeval.review.app import review_app
from guardeval.review.security import Keys
from guardeval.review.session import Session

if TYPE_CHECKING:
    import uvicorn

__all__ = ["ReviewServer", "require_packages"]


def require_packages() -> None:
    """Raises :class:`~guardeval.errors.PluginError` where the page cannot be served here."""
    with needs_extra("review"):
        import jinja2  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401


class ReviewServer:
    """Takes the port at once, 0 = any free one. Raises :class:`ConfigError` for one that is taken.

    ``url`` opens the page; ``run`` serves until Ctrl-C or ``stop``, which any thread may call.
    """

    def __init__(self, session: Session, port: int = 0) -> None:
        with needs_extra("review"):
            import uvicorn
        self._socket = _listening(port)
        self.port = int(self._socket.getsockname()[1])
        keys = Keys()
        self.url = f"http://127.0.0.1:{self.port}/?key={keys.entry}"
        config = uvicorn.Config(
            review_app(session, self.port, keys), log_config=None, access_log=False, lifespan="off", ws="none",
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server: uvicorn.Server = uvicorn.Server(config)

    def run(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn shuts down, then raises it once more
            self._server.run(sockets=[self._socket])
        self._socket.close()

    def stop(self) -> None:
        self._server.should_exit = True


def _listening(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # a server that was just stopped holds nothing; elsewhere this would share a taken port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(128)
    except (OSError, OverflowError) as e:
        sock.close()
        taken = isinstance(e, OSError) and e.errno == errno.EADDRINUSE
        why = "is taken by another program" if taken else f"cannot be used ({e})"
        raise ConfigError(f"--port {port}: {why}; name another, or leave --port out to take a free one") from e
    return sock
