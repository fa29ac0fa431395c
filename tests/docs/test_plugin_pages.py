"""Pages about plugins show what `guardeval new` writes, and what `guardeval validate` says."""

from __future__ import annotations

import re

import pytest
from pages import blocks, names, section, table

from guardeval.cli import main
from guardeval.newcomers.kinds import KINDS
from guardeval.newcomers.package import names_of, render


@pytest.mark.parametrize("kind", KINDS)
def test_the_plugin_that_a_page_shows_is_the_one_that_new_writes(kind):
    page = f"docs/plugins/{kind}.md"
    shown = {b.info["file"]: b.text for b in blocks(page) if "file" in b.info}
    (name,) = {m for p in shown if (m := re.sub(r"^tests/test_(\w+)\.py$", r"\1", p)) != p}
    written = render(names_of(kind, name))
    module = names_of(kind, name).module
    for path, text in shown.items():
        assert text == written[path.replace("mine/", f"{module}/")], f"{page}: {path}"


def test_mistakes_in_a_task_file_are_told_as_the_page_says(tmp_path, capsys):
    files = {b.info["file"].removeprefix("mine/"): b.text for b in blocks("docs/add_a_benchmark.md") if "file" in b.info}
    rows = table(section("docs/add_a_benchmark.md", "## 4. What validate says"), "in the file")
    assert len(rows) >= 6
    for i, row in enumerate(rows):
        (wrong,), (right,), said = map(names, row)
        folder = tmp_path / str(i)
        folder.mkdir()
        assert right in files["tickets.yaml"]
        (folder / "tickets.yaml").write_text(files["tickets.yaml"].replace(right, wrong))
        (folder / "tickets.csv").write_text(files["tickets.csv"])
        capsys.readouterr()
        assert main(["validate", "task", str(folder)]) == 1, wrong
        told = capsys.readouterr().out
        assert said
        for part in said:
            assert part in told, wrong


def test_the_benchmark_of_ten_minutes_is_fifteen_lines_at_most():
    (yaml,) = (b.text for b in blocks("docs/add_a_benchmark.md") if b.info.get("file") == "mine/tickets.yaml")
    assert len(yaml.splitlines()) <= 15
