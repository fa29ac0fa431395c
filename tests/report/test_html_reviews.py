"""Reviews and changed samples on a page, in a real browser: filters, links by mouse and key, hostile marks."""

from __future__ import annotations

import pytest
from html_runs import page_json, run_on
from review_support import session_on
from test_html_browser import HOSTILE, count, only_itself, opened

from guardeval.compare_runs import compare_runs
from guardeval.report.html import html_report
from guardeval.report.html.browser_rows import browser
from guardeval.report.html.changes import changes_of
from guardeval.report.html.material import opened as material_of
from guardeval.report.html.reviews import reviews_of
from guardeval.review.marks import Category, Field
from guardeval.runs import open_run

ANN = "ann <b>'\"&amp;</b>"


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    """Three samples that two people reviewed, one with a hostile comment."""
    run = run_on(tmp_path_factory.mktemp("reviewed"), model="embedded/char")
    ids = [j.sample.id for j, _ in open_run(run).tasks[0].lines()][:3]
    with session_on(run, ANN, ",".join(ids)) as ann:
        for position, (mark, coherent) in enumerate((("wrong_label", "yes"), ("agree", "yes"), ("agree", "no"))):
            ann.mark(position, Field.MARK, mark)
            ann.mark(position, Field.COHERENT, coherent)
        ann.mark(0, Field.CATEGORY, Category.EDGE)
        ann.mark(0, Field.COMMENT, HOSTILE[0] + HOSTILE[3])
    with session_on(run, "bob", ",".join(ids), blind=True) as bob:
        bob.mark(0, Field.LABEL, "harmful")
    return run, ids


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    out = tmp_path_factory.mktemp("pair")
    runs = [run_on(out, model=f"embedded/{m}") for m in ("word", "char")]
    return runs, html_report(runs)


def test_a_section_says_what_people_said_with_intervals(reviewed):
    run, _ = reviewed
    page = html_report([run])
    section = page.partition('<section id="reviews"')[2].partition("</section>")[0]
    assert "reasoning is coherent" in section
    assert '0.667 <span class="interval">[0.208, 0.939]</span> n=3' in section  # Wilson for 2 of 3
    assert "reviewers beside gold label and guard" in section and "own label, blind" in section
    assert "ann &lt;b&gt;" in section and "<b>" not in section
    assert '<a href="#reviews">' in page


def test_without_reviews_there_is_neither_section_nor_filter(chromium_page, tmp_path, pair):
    _, page = pair
    assert 'id="reviews"' not in page
    opened(chromium_page, tmp_path, page)
    assert not chromium_page.is_visible("#f-review")


def test_the_review_filter_and_the_marks_of_a_sample(chromium_page, tmp_path, reviewed):
    run, ids = reviewed
    page = chromium_page
    watch = opened(page, tmp_path, html_report([run]))
    for value, n in (("yes", 3), ("none", 53), ("wrong", 1), ("coherent", 2), ("incoherent", 1), ("is-edge case", 1)):
        page.select_option("#f-review", value)
        assert count(page) == f"{n} of 56 samples", value
    page.select_option("#f-review", "wrong")
    detail = page.inner_text("#detail")
    for text in (ids[0], ANN, "wrong label", "edge case", "harmful (blind)", HOSTILE[0], HOSTILE[3]):
        assert text in detail, text
    page.fill("#f-text", "window.ran = 4")  # comments are searched too
    assert count(page) == "1 of 56 samples"
    assert page.evaluate("window.ran") is None
    assert (watch.dialogs, watch.errors, only_itself(watch)) == ([], [], True)


def test_every_changed_cell_links_to_its_samples(chromium_page, tmp_path, pair):
    runs, text = pair
    page = chromium_page
    opened(page, tmp_path, text)
    (found,) = compare_runs(runs).tasks
    flips = [f for f in found.comparison.pairs[0].flips if f.ids]
    links = page.locator(".behind a")
    kinds = [sum(f.n for f in flips if (f.right_before, f.right_after) == k) for k in ((True, False), (False, True))]
    assert links.count() == len(flips) + sum(n > 0 for n in kinds) >= 3
    for flip in flips:
        links.filter(has_text=f"gold {flip.gold}, {flip.before} → {flip.after}: {flip.n}").click()
        assert count(page).split()[0] == str(flip.n)
        seen = set()
        for _ in range(flip.n):
            seen.add(page.inner_text("#detail h3"))
            page.keyboard.press("ArrowDown")  # the list has the focus
        assert seen == set(flip.ids)
    page.click("#f-reset")
    assert count(page) == "112 of 112 samples"


def test_a_link_works_by_key_and_the_filter_by_itself(chromium_page, tmp_path, pair):
    _, text = pair
    page = chromium_page
    opened(page, tmp_path, text)
    page.fill("#f-text", "no sample says this")
    link = page.locator(".behind a", has_text="right after").first
    n = link.inner_text().rpartition(": ")[2]
    link.focus()
    page.keyboard.press("Enter")
    assert count(page) == f"{n} of 112 samples"  # other filters are reset
    assert page.evaluate("document.activeElement.id") == "list"
    assert page.input_value("#f-change") == "gained"
    assert "gained" in page.inner_text("#detail dt:text-is('changed') + dd")
    assert set(page.locator(".row .tag").all_inner_texts()) == {"right"}
    page.select_option("#f-change", "lost")
    assert "right" not in page.locator(".row .tag").all_inner_texts()


def test_of_many_runs_the_filter_says_gained_and_lost_alone(chromium_page, tmp_path):
    folders = [run_on(tmp_path, model=f"embedded/{m}") for m in ("word", "char", "nb")]
    more = [run_on(tmp_path / str(i), model=f"embedded/{m}") for i in range(6) for m in ("char", "nb")]
    text = html_report([*folders, *more])
    data = page_json(text)
    assert len(data["cells"]) > 40 and data["listCells"] is False
    page = chromium_page
    opened(page, tmp_path, text)
    assert set(page.locator("#f-change option").evaluate_all("all => all.map((o) => o.value)")) <= {
        "", "gained", "lost", "changed",
    }  # fmt: skip
    link = page.locator(".behind a[data-run='2'][data-change='gained']")
    n = link.inner_text().rpartition(": ")[2]
    link.click()
    assert count(page).split()[0] == n


def test_reviewed_samples_are_in_a_page_that_has_room_for_few(reviewed):
    run, ids = reviewed
    material = material_of([run])
    found = browser(material, 30, 0, changes_of(material), reviews_of(material))
    assert found.shown == 30
    kept = page_json(f'<script type="application/json" id="data">{found.json}</script>')
    at = {name: i for i, name in enumerate(kept["fields"])}
    assert set(ids) <= {row[at["id"]] for row in kept["rows"]}
