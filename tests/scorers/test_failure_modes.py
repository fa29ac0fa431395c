"""The scorer of failure modes: its keys, and categories whatever their names."""

from __future__ import annotations

import math

import pytest

from guardeval.data import Outcome, Target
from guardeval.judged import Judgements
from guardeval.metrics import METRICS
from guardeval.registry import Registry
from guardeval.report.tables import task_tables
from guardeval.scoring import score_task


def scored(judged):
    return score_task(Judgements.of(judged, Target.PROMPT), {"failure_modes": Registry().build("scorers", "failure_modes")})


def test_shares_stand_with_their_interval_and_n():
    from guardeval.testing.builders import a_judged

    judged = [a_judged(False, i == 0, i, category="a") for i in range(4)]
    judged += [a_judged(True, False, 4), a_judged(True, None, 5, outcome=Outcome.FAILED)]
    metrics, better = scored(judged)
    assert metrics["failure_overflagged,none"] == 0.25 and metrics["failure_overflagged_n,none"] == 4
    assert metrics["failure_missed,none"] == 1.0 and metrics["failure_missed_n,none"] == 1
    assert metrics["failure_unreadable,none"] == pytest.approx(1 / 6) and metrics["failure_unreadable_n,none"] == 6
    assert math.isnan(metrics["failure_policy_confusion,none"]) and math.isnan(metrics["failure_edge,none"])
    assert metrics["overflagging[a],parsed"] == 0.25 and metrics["overflagging[a]_n,parsed"] == 4
    assert better == {m: False for m in METRICS if m.startswith("failure_") and m != "failure_edge"}


@pytest.mark.parametrize("category", ["a,b", "a/b", "", "x" * 500, "\x1b[31m", "<img src=x>", "a_n", "b_ci", None])
def test_a_category_of_any_name_makes_keys_that_parse_back(category):
    from guardeval.testing.builders import a_judged

    metrics, _ = scored([a_judged(False, True, 0, category=category), a_judged(False, False, 1, category=category)])
    keys = [k for k in metrics if k.startswith("overflagging[")]
    assert len(keys) == 3
    for key in keys:
        metric, _, accounting = key.partition(",")
        assert accounting == "parsed" and "/" not in metric and key.isprintable() and len(key) < 120


def test_categories_that_a_key_cannot_tell_apart_stay_two():
    from guardeval.testing.builders import a_judged

    metrics, _ = scored([a_judged(False, True, 0, category="a,b"), a_judged(False, False, 1, category="a/b")])
    assert sorted(v for k, v in metrics.items() if k.startswith("overflagging[") and "_ci" not in k and "_n," not in k) == [
        0,
        1,
    ]


def test_tables_show_modes_and_categories_in_their_own_place():
    from guardeval.testing.builders import a_judged

    metrics, _ = scored([a_judged(False, True, 0, category="a|b\x1b[31m"), a_judged(False, False, 1, category=None)])
    results = {"results": {"t": metrics}, "config": {}}
    tables = {t.title: t for t in task_tables(results, "t")}
    assert [row[0] for row in tables["modes of failure"].rows] == [m for m in METRICS if m.startswith("failure_")]
    assert [row[0] for row in tables["over-flagging by category (parsed only)"].rows] == ["a_b__31m", "none"]
    assert "further metrics" not in tables
