"""Reports as JSON: nothing is lost on the way and back, what is undefined is null, other files are refused by name."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from gate_reports import one_of_each, passed, report, reports, skipped
from hypothesis import given, settings

from guardeval.errors import DataError
from guardeval.gates.json_report import from_json, to_json
from guardeval.gates.verdict import ordered


@settings(max_examples=40)
@given(reports)
def test_any_report_survives_the_way_to_json_and_back(any_report):
    written = json.dumps(to_json(any_report), allow_nan=False)
    assert to_json(from_json(json.loads(written))) == json.loads(written)


def test_the_verdict_names_checks_in_the_order_in_which_they_are_listed():
    """Whole tasks before their parts, whatever was checked first."""
    findings = [
        passed(task, part=part, detectable=None) for part in ("policy:violence", "") for task in ("toxicchat", "wildguard")
    ]
    first, second = (f.name for f in findings[2:])
    assert f"no loss is sure to be seen in {first}, {second}, " in to_json(report(*findings))["verdict"]


def test_values_come_back_as_they_were():
    back = from_json(json.loads(json.dumps(to_json(one_of_each()))))
    want = [
        replace(f, baseline=None) if f.baseline is not None and math.isnan(f.baseline) else f for f in one_of_each().findings
    ]
    assert list(back.findings) == ordered(want)
    assert replace(back, findings=()) == replace(one_of_each(), findings=())


def test_what_scripts_read():
    data = to_json(one_of_each())
    assert (data["format"], data["version"], data["status"], data["ok"]) == ("guardeval-gate", 1, "failed", False)
    assert data["counts"] == {"passed": 2, "failed": 3, "skipped": 1}
    first = data["findings"][0]
    assert first["name"] == "budget · out of family · macro_f1,strict"
    assert set(first) == {
        "name", "kind", "status", "task", "part", "metric", "accounting", "message", "baseline", "current", "difference",
        "interval", "p", "adjusted", "limit", "detectable", "n", "unit",
    }  # fmt: skip


def test_undefined_numbers_are_null():
    (found,) = to_json(report(skipped(), about={"x": math.nan}))["findings"]
    assert found["baseline"] is None


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda d: [], "no report of guardeval check"),
        (lambda d: {**d, "format": "other"}, "no report of guardeval check"),
        (lambda d: {**d, "version": 2}, "version 2; this guardeval reads version 1"),
        (lambda d: {k: v for k, v in d.items() if k not in ("alpha", "runs")}, "runs, alpha missing"),
        (lambda d: {**d, "findings": [{**d["findings"][0], "kind": "guess"}]}, "finding 1: 'guess'"),
        (lambda d: {**d, "findings": [{k: v for k, v in d["findings"][0].items() if k != "n"}]}, "finding 1: n missing"),
        (lambda d: {**d, "findings": [*d["findings"], 3]}, "finding 7: a mapping"),
        (lambda d: {**d, "alpha": "much"}, "could not convert"),
        (lambda d: {**d, "findings": 3}, "gate.json: 'int'"),
    ],
)
def test_another_file_is_refused_with_the_place(change, match):
    with pytest.raises(DataError, match=match):
        from_json(change(to_json(one_of_each())), "gate.json")
