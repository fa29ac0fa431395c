"""What comes of reviews: shares, ties, kappas, undefined where nobody said anything."""

from __future__ import annotations

import math

import pytest
from review_support import session_on, voted, write_run

from guardeval.agreement import cohen_kappa
from guardeval.report.review_tables import review_tables
from guardeval.review import review_summary
from guardeval.review.marks import Field

ALL = "0,1,2,3,4"


def test_a_summary_by_hand(reviewed):
    found = review_summary(reviewed)
    assert (found.n, dict(found.reviewers), found.sets) == (5, {"ann": 5, "bob": 5, "cid": 4}, ((found.sets[0][0], 5),))
    assert (found.coherent.value, found.coherent.n) == (2 / 3, 3)  # 0 and 1 coherent, 2 not
    assert found.coherent.low == pytest.approx(0.2077, abs=1e-4) and found.coherent.high == pytest.approx(0.9385, abs=1e-4)
    assert (found.coherent_ties, found.coherent_unsure) == (("3",), ("4",))
    assert found.wrong_labels == {"1": ("ann", "bob"), "3": ("bob",)}
    assert (found.label_error.value, found.label_error.n, found.label_ties) == (1 / 3, 3, ("3",))
    assert {c: e.value for c, e in found.categories.items()} == {"missed": 1.0}
    assert {m: (e.value, e.n) for m, e in found.coherent_by_member.items()} == {"two/middle": (0.0, 1)}
    assert not found.represents_run


def test_kappas_are_those_of_the_marks(reviewed):
    kappas = {(a.question, a.reviewers): a for a in review_summary(reviewed).agreements}
    marks = kappas["mark", ("ann", "bob")]
    assert marks.kappa.value == cohen_kappa("awaa", "awaw")
    assert (marks.kappa.n, marks.same.value) == (4, 0.75)
    assert kappas["coherent", ("ann", "bob", "cid")].kappa.n == 4
    assert math.isnan(kappas["category", ("bob", "cid")].kappa.value)  # one sample, one category
    assert not [k for k in kappas if k[0] == "label"]  # nobody gave one


def test_a_read_only_folder_is_summed_up_too(reviewed):
    reviewed.chmod(0o500)
    (reviewed / "reviews.sqlite").chmod(0o400)
    try:
        assert review_summary(reviewed).n == 5
    finally:
        reviewed.chmod(0o700)


def test_names_from_data_stay_cells_of_a_table(tmp_path):
    run = write_run(tmp_path, [voted(0, id="x" * 500)])
    with session_on(run, "a|b", "x" * 500) as session:
        session.mark(0, Field.MARK, "wrong_label")
    (table,) = review_tables(review_summary(run))
    assert "x" * 41 not in "".join(table.notes)


def test_own_labels_beside_gold_and_guard_by_hand(run_folder):
    """Gold + - + - + and none; the guard says + + + - + -."""
    harmful, unharmful = "harmful", "unharmful"
    with session_on(run_folder, "ann", "0,1,2,3,4,5", blind=True) as ann:
        for position, label in enumerate((harmful, unharmful, unharmful, unharmful, harmful, harmful)):
            ann.mark(position, Field.LABEL, label)
    with session_on(run_folder, "bob", "0,1,2,3,4,5") as bob:
        bob.mark(0, Field.LABEL, harmful)
    found = {(a.question, *a.reviewers): a for a in review_summary(run_folder).against}
    gold = found["own label, blind", "ann", "gold label"]  # sample 5 has none; sample 2 differs
    assert (gold.same.value, gold.same.n, gold.kappa.n) == (4 / 5, 5, 5)
    assert gold.kappa.value == pytest.approx((0.8 - 0.48) / (1 - 0.48))  # by chance 2/5 · 3/5 + 3/5 · 2/5
    guard = found["own label, blind", "ann", "guard's verdict"]  # the same on 0, 3 and 4
    assert (guard.same.value, guard.same.n) == (3 / 6, 6)
    assert guard.kappa.value == pytest.approx(cohen_kappa("+---++", "+++-+-"))
    assert guard.kappa.low <= guard.kappa.value <= guard.kappa.high
    bob = found["own label, answer seen", "bob", "gold label"]
    assert (bob.same.value, bob.same.n) == (1.0, 1) and math.isnan(bob.kappa.value)
    assert len(found) == 4
    table = review_tables(review_summary(run_folder))[-1]
    assert table.rows[0][:3] == ("ann", "gold label", "own label, blind") and table.rows[0][4].endswith("n=5")


def test_without_own_labels_nobody_is_set_beside_the_gold_label(reviewed):
    assert review_summary(reviewed).against == ()
