"""Pages in a real browser: hostile text does nothing, filters and keys work, nothing is asked of any network."""

from __future__ import annotations

import time

import pytest
from browser_support import Watch
from html_runs import run_on, run_on_rows

from guardeval.report.html import html_report

HOSTILE = (
    "<script>window.ran = 1; alert(1)</script>",
    "</script><script>window.ran = 2</script>",
    "<!--<script>window.ran = 3",
    "</title></style></textarea></noscript><img src=x onerror='window.ran = 4'>",
    "<svg onload=window.ran=5><a xlink:href='javascript:window.ran=6'>x</a></svg>",
    "javascript:window.ran=7",
    "[click](javascript:window.ran=8) ![i](https://example.invalid/pixel.png) **bold** `code`",
    "{{7*7}} {% raw %} ${7*7} <%= 7*7 %>",
    "\u202egnp.exe \u2066hidden\u2069 \u200f\u061c",
    "nul \x00 bell \x07 escape \x1b[31m delete \x7f next line \x85",
    "W" * 100_000,
    "<iframe srcdoc='<script>parent.ran=9</script>'></iframe><meta http-equiv=refresh content='0;url=https://example.invalid'>",
    "<style>*{display:none}</style><link rel=stylesheet href=https://example.invalid/x.css><base href=https://example.invalid>",
    "Z̸̢̛̛̺̣̫͔͈̭͛̈́̑͆̽͊͗̕a̵̡͓̞̤͎͔̓́̀̾͋̓̕l̶̨̛͚͓̠̲̽̓̈́g̷̛̞̯͛̄͝o̶" * 40,
    "\u2028\u2029 \ufeff \U000e0041\U000e0042 漢字 שלום 👩\u200d🔬",
    "constructor", "__proto__",
)  # fmt: skip


def opened(page, folder, text):
    """The page as a file of its own, opened from disk and watched."""
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    watch = Watch.of(page)
    page.goto(path.as_uri())
    page.wait_for_selector(".row")
    return watch


def count(page) -> str:
    return page.inner_text("#count")


def only_itself(watch) -> bool:
    """Nothing was asked for but the page itself (and its empty icon)."""
    return all(u.endswith("/report.html") or u == "data:," for u in watch.requests)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    out = tmp_path_factory.mktemp("pair")
    return html_report([run_on(out, model=f"embedded/{m}") for m in ("word", "char")])


def test_hostile_text_runs_nothing_asks_nothing_and_breaks_no_layout(chromium_page, tmp_path):
    page = chromium_page
    watch = opened(page, tmp_path, html_report([run_on_rows(tmp_path, HOSTILE)]))
    assert count(page) == f"{len(HOSTILE)} of {len(HOSTILE)} samples"
    skeleton = page.evaluate("document.querySelectorAll('script, style, iframe, img, object, link, meta, base').length")
    page.focus("#list")
    for place in range(len(HOSTILE)):
        assert page.get_attribute("#list", "aria-activedescendant") == f"row-{place}"
        assert page.locator("#detail *").count() < 60
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        box = page.evaluate(
            "(({left, right, height}) => [left, right, height])(document.querySelector('.panes').getBoundingClientRect())"
        )
        assert 0 <= box[0] < box[1] <= 1280 and box[2] < 800
        page.keyboard.press("ArrowDown")
    assert page.evaluate("window.ran") is None and page.evaluate("window.length") == 0
    assert page.evaluate("document.querySelectorAll('script, style, iframe, img, object, link, meta, base').length") == skeleton
    assert page.locator("#browser script, #browser img, #browser svg, #browser a, #browser iframe, #browser style").count() == 0
    assert (watch.dialogs, watch.errors, only_itself(watch)) == ([], [], True)
    shown = page.evaluate("document.body.innerText")
    assert not any(c in shown for c in "\u202e\u2066\u2069\x00\x07\x1b\x7f")


def test_hostile_text_is_shown_as_it_stands(chromium_page, tmp_path):
    opened(chromium_page, tmp_path, html_report([run_on_rows(tmp_path, HOSTILE)]))
    chromium_page.fill("#f-text", "{{7*7}}")
    assert chromium_page.inner_text("#detail .text >> nth=0") == HOSTILE[7]
    chromium_page.fill("#f-text", "</SCRIPT><script>window")  # no matter of case
    assert chromium_page.inner_text("#detail .text >> nth=0") == HOSTILE[1]


def test_a_hostile_name_of_a_sample_or_category_is_text_in_filters_too(chromium_page, tmp_path):
    opened(chromium_page, tmp_path, html_report([run_on_rows(tmp_path, HOSTILE)]))
    assert chromium_page.locator("option").filter(has_text="<").count() == 0
    assert chromium_page.evaluate("[...document.querySelectorAll('option')].every((o) => !o.children.length)")


def test_the_content_policy_lets_no_other_script_run(chromium_page, tmp_path, pair):
    watch = opened(chromium_page, tmp_path, pair)
    chromium_page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
        " const i = new Image(); i.src = 'https://example.invalid/x.png'; document.body.append(i); }"
    )
    assert chromium_page.evaluate("window.ran") is None
    assert any("Content Security Policy" in e for e in watch.errors)


def test_filters_narrow_the_list_and_reset_widens_it(chromium_page, tmp_path, pair):
    page = chromium_page
    opened(page, tmp_path, pair)
    everything = count(page)
    page.select_option("#f-run", label="embedded/char")
    assert count(page) == f"56 of {everything.split()[0]} samples"
    page.select_option(
        "#f-error", label=next(t for t in page.locator("#f-error option").all_inner_texts() if t.startswith("missed"))
    )
    assert set(page.locator(".row .tag").all_inner_texts()) == {"missed"}
    page.click("#f-reset")
    assert count(page) == everything
    page.fill("#f-low", "0.4")
    page.fill("#f-high", "0.6")
    scores = [float(t) for t in page.locator(".row .meta > :last-child").all_inner_texts()]
    assert scores and all(0.4 <= s <= 0.6 for s in scores)
    page.fill("#f-text", "no sample says this")
    assert count(page).startswith("0 of") and "No sample is like that" in page.inner_text("#list")
    assert page.get_attribute("#list", "aria-activedescendant") is None


def test_sorting_by_score_and_by_disagreement(chromium_page, tmp_path, pair):
    page = chromium_page
    opened(page, tmp_path, pair)
    for sort, row, reverse in (
        ("-score", "P(positive)", True),
        ("score", "P(positive)", False),
        ("-apart", "disagreement", True),
    ):
        page.select_option("#f-sort", sort)
        page.focus("#list")
        values = []
        for _ in range(8):
            values.append(float(page.inner_text(f"#detail dt:text-is('{row}') + dd").split()[0]))
            page.keyboard.press("ArrowDown")
        assert values == sorted(values, reverse=reverse)


def test_the_keyboard_alone_reaches_search_list_and_sample(chromium_page, tmp_path, pair):
    page = chromium_page
    opened(page, tmp_path, pair)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    page.keyboard.type("password")
    page.keyboard.press("Enter")  # from the search into the list
    assert page.evaluate("document.activeElement.id") == "list"
    page.keyboard.press("Escape")
    page.click("#f-reset")
    page.focus("#list")
    page.keyboard.press("End")
    last = page.get_attribute("[aria-selected=true]", "aria-posinset")
    assert last == page.get_attribute("[aria-selected=true]", "aria-setsize")
    page.keyboard.press("Home")
    assert page.get_attribute("[aria-selected=true]", "aria-posinset") == "1"
    page.keyboard.press("PageDown")
    assert int(page.get_attribute("[aria-selected=true]", "aria-posinset")) > 5
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"


def test_every_control_has_a_name(chromium_page, tmp_path, pair):
    opened(chromium_page, tmp_path, pair)
    nameless = chromium_page.evaluate(
        "[...document.querySelectorAll('input, select, button, [role=listbox], svg')].filter((e) =>"
        " !(e.labels?.length || e.ariaLabel || e.textContent.trim() || e.querySelector('title'))).length"
    )
    assert nameless == 0


def test_both_themes_and_the_toggle(chromium, tmp_path, pair):
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme)
        page = context.new_page()
        opened(page, tmp_path, pair)
        colour = "getComputedStyle(document.body).backgroundColor"
        before = page.evaluate(colour)
        assert (sum(map(int, before[4:-1].split(","))) > 380) is (scheme == "light")
        page.click("#theme")
        after = page.evaluate(colour)
        assert (sum(map(int, after[4:-1].split(","))) > 380) is (scheme == "dark")
        context.close()


def test_on_paper_there_is_no_browser_and_everything_is_open(chromium_page, tmp_path, pair):
    opened(chromium_page, tmp_path, pair)
    chromium_page.emulate_media(media="print", color_scheme="dark")
    assert not chromium_page.is_visible("#browser") and not chromium_page.is_visible("#theme")
    assert chromium_page.is_visible("details table >> nth=0")
    assert chromium_page.evaluate("getComputedStyle(document.body).color") == "rgb(29, 36, 48)"


def measured(page, folder, text, search):
    """Seconds to open and to filter by a text, and what was asked for meanwhile."""
    start = time.perf_counter()
    watch = opened(page, folder, text)
    found = time.perf_counter()
    page.fill("#f-text", search)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    filtered = time.perf_counter()
    page.evaluate("document.getElementById('f-text').value = ''")
    inside = page.evaluate(
        "(() => { const t = performance.now(); document.getElementById('f-reset').click(); return performance.now() - t })()"
    )
    print(
        f"{len(text.encode()) / 1e6:.2f} MB, opened in {found - start:.2f} s, filtered in {filtered - found:.3f} s, all shown in {inside:.0f} ms"
    )
    return watch


def test_a_real_benchmark_fits_three_megabytes_and_asks_nothing(chromium_page, shared_data, tmp_path):
    rows = shared_data / "wildguard" / "wildguard_benchmark_six_policies.json.gz"
    text = html_report([run_on(tmp_path, data=str(rows))])
    assert len(text.encode()) < 3_000_000
    watch = measured(chromium_page, tmp_path, text, "how")
    assert (watch.errors, watch.dialogs, only_itself(watch)) == ([], [], True)
    assert chromium_page.inner_text("#count") == "1,554 of 1,554 samples"


def test_recorded_answers_are_read_in_the_page(chromium_page, shared_data, tmp_path):
    recording = shared_data / "generations" / "run1" / "3B" / "XSTestResponseRefusal" / "generated_predictions.jsonl.gz"
    rows = shared_data / "xstest" / "xstest_response_refusal_guardreasoner.json.gz"
    run = run_on(tmp_path, "xstest_refusal", f"replay/{recording}", data=str(rows), solver="guardreasoner")
    watch = opened(chromium_page, tmp_path, html_report([run]))
    option = next(t for t in chromium_page.locator("#f-error option").all_inner_texts() if t.startswith("no verdict"))
    assert option == "no verdict (23)"  # as docs/accounting.md works out by hand
    chromium_page.select_option("#f-error", label=option)
    assert count(chromium_page) == "23 of 449 samples"
    assert watch.errors == []


@pytest.mark.bench
def test_twenty_thousand_samples_stay_quick(chromium_page, tmp_path):
    words = "how do I make a cake for my friend and not tell anybody what is in it please explain step by step".split()
    texts = [" ".join(words[(i * 7 + j * j) % len(words)] for j in range(60)) + f" number {i}" for i in range(24_000)]
    watch = measured(chromium_page, tmp_path, html_report([run_on_rows(tmp_path, texts)]), "number 19")
    assert only_itself(watch)
