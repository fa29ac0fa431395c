"""The best k, exactly: against sorting in memory, whatever the scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.errors import ConfigError
from guardeval.mining import kept_of
from guardeval.ranking import Ranking
from guardeval.streamed_file import writing

SCORES = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.0, -0.0, 1.0, 0.5, -3.0]))


@given(st.lists(st.tuples(SCORES, st.text("abz", max_size=3)), max_size=40), st.integers(0, 45), st.integers(1, 7))
def test_the_best_are_those_of_a_sort_in_memory(rows, k, size):
    ranking = Ranking()
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        ranking.add(np.array([s for s, _ in part]), [i for _, i in part], list(range(start, start + len(part))))
    found = [(score, id_) for score, id_, _ in ranking.best(k)]
    assert found == sorted(rows, key=lambda r: (-r[0], r[1]))[:k]
    assert len(ranking) == len(rows)
    if found:
        assert ranking.equal_to(found[-1][0]) == sum(s == found[-1][0] for s, _ in rows)
    ranking.close()


@pytest.mark.parametrize(
    ("considered", "top", "kept"), [(1554, 0.2, 311), (100, 0.07, 7), (10, 1.0, 10), (5, 0.2, 1), (1, 0.01, 1), (0, 0.2, 0)]
)
def test_a_share_is_rounded_up_as_it_is_written(considered, top, kept):
    assert kept_of(considered, considered, top) == kept


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("old")

    def interrupted() -> None:
        with writing(path) as f:
            f.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ConfigError, match="cannot be written"), writing(tmp_path / "no folder" / "x.json"):
        pass
