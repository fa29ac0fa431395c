"""``guardeval train --data``: what is no training file is told as what it is, and no flag is taken without a word."""

from __future__ import annotations

import json

import pytest

from guardeval.cli import main

ROW = {"id": "a", "prompt": "hello", "reasoning": "Step 1: a greeting", "classification": "unharmful"}


def test_a_file_that_is_not_there_is_told_as_such(tmp_path, capsys):
    assert main(["train", "rsft", "--data", str(tmp_path / "none.json"), "--out", str(tmp_path / "out")]) == 2
    assert "none.json: no such file" in capsys.readouterr().err


def test_a_limit_on_a_training_file_is_refused_rather_than_ignored(tmp_path, capsys):
    (tmp_path / "rows.json").write_text(json.dumps([ROW] * 3))
    words = ["train", "rsft", "--data", str(tmp_path / "rows.json"), "--out", str(tmp_path / "out"), "--limit", "1"]
    assert main(words) == 2
    assert "guardeval prepare --n N" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "is empty"), ("[{", "is not valid JSON"), ('[{"prompt": "p"}]', "row 1: neither a trace")],
)
def test_a_damaged_training_file_says_what_is_wrong_with_it(tmp_path, capsys, text, said):
    (tmp_path / "rows.json").write_text(text)
    assert main(["train", "rsft", "--data", str(tmp_path / "rows.json"), "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
