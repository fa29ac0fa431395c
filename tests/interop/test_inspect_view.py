"""The viewer's page of an exported log in a real browser: samples, verdict, probability, reasoning; hostile text is text."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from browser_support import Watch, click_until

from guardeval.interop.inspect_export import export_inspect

pytest.importorskip("inspect_ai")


@pytest.fixture(scope="module")
def viewer(told, shipped, tmp_path_factory):
    """`inspect view` over the logs of both runs; its address."""
    folder = tmp_path_factory.mktemp("logs")
    with ThreadPoolExecutor(1) as thread:  # the browser's driver holds this one's event loop
        thread.submit(export_inspect, told.path, folder).result()
        thread.submit(export_inspect, shipped.path, folder, task="wildguard").result()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "inspect_ai", "view", "--log-dir", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield _answering(f"http://127.0.0.1:{port}/", process)
        finally:
            process.terminate()


def _answering(address, process):
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return address
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError("inspect view did not answer")


def opened(page, address, task):
    watch = Watch.of(page)
    page.set_default_timeout(30_000)
    page.goto(address)
    click_until(page.get_by_text(task, exact=True).first, page.get_by_text("P_POSITIVE").or_(page.get_by_text("VERDICT")).first)
    return watch


def test_the_list_shows_verdict_and_probability_and_a_sample_its_reasoning(chromium_page, viewer, shipped):
    page = chromium_page
    watch = opened(page, viewer, "wildguard")
    judged = next(j for j, _ in shipped.tasks[0].lines() if j.verdict.label and len(j.sample.prompt) > 60)
    assert shipped.tasks[0].target.word(judged.verdict.label) == "harmful"
    row = page.get_by_text(judged.sample.prompt[:50]).first
    row.wait_for()
    shown = page.inner_text("body")
    assert str(judged.verdict.score)[:12] in shown and "sample rows" in shown and "strict" in shown
    scoring = page.get_by_text("Scoring", exact=True).first
    click_until(row, scoring)
    click_until(scoring, page.get_by_text(judged.verdict.steps[1].text[:40]).first)
    shown = page.inner_text("body")
    assert "p_positive" in shown.lower() and "harmful" in shown
    assert not watch.dialogs and all("127.0.0.1" in u or u.startswith(("data:", "blob:")) for u in watch.requests)


def test_hostile_text_runs_nothing(chromium_page, viewer):
    page = chromium_page
    watch = opened(page, viewer, "mine")
    row = page.get_by_text("Please explain this text to me").first
    row.wait_for()
    scoring = page.get_by_text("Scoring", exact=True).first
    click_until(row, scoring)
    click_until(scoring, page.get_by_text("Explanation", exact=True).first)
    assert page.evaluate("window.ran") is None
    assert page.locator("img[onerror]").count() == 0
    assert not page.evaluate("[...document.scripts].some(s => s.textContent.includes('window.ran'))")
    assert not watch.dialogs
    assert all("127.0.0.1" in u or u.startswith(("data:", "blob:")) for u in watch.requests)
