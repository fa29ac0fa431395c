"""Charts as SVG: what they say, that they carry nothing that runs, and that they take the page's colours."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from guardeval.report.charts import heat_chart, interval_chart, matrix_chart, pareto_chart

DRAWN = ("svg", "title", "desc", "g", "path", "text", "defs", "use", "clipPath", "rect")
SVG = "{http://www.w3.org/2000/svg}"
ROWS = [("word", 0.8, 0.75, 0.85), ("char", 0.3, 0.2, 0.4), ("silent", math.nan, math.nan, math.nan)]


def texts(svg: str) -> list[str]:
    return [t.text or "" for t in ET.fromstring(svg.encode()).iter(f"{SVG}text")]


def test_an_interval_chart_names_every_row_and_its_numbers():
    found = texts(interval_chart(ROWS, [(0.7, 0.9), None, None], label="F1"))
    assert {"word", "char", "silent", "0.800 [0.750, 0.850]", "0.300 [0.200, 0.400]", "n/a", "F1"} <= set(found)


def test_a_heat_chart_writes_every_value_and_na_where_there_is_none():
    found = texts(heat_chart(["a", "b"], ["x", "y"], [[0.25, 0.5], [math.nan, 1.0]], label="F1"))
    assert [t for t in found if t in {"0.250", "0.500", "1.000", "n/a"}] == ["0.250", "0.500", "n/a", "1.000"]


def test_a_matrix_counts_whole_samples():
    assert {"1,200", "3"} <= set(texts(matrix_chart(["harmful"], ["harmful", "no verdict"], [[1200, 3]])))


def test_a_point_without_a_value_is_named_but_not_drawn():
    svg = pareto_chart([("a", 1.0, 0.8, True), ("b", math.nan, 0.9, False)], "seconds", "F1")
    assert "b" not in texts(svg)
    assert "Not drawn, for a value is missing: b" in ET.fromstring(svg).find(f"{SVG}desc").text


def test_a_picture_in_a_page_takes_its_colours_from_it_and_a_file_brings_its_own():
    inline, file = (interval_chart(ROWS, standalone=s) for s in (False, True))
    assert "var(--series-1)" in inline and "#0a0b" not in inline
    assert file.startswith("<?xml") and "var(" not in file and "#0072b2" in file
    assert ET.fromstring(file.encode()).find(f"{SVG}rect").get("fill") == "#ffffff"


def test_the_same_values_give_the_same_bytes():
    assert interval_chart(ROWS) == interval_chart(ROWS)


def test_two_pictures_share_no_name():
    pictures = [interval_chart(ROWS), interval_chart(ROWS[:2]), pareto_chart([("a", 1.0, 0.8, True)], "s", "F1")]
    ids = [{e.get("id") for e in ET.fromstring(p.encode()).iter() if e.get("id")} for p in pictures]
    assert sum(map(len, ids)) == len(set.union(*ids))


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "$\\frac{1}{0}$", "a\x00b\x1b[31m", "\u202eevil", "_hidden", "漢字" * 40, ""]
)
def test_any_name_is_text_and_no_more(name):
    for svg in (
        interval_chart([(name, 0.5, 0.4, 0.6)], label=name),
        heat_chart([name], [name], [[0.5]], label=name),
        pareto_chart([(name, 1.0, 0.5, True)], name, name),
    ):
        root = ET.fromstring(svg.encode())  # well-formed
        assert {e.tag for e in root.iter()} <= {SVG + t for t in DRAWN}
        assert "\u202e" not in svg and "\x1b" not in svg


def test_no_rows_make_an_empty_picture():
    for svg in (interval_chart([]), heat_chart([], [], []), pareto_chart([], "s", "F1")):
        assert ET.fromstring(svg.encode()).tag == SVG + "svg"


def test_values_that_are_no_table_are_refused():
    with pytest.raises(ValueError, match="no table of 1 rows and 2 columns"):
        heat_chart(["a"], ["x", "y"], [[1.0]])
    with pytest.raises(ValueError, match="1 expected ranges for 3 rows"):
        interval_chart(ROWS, [None])
