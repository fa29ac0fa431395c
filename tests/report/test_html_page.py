"""The page as text: what it holds of real runs, what it says about them, and that it is one file."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml
from html_runs import page_json, run_on, run_on_rows

from guardeval.errors import ConfigError, DataError
from guardeval.report.html import html_report
from guardeval.report.html.tradeoff import on_front
from guardeval.report.html.visible import visible
from guardeval.runs import open_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return [run_on(out, "wildguard,toxicchat", f"embedded/{m}") for m in ("word", "char")]


@pytest.fixture(scope="module")
def both(runs):
    return html_report(runs)


def test_notices_come_first_and_every_number_of_the_results_is_there(runs):
    page = html_report(runs[:1])
    results = open_run(runs[0]).results()
    main = page[page.index("<main") :]
    assert 0 < main.index("sample rows written for this project") < main.index("<table")
    for task, metrics in results["results"].items():
        low, high = metrics["f1_ci,strict"]
        assert f'{metrics["f1,strict"]:.3f} <span class="interval">[{low:.3f}, {high:.3f}]</span>' in page, task


def test_every_sample_is_in_the_browser_of_a_small_run(runs):
    data = page_json(html_report(runs[:1]))
    run = open_run(runs[0])
    judged = {(i, j.sample.id): j for i, t in enumerate(run.tasks) for j in t.judgements()}
    at = {name: i for i, name in enumerate(data["fields"])}
    assert len(data["rows"]) == len(judged)
    for row in data["rows"]:
        one = judged[row[at["task"]], row[at["id"]]]
        assert data["strings"][row[at["prompt"]]] == visible(one.sample.prompt)
        assert row[at["label"]] == int(one.verdict.label)
        assert row[at["score"]] == pytest.approx(one.verdict.score, rel=1e-3)
        assert {data["policies"][p] for p in row[at["policies"]]} == one.verdict.policies
        assert [data["strings"][i] for _, i in row[at["steps"]]] == [s.text for s in one.verdict.steps]


def test_two_runs_are_compared_and_share_their_texts(both, runs):
    data = page_json(both)
    assert "exact McNemar" in both and "flips from" in both
    assert "Benchmarks and systems" in both and "What quality costs" in both
    prompts = {r[data["fields"].index("prompt")] for r in data["rows"]}
    assert len(prompts) <= len(data["rows"]) / 2
    one, other = (t.judgements() for t in (open_run(r).tasks[0] for r in runs))
    apart = [r[data["fields"].index("apart")] for r in data["rows"][: len(one)]]
    assert apart == pytest.approx(abs(one.score - other.score), abs=1e-3)


def test_a_page_holds_no_address_and_nothing_that_loads(both):
    assert not re.search(r"(?:src|href)=[\"'](?!#|data:,)", both.replace("xlink:href", "xlink"))
    assert not re.search(r"\son\w+=|@import|url\((?!#)", both)
    addresses = set(re.findall(r"https?://[^\"'\s<]+", both.partition('id="data"')[0]))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_names_within_a_page_are_unique(both):
    ids = re.findall(r'\sid="([^"]+)"', both)
    assert len(ids) == len(set(ids))


def test_the_same_runs_give_the_same_page(runs, both):
    assert html_report(runs) == both


def test_more_samples_than_fit_are_drawn_and_the_page_says_so(runs):
    page = html_report(runs[:1], most=40, seed=3)
    total = sum(len(t.judgements()) for t in open_run(runs[0]).tasks)
    assert f"40 of {total} judged samples" in page and "drawn with seed 3" in page
    assert len(page_json(page)["rows"]) == 40


def test_long_texts_are_cut_and_the_page_says_so(tmp_path):
    page = html_report([run_on_rows(tmp_path, ["short", "x" * 100_000])])
    assert "Texts are cut to 4,000 characters" in page
    assert max(map(len, page_json(page)["strings"])) < 4100
    assert "96,000 more characters" in page


def test_a_redacted_run_has_no_text_and_says_so(tmp_path):
    page = html_report([run_on_rows(tmp_path, ["a secret prompt", "another secret"], redact=True)])
    assert "secret" not in page and "Redacted, and so without texts" in page


def test_runs_that_cannot_be_compared_still_have_a_page(tmp_path):
    one, other = (tmp_path / n for n in "ab")
    one.mkdir()
    other.mkdir()
    page = html_report([run_on_rows(one, ["a", "b"]), run_on_rows(other, ["c", "d"], "embedded/nb")])
    assert "not compared: " in page


def test_a_run_of_one_class_and_no_policies_has_a_page(tmp_path):
    page = html_report([run_on_rows(tmp_path, ["only one"])])
    assert "n/a" in page and len(page_json(page)["rows"]) == 1


def test_more_runs_than_a_chart_tells_apart_are_named_as_left_out(tmp_path):
    runs = [run_on_rows(tmp_path, ["a knife", "a bomb", "a cake", "a spoon"], seed=i, limit=4) for i in range(9)]
    assert "The first 8 of 9 runs are drawn." in html_report(runs)


def test_a_run_named_twice_or_none_is_refused(runs, tmp_path):
    with pytest.raises(ConfigError, match="given twice"):
        html_report([runs[0], runs[0]])
    with pytest.raises(ConfigError, match="needs a run folder"):
        html_report([])
    with pytest.raises(DataError, match="is no run folder"):
        html_report([tmp_path])


def test_names_from_a_run_file_are_text(runs, tmp_path):
    evil = tmp_path / "evil<img src=x onerror=alert(1)>"
    shutil.copytree(runs[0], evil)
    results = next(evil.glob("results_*.json"))
    results.write_text(results.read_text().replace("embedded/word", "<script>alert(1)</script>"))
    record = yaml.safe_load((evil / "run.yaml").read_text())
    (evil / "run.yaml").write_text(yaml.safe_dump(record))
    page = html_report([evil])
    assert "<script>alert" not in page and "<img" not in page and "&lt;script&gt;alert" in page


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1, 0.5), (2, 0.9), (3, 0.7)], [True, True, False]),
        ([(1, 0.5), (1, 0.5)], [True, True]),  # equals beat nobody
        ([(1, 0.5), (1, 0.6)], [False, True]),
        ([(float("nan"), 1.0), (1, 0.1)], [False, True]),
    ],
)
def test_the_front_holds_what_nothing_beats(points, front):
    assert on_front(points) == front
