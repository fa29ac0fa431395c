"""A real browser for tests of pages: where it is, how it is started, what it is watched for."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

__all__ = ["Watch", "click_until", "launched"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_ARGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def launched() -> Iterator[Browser]:
    """Chromium without a window; skips where there is none. Only for tests that are no coroutines."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"no browser is here ({', '.join(_NAMES)})")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(_ARGS))
        yield browser
        browser.close()


def click_until(button: Locator, shown: Locator, seconds: float = 60.0) -> None:
    """Clicks as a person does on a page that draws itself anew while it loads: a click that falls between two drawings is lost, and made again.

    Not for our own pages, which must lose none.
    """
    from playwright.sync_api import Error

    end = time.monotonic() + seconds
    while not shown.is_visible():
        try:
            button.click(timeout=3_000)
            shown.wait_for(timeout=3_000)
        except Error:
            if time.monotonic() > end:
                raise


@dataclass
class Watch:
    """What a page did since it was watched: addresses asked for, dialogs opened, errors of its scripts and of its policy."""

    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, page: Page) -> Watch:
        watch = cls()
        page.on("request", lambda r: watch.requests.append(r.url))
        page.on("dialog", lambda d: (watch.dialogs.append(d.message), d.dismiss()))
        page.on("pageerror", lambda e: watch.errors.append(str(e)))
        page.on("console", lambda m: watch.errors.append(m.text) if m.type == "error" else None)
        return watch
