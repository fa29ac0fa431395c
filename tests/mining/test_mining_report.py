"""F1 on the hard fifth against the rest: a planted difference is found, and the member scored has no say in what is hard."""

from __future__ import annotations

import numpy as np
import pytest

import guardeval
from guardeval.errors import ConfigError
from guardeval.mining_report import hard_against_rest, hard_table
from guardeval.testing.columns import judgements_of


def three(n: int = 500):
    """On the first fifth the others differ widely and ``c`` is right half the time; on the rest it is always right."""
    gold = np.arange(n) % 2
    hard = np.arange(n) < n // 5
    a, b = np.where(hard, 0.9, 0.8), np.where(hard, 0.1, 0.8)
    said = np.where(hard & (np.arange(n) % 4 < 2), 1 - gold, gold)
    members = {"a": (a, np.ones(n)), "b": (b, (b >= 0.5)), "c": (np.where(said, 0.7, 0.3), said)}
    return {name: judgements_of(gold, label, score=score) for name, (score, label) in members.items()}


def test_a_planted_difference_is_found():
    rows = {(r.member, r.part): r for r in hard_against_rest(three())}
    hard, rest, gap = (rows["c", part] for part in ("hard", "rest", "hard - rest"))
    assert (hard.n, hard.positives, hard.split, rest.n, rest.split) == (100, 50, 100, 400, 0)
    assert (hard.f1, rest.f1, gap.f1) == pytest.approx((0.5, 1.0, -0.5))
    assert hard.low < 0.5 < hard.high
    assert rest.low < rest.high == 1.0
    assert gap.low < -0.5 < gap.high < 0


def test_the_member_scored_has_no_say():
    runs = three()
    before = [r for r in hard_against_rest(runs) if r.member == "c"]
    flipped = judgements_of(runs["c"].gold, runs["c"].label, score=1 - runs["c"].score)
    assert [r for r in hard_against_rest({**runs, "c": flipped}) if r.member == "c"] == before


def test_two_members_are_too_few():
    runs = three()
    with pytest.raises(ConfigError, match="three or more"):
        hard_against_rest({k: runs[k] for k in "ab"})


RECORDED = {
    "AegisSafetyTest": ("aegis", "aegis/aegis_safety_test_guardreasoner.json.gz", 359),
    "XSTestReponseHarmful": ("xstest_response", "xstest/xstest_response_harmful_guardreasoner.json.gz", 446),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_guards_do_worse_on_what_the_others_disagree_about(shared_data, tmp_path, name):
    task, rows, n = RECORDED[name]
    runs = {}
    for size in ("1B", "3B", "8B"):
        recording = shared_data / "generations" / "run1" / size / name / "generated_predictions.jsonl.gz"
        runs[size] = guardeval.run(
            task=task, data=str(shared_data / rows), solver="guardreasoner", model=f"replay/{recording}",
            output_path=str(tmp_path), no_cache=True, scorer="classification",
        ).tasks[task].judged  # fmt: skip
    found = hard_against_rest(runs)
    parts = {(r.member, r.part): r for r in found}
    for size in runs:
        hard, rest, gap = (parts[size, part] for part in ("hard", "rest", "hard - rest"))
        assert hard.n == -(-(hard.n + rest.n) // 5)
        assert hard.n + rest.n <= n
        assert hard.low <= hard.f1 <= hard.high < 1
        assert gap.f1 == pytest.approx(hard.f1 - rest.f1)
        assert gap.f1 < 0
    assert len(hard_table(name, found).rows) == 9
