"""Files of rows: every format, plain and gzipped, and what is wrong with them said with file and row."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardeval.errors import ConfigError, DataError
from guardeval.rows import read_rows

ROWS = [{"prompt": "How do I bake bread?", "label": 0}, {"prompt": "line one\nline two\u2028three\x85four", "label": 1}]


def write(path, text):
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps(ROWS)),
        ("a.jsonl", "\n".join(json.dumps(r, ensure_ascii=False) for r in ROWS)),
        ("a.ndjson", "\n\n".join(json.dumps(r) for r in ROWS) + "\r\n"),
    ],
)
def test_json_reads_plain_and_gzipped_with_and_without_a_byte_order_mark(tmp_path, name, text, bom, gz):
    assert list(read_rows(write(tmp_path / (name + gz), bom + text.encode()))) == ROWS


@given(st.lists(st.dictionaries(st.text(min_size=1), st.text()), min_size=1))
@settings(max_examples=60)
def test_lines_end_at_newlines_only_whatever_the_texts_hold(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    write(path, "\n".join(json.dumps(r, ensure_ascii=False) for r in rows))
    assert list(read_rows(path)) == rows


def test_a_csv_keeps_newlines_and_commas_inside_quotes(tmp_path):
    path = write(tmp_path / "a.csv", b'\xef\xbb\xbfprompt,label\r\n"one, two\nthree ""four""",1\r\n\r\nfive,0\r\n')
    assert list(read_rows(path)) == [{"prompt": 'one, two\nthree "four"', "label": "1"}, {"prompt": "five", "label": "0"}]


def test_a_csv_cell_may_hold_a_megabyte(tmp_path):
    path = write(tmp_path / "a.csv.gz", "prompt,label\n" + "x" * 1_000_000 + ",1\n")
    assert len(next(read_rows(path))["prompt"]) == 1_000_000


@pytest.mark.parametrize("name", ["a.parquet", "a.parquet.gz"])
def test_parquet_reads_like_the_rest(tmp_path, name):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    assert list(read_rows(write(tmp_path / name, sink.getvalue().to_pybytes()))) == ROWS


def test_the_dictionary_shape_reads_as_rows_of_one_column(tmp_path):
    path = write(tmp_path / "a.json", json.dumps({"prompts": ["one", "two"], "count": 2}))
    assert list(read_rows(path)) == [{"prompts": "one"}, {"prompts": "two"}]


def test_a_dictionary_that_counts_wrongly_is_refused(tmp_path):
    path = write(tmp_path / "a.json", json.dumps({"prompts": ["one", "two"], "count": 3}))
    with pytest.raises(DataError, match="says that it holds 3 rows and holds 2"):
        list(read_rows(path))


def test_columns_side_by_side_and_a_list_of_texts_read_as_rows(tmp_path):
    path = write(tmp_path / "a.json", json.dumps({"prompt": ["one", "two"], "label": [0, 1]}))
    assert list(read_rows(path)) == [{"prompt": "one", "label": 0}, {"prompt": "two", "label": 1}]
    assert list(read_rows(write(tmp_path / "b.json", '["one"]'))) == [{"text": "one"}]


def test_a_lone_surrogate_becomes_the_replacement_character(tmp_path):
    for name, text in (
        ("a.jsonl", '{"prompt": "a\\ud800b \\ud83d\\ude00"}'),
        ("a.json", '[{"prompt": "a\\ud800b \\ud83d\\ude00"}]'),
    ):
        assert list(read_rows(write(tmp_path / name, text))) == [{"prompt": "a\ufffdb \U0001f600"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', r"a\.jsonl:2: is not valid JSON: .* at character \d+$"),
        ("a.json", b'[{"a": 1},\n{"a": \n', r"a\.json: is not valid JSON: .* at line 3, character 1$"),
        ("a.jsonl", b'{"a": 1}\n{"a": ' + b"9" * 5000 + b"}\n", r"a\.jsonl:2: holds a number that is too long \(.*5000 digits"),
        ("a.json", b'[{"a": ' + b"9" * 5000 + b"}]", r"a\.json: holds a number that is too long"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', r"a\.jsonl:2: holds a list; one JSON object a line"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', r"a\.jsonl:2: is not UTF-8 \(byte 0xff at 7\)"),
        ("a.jsonl", b"", r"a\.jsonl: is empty"),
        ("a.json", b"  \n", r"a\.json: is empty"),
        ("a.json", b"[]", r"a\.json: is empty"),
        ("a.json", b"[1]", r"a\.json: row 1 is a number"),
        ("a.json", b"3", r"a\.json: holds a number; a list of objects"),
        ("a.json", b'{"a": 1}', r"a\.json: holds one JSON object without a list"),
        ("a.json", b"[" * 100_000, r"a\.json: is (nested too deeply|not valid JSON)"),
        ("a.csv", b"", r"a\.csv: is empty"),
        ("a.csv", b"prompt,label\n", r"a\.csv: is empty"),
        ("a.csv", b"prompt,label\none,1\ntwo\n", r"a\.csv: row 2 \(line 3\) has 1 cells; the header has 2"),
        ("a.csv", b"prompt,prompt\none,1\n", "a column name stands twice"),
        ("a.csv", b'prompt,label\n"one,1\n', r"a\.csv: row 1 .* is not valid csv"),
        ("a.csv", b"prompt,label\none,1\n\xe4,1\n", r"a\.csv: is not UTF-8 \(byte 0xe4"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 5000)[:-20], r"a\.jsonl\.gz: the gzip file is damaged or cut off"),
        ("a.jsonl.gz", b"no gzip", r"a\.jsonl\.gz: the gzip file is damaged"),
        ("a.parquet", b"no parquet", r"a\.parquet: is no readable parquet"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_rows(path))


def test_an_unknown_format_names_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot tell the format.*did you mean '\.json'\?.*\.parquet"):
        list(read_rows(write(tmp_path / "a.jsn", "[]")))


def test_reading_stops_where_the_reader_stops(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"a": 1}\nbroken')
    assert next(iter(read_rows(path))) == {"a": 1}
