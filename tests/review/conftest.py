"""A run to review, and real servers on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from review_support import review_by_three, session_on, six_samples

from guardeval.review.session import Session


@pytest.fixture
def run_folder(tmp_path) -> Path:
    return six_samples(tmp_path / "runs")


@pytest.fixture
def reviewed(run_folder) -> Path:
    return review_by_three(run_folder)


@pytest.fixture
def session(run_folder) -> Iterator[Session]:
    with session_on(run_folder, samples="0,1,2,3,4,5") as opened:
        yield opened


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve a run folder to a reviewer; the address of the page. Every call is a server of its own."""
    from guardeval.review.serving import ReviewServer

    with ExitStack() as stack:

        def start(folder: Path, reviewer: str = "ann", samples: str | None = "0,1,2,3,4,5", **more: object) -> str:
            server = ReviewServer(stack.enter_context(session_on(folder, reviewer, samples, **more)))
            thread = threading.Thread(target=server.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.stop)
            return server.url

        yield start
