"""What is kept on disk reads as what is kept in memory."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.data import Target
from guardeval.errors import ConfigError
from guardeval.judged import Collector
from guardeval.spill import NumberSpill, Spill, TextSpill
from guardeval.testing import a_judged

TEXTS = st.lists(st.none() | st.text(st.characters(), max_size=8), max_size=60)


@given(st.lists(st.binary(max_size=9), max_size=40), st.integers(0, 64))
def test_bytes_come_back_whatever_fits_in_memory(parts, most):
    spill = Spill(most=most)
    for part in parts:
        spill.write(part)
    assert len(spill) == len(b"".join(parts))
    assert bytes(spill.buffer()) == b"".join(parts)


@given(TEXTS, st.integers(0, 2000))
def test_texts_come_back_whatever_fits_in_memory(texts, most):
    spill = TextSpill(most=most)
    for text in texts[:30]:
        spill.append(text)
    spill.extend(texts[30:])
    found = spill.texts()
    assert len(spill) == len(found) == len(texts)
    assert list(found) == texts
    assert found[1:3] == texts[1:3]
    with pytest.raises(IndexError):
        found[len(texts)]


def test_numbers_come_back_one_by_one_and_many_at_once():
    spill = NumberSpill(most=100)
    for i in range(10_000):
        spill.append(i - 5)
    spill.extend(np.arange(3, dtype=np.int64).tobytes())
    assert spill.values().tolist() == [*range(-5, 9_995), 0, 1, 2]


@pytest.mark.parametrize("order", [range(300), [*range(150, 300), *range(150)], range(299, -1, -1)])
def test_columns_on_disk_are_those_in_memory(tmp_path, order):
    tables = []
    for most in (0, 1 << 30):
        collector = Collector(Target.PROMPT, ("violence",), tmp_path, most)
        for i in order:
            collector.add(a_judged(i % 2 == 0, i % 3 == 0, i, score=i / 300, category=None if i % 5 else f"c{i}"))
        tables.append(collector.judgements(lambda i: a_judged(None, None, i)))
    on_disk, in_memory = tables
    for name in ("row", "gold", "label", "score", "cluster", "latency", "paper"):
        assert np.array_equal(getattr(on_disk, name), getattr(in_memory, name), equal_nan=name == "latency"), name
    assert list(on_disk.ids) == list(in_memory.ids)
    assert list(on_disk.categories) == list(in_memory.categories)
    some = on_disk.take([3, 1])
    assert list(some.ids) == ["3", "1"]
    assert list(tmp_path.iterdir()) == []  # nothing of it has a name


def test_parts_of_several_processes_add_up(tmp_path):
    whole = Collector(Target.PROMPT, ("violence",), tmp_path, 0)
    for part in ([0, 2, 1], [4, 3]):
        other = Collector(Target.PROMPT, ("violence",))
        for i in part:
            other.add(a_judged(True, i > 1, i))
        whole.extend(other.packed().in_order(sorted(range(len(part)), key=part.__getitem__)))
    table = whole.judgements(lambda i: a_judged(None, None, i))
    assert table.row.tolist() == [0, 1, 2, 3, 4]
    assert list(table.ids) == ["0", "1", "2", "3", "4"]
    assert table.label.tolist() == [0, 0, 1, 1, 1]


def test_texts_put_in_order_stay_in_the_folder_that_was_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no room"))  # often memory, and small
    spill = TextSpill(tmp_path, most=0)
    spill.extend(str(i) for i in range(20_000))
    texts = spill.texts().in_order(np.arange(20_000)[::-1])
    assert (texts[0], texts[-1], len(texts)) == ("19999", "0", 20_000)


def test_a_folder_that_is_not_there_is_named():
    from pathlib import Path

    spill = Spill(Path("/no/such/folder"), most=0)
    with pytest.raises(ConfigError, match="/no/such/folder"):
        spill.write(b"x")
