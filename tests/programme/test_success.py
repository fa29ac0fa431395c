"""Tier 3's coherent explanations: met and not met only where the whole interval is on that side."""

from __future__ import annotations

import math

import pytest

from guardeval.programme.findings import Findings
from guardeval.programme.model_sets import load_model_set
from guardeval.programme.reviewed import Reviewed
from guardeval.programme.success import success_table
from guardeval.stats import rate


def coherent(*found: Findings) -> tuple[str, str]:
    rows = success_table(found, load_model_set("ollama")).rows
    return next(row[2:] for row in rows if "explanations coherent" in row[1])


def reviewed(yes: int, n: int) -> Findings:
    e = rate(yes, n)
    said = Reviewed("wildguard", 100, 100, e.value, e.low, e.high, n)
    found = Findings(41, "why", 5, reviewed=[said])
    kept = Findings.from_dict(found.as_dict())  # as the ledger keeps it
    assert math.isnan(e.value) or kept.reviewed == [said]
    return kept


@pytest.mark.parametrize(
    ("yes", "said"), [(100, "met"), (95, "met"), (85, "not decided"), (60, "not met")]
)  # Wilson for 85 of 100: [76.7, 90.7]
def test_the_interval_decides(yes, said):
    measured, verdict = coherent(reviewed(yes, 100))
    assert verdict.startswith(said)
    assert measured.startswith(f"{yes:.1f} % [") and "n=100" in measured


def test_what_is_missing_is_said():
    assert coherent()[1] == "missing: run experiment 41 into this folder"
    assert coherent(Findings(41, "why", 5))[1] == "missing: people judge them with `guardeval review`"
    assert coherent(reviewed(0, 0))[1] == "missing: nobody has said of an explanation whether it is coherent"


def test_a_folder_of_before_reviews_is_read():
    old = Findings(41, "why", 5).as_dict()
    del old["reviewed"]
    assert Findings.from_dict(old).reviewed == []
