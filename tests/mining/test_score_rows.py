"""A plain file of scores: jsonl and csv, also gzipped, with columns of its own; what is no score is refused by row."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardeval.disagreement import disagreement
from guardeval.errors import ConfigError, DataError
from guardeval.mining import mine

ROWS = [
    {"id": "a", "text": 'two\nlines, "quoted"', "x": 0.9, "y": 0.1, "z": 0.5},
    {"id": "b", "text": "plain", "x": 0.5, "y": 0.5, "z": 0.5},
    {"id": "c", "text": "é", "x": None, "y": 0.2, "z": 0.6},
    {"id": "d", "text": "", "x": None, "y": None, "z": 0.6},
]


def as_csv(rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def as_jsonl(rows) -> str:
    return "".join(json.dumps(r) + "\n" for r in rows)


@pytest.mark.parametrize("name", ["s.jsonl", "s.csv", "s.jsonl.gz", "s.csv.gz"])
def test_all_formats_are_mined_alike_and_columns_pass_through(tmp_path, name):
    data = (as_csv(ROWS) if ".csv" in name else as_jsonl(ROWS)).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    done = mine([tmp_path / name], tmp_path / "hard.json", top=0.5)
    rows = json.loads((tmp_path / "hard.json").read_bytes())
    assert [(r["guardeval"]["id"], r["guardeval"]["index"], r["guardeval"]["score"]) for r in rows] == [
        ("a", 0, 1.6),
        ("c", 2, 1.2),
    ]
    assert rows[0]["text"] == ROWS[0]["text"]
    assert rows[1]["guardeval"]["members"]["x"] == {"label": None, "score": None}
    assert done.members == ("x", "y", "z")
    assert done.apart == 1


def test_members_may_be_named(tmp_path):
    (tmp_path / "s.jsonl").write_text(as_jsonl(ROWS))
    done = mine([tmp_path / "s.jsonl"], tmp_path / "hard.json", members=["z", "y"], n=1)
    assert (done.members, done.rows) == (("z", "y"), 1)


def test_gold_labels_in_a_column_make_a_label_audit(tmp_path):
    rows = [{"id": i, "a": 0.95, "b": 0.9, "gold": gold} for i, gold in enumerate([0, 1, None, 0])]
    (tmp_path / "s.jsonl").write_text(as_jsonl(rows))
    done = mine([tmp_path / "s.jsonl"], tmp_path / "audit.json", rule="label_audit")
    assert [r["guardeval"]["id"] for r in json.loads((tmp_path / "audit.json").read_bytes())] == ["0", "3"]
    assert (done.considered, done.unlabelled) == (3, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "b", "x": 1.5, "y": 0}', "row 2: column 'x' holds 1.5"),
        ('{"id": "b", "x": "high", "y": 0}', "row 2: column 'x' holds 'high'"),
        ('{"x": 0.5, "y": 0}', "row 2 has no `id`"),
        ('{"id": "b", "x": 0.5, "y": 0, "gold": "maybe"}', "row 2: `gold` is 'maybe'"),
        ('{"id": "b", ', "not valid JSON"),
        ("[1]", "one JSON object a line"),
    ],
)
def test_what_is_no_score_is_refused_by_row(tmp_path, line, message):
    (tmp_path / "s.jsonl").write_text('{"id": "a", "x": 0.5, "y": 0.5}\n' + line + "\n")
    with pytest.raises(DataError, match=message):
        mine([tmp_path / "s.jsonl"], tmp_path / "hard.json", members=["x", "y"])


@pytest.mark.parametrize(
    ("text", "members", "message"),
    [
        ('{"id": "a", "x": 0.5}\n', None, "two columns of scores or more"),
        ('{"id": "a", "x": 0.5, "yes": 0.5}\n', ["x", "yess"], "did you mean 'yes'"),
        ('{"x": 0.5, "y": 0.5}\n', None, "no column `id`"),
    ],
)
def test_files_without_two_members_are_refused(tmp_path, text, members, message):
    (tmp_path / "s.jsonl").write_text(text)
    with pytest.raises((ConfigError, DataError), match=message):
        mine([tmp_path / "s.jsonl"], tmp_path / "hard.json", members=members)


def test_a_cut_gzip_and_json_documents_are_refused(tmp_path):
    (tmp_path / "s.jsonl.gz").write_bytes(gzip.compress(as_jsonl(ROWS).encode())[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        mine([tmp_path / "s.jsonl.gz"], tmp_path / "hard.json")
    (tmp_path / "s.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"\.jsonl or \.csv"):
        mine([tmp_path / "s.json"], tmp_path / "hard.json")


def test_many_rows_give_what_all_in_memory_gives(tmp_path):
    rng = random.Random(3)
    rows = [{"id": f"s{i}", **{m: rng.choice([None, round(rng.random(), 1)]) for m in "abcd"}} for i in range(20_000)]
    rng.shuffle(rows)
    (tmp_path / "s.csv").write_text(as_csv(rows))
    done = mine([tmp_path / "s.csv"], tmp_path / "hard.jsonl")
    scores = [[math.nan if r[m] is None else r[m] for m in "abcd"] for r in rows]
    values = disagreement(scores, [[-1 if s != s else int(s >= 0.5) for s in row] for row in scores]).values
    there = sorted((-v, r["id"]) for v, r in zip(values, rows, strict=True) if v == v)
    found = [json.loads(line)["guardeval"] for line in (tmp_path / "hard.jsonl").read_text().splitlines()]
    assert [(-f["score"], f["id"]) for f in found] == there[: math.ceil(len(there) / 5)]
    assert (done.considered, done.apart) == (len(there), 20_000 - len(there))
    assert all(rows[f["index"]]["id"] == f["id"] for f in found)


CELL = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))


@settings(max_examples=25)
@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=30), st.integers(1, 10), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(tmp_path_factory, cells, tenths, rng):
    folder = tmp_path_factory.mktemp("scores")
    rows = [dict(zip(("id", "a", "b", "c"), (f"s{i}", *row), strict=True)) for i, row in enumerate(cells)]
    rows.append({"id": "s999", "a": 0.5, "b": 0.5, "c": 0.25})
    scores = [[math.nan if r[m] is None else r[m] for m in "abc"] for r in rows]
    values = disagreement(scores, [[-1 if s != s else int(s >= 0.5) for s in row] for row in scores]).values
    there = sorted((-v, r["id"]) for v, r in zip(values, rows, strict=True) if v == v)
    for _ in range(2):
        (folder / "s.jsonl").write_text(as_jsonl(rows))
        mine([folder / "s.jsonl"], folder / "hard.jsonl", top=tenths / 10, members=["a", "b", "c"])
        found = [json.loads(line)["guardeval"] for line in (folder / "hard.jsonl").read_text().splitlines()]
        assert [(-f["score"], f["id"]) for f in found] == there[: math.ceil(len(there) * tenths / 10)]
        random.Random(rng.random()).shuffle(rows)
