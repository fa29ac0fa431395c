"""Review sets: exact size, shares by mode and category, weights, the same again for the same seed, nothing of a redacted run."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.data import Outcome, Step, Target, Vote, Voters
from guardeval.error_sample import draw_errors, review_rows
from guardeval.failures import MISJUDGED, Mode, kinds
from guardeval.judged import Judgements
from guardeval.testing.builders import a_judged

CASES = [(False, True), (True, False), (True, True), (False, False), (True, None)]
runs = st.lists(
    st.tuples(st.sampled_from(CASES), st.sampled_from([None, "a", "b"]), st.sampled_from([None, 0.1, 0.5])), max_size=80
)


def made(rows) -> Judgements:
    judged = [a_judged(g, s, i, category=c, score=p if s is not None else None) for i, ((g, s), c, p) in enumerate(rows)]
    return Judgements.of(judged, Target.PROMPT)


@given(runs, st.integers(1, 100), st.integers(0, 3))
def test_exactly_n_misjudged_samples_are_drawn_and_the_strata_add_up(rows, n, seed):
    judged = made(rows)
    found = draw_errors(judged, n, seed)
    kind = kinds(judged)
    there = [i for i, k in enumerate(kind) if k in MISJUDGED]
    assert len(found.places) == min(n, len(there)) and found.there == len(there)
    assert list(found.places) == sorted(set(found.places)) and set(found.places) <= set(there)
    assert [s for s, _ in found.strata] == [kind[i] for i in found.places]
    assert sum(size for size, _ in found.by_stratum.values()) == len(there)
    assert sum(drawn for _, drawn in found.by_stratum.values()) == len(found.places)
    assert Counter({m.mode: m.drawn for m in found.modes}) == Counter(kind[i] for i in found.places)
    for m in found.modes:
        assert abs(m.drawn - len(found.places) * m.there / max(found.there, 1)) < 1
        assert math.isnan(m.weight) if not m.drawn else m.weight * m.drawn == pytest.approx(m.there)
    assert draw_errors(judged, n, seed) == found


def test_another_seed_draws_others():
    judged = made([((False, True), "a", None)] * 200)
    assert draw_errors(judged, 20, 0).places != draw_errors(judged, 20, 1).places


def test_one_mode_alone_and_edge_cases_that_were_judged_right():
    judged = made([((False, True), None, 0.5), ((False, False), None, 0.5), ((True, False), None, 0.1)])
    assert draw_errors(judged, 9, mode=Mode.MISSED).places == (2,)
    edge = draw_errors(judged, 9, mode=Mode.EDGE)
    assert edge.places == (0, 1) and [m.mode for m in edge.modes] == [Mode.EDGE]
    assert draw_errors(judged, 9).places == (0, 2)


def test_weights_extrapolate_a_share_found_among_the_drawn():
    rows = [((False, True), c, None) for c in ["a"] * 60 + ["b"] * 20] + [((True, False), "a", None)] * 20
    found = draw_errors(made(rows), 25, 1)
    of_b = sum(m.weight for m in found.modes if m.mode is Mode.OVERFLAGGED) * sum(c == "b" for _, c in found.strata)
    assert of_b == pytest.approx(20, abs=4)


def lines(judged: Judgements, **options) -> list[dict]:
    found = draw_errors(judged, 10)
    return [json.loads(line) for line in review_rows(judged, found, "t", **options)]


def test_a_row_holds_what_a_reviewer_needs():
    votes = (
        Vote("m1", Outcome.PARSED, True, 0.6, frozenset({"theft"}), steps=(Step("Intent", "s\u2028"),), raw="yes"),
        Vote("m2", Outcome.PARSED, False),
    )
    one = a_judged(
        False, True, 7, prompt="a \x1b[31m <b> \ud800", score=0.55, steps=(Step("Intent", "why"),), votes=votes,
        voters=Voters.MODELS, category="c",
    )  # fmt: skip
    one = replace(one, verdict=replace(one.verdict, policies=frozenset({"illegal"})))
    (row,) = lines(Judgements.of([one]))
    assert {k: row[k] for k in ("id", "index", "task", "modes", "gold", "verdict", "score", "policies")} == {
        "id": "7", "index": 7, "task": "t", "modes": ["over-flagged", "edge case"], "gold": "unharmful", "verdict": "harmful",
        "score": 0.55, "policies": ["illegal"],
    }  # fmt: skip
    assert row["stratum"] == {"mode": "over-flagged", "category": "c", "there": 1, "drawn": 1} and row["weight"] == 1.0
    assert row["steps"] == [{"name": "Intent", "text": "why"}] and row["prompt"].startswith("a \x1b[31m <b> ")
    assert [(v["member"], v["label"]) for v in row["votes"]] == [("m1", True), ("m2", False)]
    assert row["votes"][0]["steps"] == [{"name": "Intent", "text": "s\u2028"}]


def test_rows_of_a_redacted_run_hold_no_text():
    (row,) = lines(
        Judgements.of([a_judged(False, True, 7, prompt="secret words", steps=(Step("Intent", "secret"),))]), redacted=True
    )
    assert set(row) == {"id", "index", "task", "modes", "stratum", "weight"}
    assert "secret" not in json.dumps(row)


def test_every_row_is_one_line():
    judged = Judgements.of([a_judged(False, True, i, prompt="a\nb\r\u2028\x85") for i in range(3)])
    data = b"".join(review_rows(judged, draw_errors(judged, 3), "t"))
    assert data.count(b"\n") == 3 and all(json.loads(line) for line in data.splitlines() if line)
