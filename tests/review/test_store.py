"""Marks in the database: nothing lost, nothing on another text, undone one by one, several writers at once."""

from __future__ import annotations

import sqlite3
import threading
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from review_support import session_on, voted, write_run

from guardeval.errors import ConfigError, DataError
from guardeval.review.marks import Category, Field
from guardeval.review.selection import ids_named, review_set, run_identity
from guardeval.review.session import Refused
from guardeval.review.store import REVIEWS_FILE, Store
from guardeval.runs import open_run


def marks(session, position=0):
    return session.sample(position)["marks"]


def test_every_kind_of_mark_is_kept_and_read_back_by_another_server(session, run_folder):
    for field, value in (("mark", "wrong_label"), ("label", "unharmful"), ("category", "edge case"), ("coherent", "unsure")):
        session.mark(2, Field(field), value)
    session.mark(2, Field.COMMENT, " hm ")
    session.mark(2, Field.COHERENT, "no", "two/middle")
    with session_on(run_folder) as other:
        assert marks(other, 2) == {
            "mark": "wrong_label", "label": "unharmful", "category": "edge case", "coherent": "unsure", "comment": "hm",
            "members": {"two/middle": "no"}, "revealed": False, "reviewed": True,
        }  # fmt: skip
        assert other.progress() == [False, False, True, False, False, False]


def test_undo_takes_back_ones_own_last_mark_and_no_more(session, run_folder):
    session.mark(0, Field.MARK, "agree")
    session.mark(0, Field.MARK, "wrong_label")
    session.mark(1, Field.CATEGORY, "missed")
    with session_on(run_folder, "bob") as bob:
        bob.mark(0, Field.MARK, "agree")
        assert session.undo()["position"] == 1
        assert session.undo()["marks"]["mark"] == "agree"
        assert session.undo()["marks"]["mark"] is None
        assert session.undo() == {"position": None}
        assert marks(bob)["mark"] == "agree"
    kept = sqlite3.connect(run_folder / REVIEWS_FILE).execute("SELECT count(*), count(undoes) FROM event").fetchone()
    assert kept == (7, 3)  # the history stays: four marks, three undoings


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([*Category, None])), max_size=12))
def test_undoing_everything_leads_back_through_every_state(tmp_path_factory, said):
    folder = write_run(tmp_path_factory.mktemp("runs"), [voted(i) for i in range(3)])
    with session_on(folder, samples="0,1,2") as session:
        states = [[marks(session, i)["category"] for i in range(3)]]
        for position, value in said:
            session.mark(position, Field.CATEGORY, value)
            now = [marks(session, i)["category"] for i in range(3)]
            if now != states[-1]:  # saying what stands already is no event
                states.append(now)
        while states:
            assert [marks(session, i)["category"] for i in range(3)] == states.pop()
            session.undo()


def test_two_servers_that_write_at_once_lose_nothing(run_folder):
    errors = []

    def review(reviewer):
        try:
            with session_on(run_folder, reviewer, "0,1,2,3,4,5") as session:
                for turn in range(20):
                    for position in range(5):
                        session.mark(position, Field.CATEGORY, tuple(Category)[(turn + position) % 6])
        except (DataError, ConfigError, sqlite3.Error) as e:
            errors.append(e)

    threads = [threading.Thread(target=review, args=(name,)) for name in ("ann", "bob", "ann")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    with session_on(run_folder, "bob") as bob:
        assert [marks(bob, i)["category"] for i in range(5)] == [tuple(Category)[(19 + i) % 6] for i in range(5)]


def test_a_database_of_another_run_is_refused(session, run_folder, tmp_path):
    other = open_run(write_run(tmp_path / "others", [voted(0)], datetime(2026, 1, 2, 3, 4, 6)))
    with pytest.raises(DataError, match=r"holds reviews of run '2026.*--db"):
        Store(run_folder / REVIEWS_FILE, run_identity(other), other.name)


def test_a_copied_or_renamed_run_keeps_its_reviews(session, run_folder):
    session.mark(0, Field.MARK, "agree")
    moved = run_folder.rename(run_folder.parent / "renamed")
    with session_on(moved) as again:
        assert marks(again)["mark"] == "agree"


def test_marks_never_attach_to_another_text(session, run_folder):
    session.mark(0, Field.MARK, "agree")
    file = next(run_folder.glob("samples_*"))
    file.write_bytes(file.read_bytes().replace(b'"prompt 0"', b'"prompt O"'))
    with pytest.raises(DataError, match=r"1 samples had another text.*'0'"), session_on(run_folder):
        pass
    with pytest.raises(DataError, match="another text"), session_on(run_folder, samples="0"):
        pass


@pytest.mark.parametrize("what", [b"not a database at all, " * 100, None])
def test_a_file_that_is_no_database_of_reviews_is_left_alone(run_folder, what):
    path = run_folder / REVIEWS_FILE
    if what is None:
        sqlite3.connect(path).execute("CREATE TABLE theirs (x)").connection.close()
    else:
        path.write_bytes(what)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"reviews\.sqlite: .*--db"), session_on(run_folder):
        pass
    assert path.read_bytes() == before


def test_wrong_values_are_refused_and_change_nothing(session):
    for field, value in (("mark", "yes"), ("label", "harm"), ("category", 5), ("coherent", []), ("comment", "x" * 30_000)):
        with pytest.raises(DataError):
            session.mark(0, Field(field), value)
    with pytest.raises(DataError, match="no member"):
        session.mark(0, Field.COHERENT, "yes", "nobody")
    with pytest.raises(Refused, match="no gold label"):
        session.mark(5, Field.MARK, "agree")
    assert not marks(session)["reviewed"]


# ---- which samples ----


def opened(folder):
    run = open_run(folder)
    return run.tasks[0], Store(folder / REVIEWS_FILE, run_identity(run), run.name)


def test_a_drawn_set_keeps_the_share_of_errors_and_is_the_same_for_everybody(tmp_path):
    folder = write_run(tmp_path, [voted(i, True, i % 5 != 0) for i in range(200)])
    task, store = opened(folder)
    first = review_set(store, task, 40, None, None)
    ids = [j.sample.id for j in first.samples]
    assert (len(set(ids)), sum(j.verdict.label is False for j in first.samples)) == (40, 8)
    assert ids != sorted(ids, key=int)  # the order of the source would tell
    assert [j.sample.id for j in review_set(store, task, None, None, None).samples] == ids
    assert [j.sample.id for j in review_set(store, task, 40, 0, None).samples] == ids
    assert [j.sample.id for j in review_set(store, task, 40, 1, None).samples] != ids
    store.close()


def test_more_than_there_are_is_all_there_are(run_folder):
    task, store = opened(run_folder)
    assert len(review_set(store, task, None, None, None).samples) == 6
    store.close()


def test_named_samples_come_in_the_order_of_the_file(run_folder, tmp_path):
    (tmp_path / "hard.jsonl").write_text('{"id": 4, "prompt": "x"}\n{"id": "1"}\n{"id": "4"}\n')
    (tmp_path / "hard.json").write_text('[{"id": "4"}, {"id": "1"}]')
    assert ids_named(str(tmp_path / "hard.jsonl")) == ids_named(str(tmp_path / "hard.json")) == ids_named(" 4, 1") == ["4", "1"]
    task, store = opened(run_folder)
    assert [j.sample.id for j in review_set(store, task, None, None, "4,1").samples] == ["4", "1"]
    with pytest.raises(DataError, match=r"no sample '9' \(1 of 2 named\)"):
        review_set(store, task, None, None, "1,9")
    with pytest.raises(ConfigError, match="one or the other"):
        review_set(store, task, 3, None, "1")
    (tmp_path / "no.jsonl").write_text('{"prompt": "x"}\n')
    with pytest.raises(DataError, match="row 1 has no `id`"):
        ids_named(str(tmp_path / "no.jsonl"))
    store.close()
