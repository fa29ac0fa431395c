"""The page in a real browser: a whole review by keyboard, reloads, two reviewers, hostile texts, a server that dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from browser_support import Watch
from review_support import session_on, voted, write_run

HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">{{ 7*7 }}\u202egnp.exe\x00\x1b[31m"


def open_page(page, url: str):
    page.goto(url)
    page.wait_for_selector("#sample section")
    return page


def wait_for(page, text: str, place: str = "#done"):
    page.wait_for_function("([place, text]) => document.querySelector(place).textContent.includes(text)", arg=[place, text])


def pressed(page) -> list[str]:
    return page.eval_on_selector_all("button[aria-pressed=true]", "all => all.map(b => b.querySelector('span').textContent)")


def press(page, keys: str, until: list[str]):
    """Press keys, wait for what stands pressed then."""
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_function(
        "until => [...document.querySelectorAll('button[aria-pressed=true]')].map(b => b.querySelector('span').textContent).join() === until",
        arg=",".join(until),
    )


def test_a_whole_review_by_keyboard_with_a_reload_in_the_middle(chromium_page, run_folder, serve):
    watch = Watch.of(chromium_page)
    url = serve(run_folder)
    page = open_page(chromium_page, url)
    assert page.url.startswith(url.partition("?")[0]) and "key" not in page.url
    wait_for(page, "0 of 6 reviewed")
    press(page, "ac1", ["agree", "yes", "over-flagged"])
    page.keyboard.press("m")
    page.keyboard.type("just a joke")  # the letters are text here, not keys
    page.keyboard.press("Escape")
    wait_for(page, "comment kept", "#said")
    page.keyboard.press("j")
    wait_for(page, "sample 2 of 6", "#place")
    press(page, "wxn3", ["unharmful", "wrong label", "no", "multi-policy confusion"])
    page.keyboard.press("u")
    press(page, "", ["unharmful", "wrong label", "no"])
    page.reload()
    page.wait_for_selector("#sample section")
    wait_for(page, "sample 2 of 6", "#place")
    assert pressed(page) == ["unharmful", "wrong label", "no"]
    page.keyboard.press("k")
    wait_for(page, "sample 1 of 6 ✓", "#place")
    assert page.input_value("#comment") == "just a joke"
    for number in range(3, 7):
        page.keyboard.press("o")
        wait_for(page, f"sample {number} of 6", "#place")
        press(page, "z", ["unsure"])
    wait_for(page, "6 of 6 reviewed")
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    assert not page.is_visible("#keys")
    assert (watch.errors, watch.dialogs) == ([], [])
    assert all(address.startswith((url.partition("?")[0], "data:,")) for address in watch.requests)
    with session_on(run_folder) as kept:
        first, second = kept.sample(0)["marks"], kept.sample(1)["marks"]
        assert (first["mark"], first["comment"], first["category"]) == ("agree", "just a joke", "over-flagged")
        assert (second["mark"], second["label"], second["category"], second["coherent"]) == (
            "wrong_label",
            "unharmful",
            None,
            "no",
        )
        assert kept.progress() == [True] * 6


def test_a_review_goes_on_where_it_stopped(chromium_page, run_folder, serve):
    with session_on(run_folder, samples="0,1,2,3,4,5") as before:
        for position in (0, 1, 3):
            before.mark(position, "mark", "agree")
    page = open_page(chromium_page, serve(run_folder, samples=None))
    wait_for(page, "sample 3 of 6", "#place")
    wait_for(page, "3 of 6 reviewed")
    assert "sample 3 of 6" in page.locator("#place").inner_text()


def test_two_reviewers_at_once_and_two_tabs_of_one(chromium, run_folder, serve):
    ann, bob = chromium.new_context(), chromium.new_context()
    one, two = open_page(ann.new_page(), serve(run_folder, "ann")), open_page(bob.new_page(), serve(run_folder, "bob"))
    press(one, "a", ["agree"])
    press(two, "w", ["wrong label"])
    two.keyboard.press("u")
    press(two, "", [])
    press(two, "w5", ["wrong label", "edge case"])
    tab = open_page(ann.new_page(), one.url.partition("#")[0] + "#1")
    press(tab, "c", ["agree", "yes"])
    one.evaluate("window.dispatchEvent(new Event('focus'))")
    press(one, "", ["agree", "yes"])
    ann.close()
    bob.close()
    with session_on(run_folder) as kept:
        said = kept.store.marks("wildguard")
    assert (said["0", "ann"].mark, said["0", "ann"].coherent) == ("agree", "yes")
    assert (said["0", "bob"].mark, said["0", "bob"].category) == ("wrong_label", "edge case")


def test_the_reasoning_of_one_member_is_marked(chromium_page, run_folder, serve):
    page = open_page(chromium_page, serve(run_folder))
    page.click("button[data-member='two/middle'][data-value=no]")
    page.wait_for_selector("button[data-member='two/middle'][data-value=no][aria-pressed=true]")
    with session_on(run_folder) as kept:
        assert kept.sample(0)["marks"]["members"] == {"two/middle": "no"}


def test_a_blind_review_by_keyboard(chromium_page, run_folder, serve):
    page = open_page(chromium_page, serve(run_folder, blind=True))
    assert "gold label" not in page.inner_text("#sample h2 >> nth=0")
    assert page.locator("#sample section").count() == 2  # the prompt, and that something is hidden
    page.keyboard.press("a")
    wait_for(page, "begins with a label", "#said")
    press(page, "n", ["unharmful"])
    page.keyboard.press("r")
    page.wait_for_selector("text=votes: 3 models")
    press(page, "w", ["unharmful", "wrong label"])
    page.keyboard.press("p")
    wait_for(page, "it stays", "#said")
    page.keyboard.press("j")
    wait_for(page, "sample 2 of 6", "#place")
    assert page.locator("#sample section").count() == 2


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_hostile_texts_run_nothing_and_break_no_layout(chromium, tmp_path, serve, theme):
    long = voted(
        1, True, False, prompt="W" * 100_000, response="שלום" * 500, id="I" * 3000, category="C" * 3000, raw="R" * 9000
    )
    run = write_run(
        tmp_path, [voted(0, prompt=HOSTILE, response=HOSTILE, category=HOSTILE, notes=(HOSTILE,), raw=HOSTILE), long]
    )
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme=theme)
    context.set_default_timeout(10_000)
    page = context.new_page()
    watch = Watch.of(page)
    open_page(page, serve(run, samples="0," + "I" * 3000))
    assert "<script>" in page.inner_text(".text >> nth=0") and "⟦U+202E⟧" in page.inner_text(".text >> nth=0")
    assert "⟦U+0000⟧⟦U+001B⟧[31m" in page.inner_text(".text >> nth=0")
    for place in ("sample 1 of 2", "sample 2 of 2"):
        wait_for(page, place, "#place")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.keyboard.press("j")
    marks = page.locator("aside").bounding_box()
    assert marks["x"] + marks["width"] <= 1280 and marks["width"] > 250
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.title().startswith("review: ") and (watch.dialogs, watch.errors) == ([], [])
    assert page.locator("#sample script, #sample img").count() == 0
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(paper[4:].partition(",")[0]) > 128) == (theme == "light")
    context.close()


def test_a_killed_server_loses_nothing_and_the_page_says_what_is_not_kept(chromium_page, run_folder):
    server = started(run_folder)
    page = open_page(chromium_page, server.url)
    press(page, "ac", ["agree", "yes"])
    server.send_signal(signal.SIGKILL)
    server.wait()
    page.keyboard.press("w")
    page.wait_for_selector("#trouble:not([hidden])")
    assert "not kept" in page.inner_text("#trouble")
    assert pressed(page) == ["agree", "yes"]  # what is shown as kept is kept
    again = started(run_folder)
    open_page(page, again.url)
    wait_for(page, "1 of 6 reviewed")
    again.send_signal(signal.SIGINT)
    out, err = again.communicate(timeout=20)
    assert (again.returncode, err) == (0, "")
    assert out.startswith("ann has reviewed 1 of 6 samples; kept in ")


def started(run_folder) -> subprocess.Popen[str]:
    """`guardeval review` as a process of its own; ``url`` is what it printed."""
    words = [sys.executable, "-m", "guardeval", "review", str(run_folder), "--reviewer", "ann"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 30
    for line in process.stdout:
        if line.startswith("review page: "):
            process.url = line.split()[-1]
        if line.startswith("Ctrl-C") or time.monotonic() > end:
            return process
    raise AssertionError(process.stderr.read())
