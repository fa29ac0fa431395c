"""What CI servers are given: valid against the schema whatever the names are, one case a finding, all numbers in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from gate_reports import HOSTILE, failed, hostile, one_of_each, passed, report, reports, skipped
from hypothesis import given, settings

from guardeval.gates.findings import Status
from guardeval.gates.junit import to_junit

etree = pytest.importorskip("lxml.etree")
SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).with_name("junit.xsd"))))


def read(written: bytes):
    root = etree.fromstring(written)
    SCHEMA.assertValid(root)
    return root


@settings(max_examples=40)
@given(reports)
def test_any_report_is_valid_and_holds_every_finding_once(any_report):
    root = read(to_junit(any_report))
    cases = root.findall(".//testcase")
    assert len(cases) == len(any_report.findings)
    assert len(root.findall(".//failure")) == len(any_report.failed)
    assert len(root.findall(".//skipped")) == sum(f.status is Status.SKIPPED for f in any_report.findings)
    for suite in root:
        for count, path in (("tests", "testcase"), ("failures", "testcase/failure"), ("skipped", "testcase/skipped")):
            assert int(suite.get(count)) == len(suite.findall(path))


@pytest.mark.parametrize(
    "broken",
    [
        lambda text: text.replace("<testsuites>", '<testsuites tests="6">'),  # Ant
        lambda text: text.replace("</testcase>", "<failure/></testcase>"),
        lambda text: text.replace('errors="0"', 'errors="none"'),
        lambda text: text.replace("<testsuite ", "<suite ").replace("</testsuite>", "</suite>"),
    ],
)
def test_the_schema_refuses_what_the_servers_refuse(broken):
    text = to_junit(one_of_each()).decode()
    assert broken(text) != text
    assert not SCHEMA.validate(etree.fromstring(broken(text).encode()))


def test_a_suite_a_task_and_one_for_budgets():
    root = read(to_junit(one_of_each()))
    by_suite = {suite.get("name"): [case.get("name") for case in suite.findall("testcase")] for suite in root}
    assert by_suite == {
        "budget": ["budget · out of family · macro_f1,strict"],
        "toxicchat": ["toxicchat · f1,strict"],
        "wildguard": [
            "ceiling · wildguard · latency_p95",
            "wildguard · f1,strict",
            "floor · wildguard · parse_rate",
            "wildguard · policy:self_harm · f1,strict",
        ],
    }
    assert {case.get("classname") for case in root.findall(".//testcase")} == {
        "guardeval.budget", "guardeval.toxicchat", "guardeval.wildguard",
    }  # fmt: skip


def test_a_failure_says_why_and_holds_the_numbers():
    root = read(to_junit(report(failed(), skipped())))
    (failure,), (left,) = root.findall(".//failure"), root.findall(".//skipped")
    assert failure.get("message") == failed().message
    assert failure.get("type") == "regression"
    lines = failure.text.split("\n")
    assert {"baseline: 0.800", "current: 0.700", "difference: -0.100", "95 % interval: [-0.130, -0.070]", "n: 1725"} <= set(
        lines
    )
    assert {"p: 1e-05", "adjusted p: 0.00012", "allowed: 0.000 worse", "finds losses from: 0.020"} <= set(lines)
    assert "3 known positives" in left.get("message")
    assert "baseline: n/a" in left.text.split("\n")


def test_properties_tell_what_was_compared_and_when():
    when = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    root = read(to_junit(report(passed(), passed("xstest"), seconds=3.0), when))
    properties = {p.get("name"): p.get("value") for p in root[0].find("properties")}
    assert properties == {
        "baseline": "guardeval-baseline.json", "model": "embedded/char", "baseline_model": "embedded/word", "alpha": "0.05",
        "run 1": "runs/one", "about guardeval": "0.1.0",
    }  # fmt: skip
    assert root[0].get("timestamp") == "2026-02-28T23:30:00"
    assert sum(float(suite.get("time")) for suite in root) == 3.0
    read(to_junit(report(passed())))  # without a time: now
    assert abs(datetime.fromisoformat(read(to_junit(report(passed())))[0].get("timestamp") + "+00:00") - datetime.now(UTC)) < (
        timedelta(minutes=5)
    )


def test_hostile_names_stay_text():
    root = read(to_junit(hostile()))
    assert {e.tag for e in root.iter()} <= {
        "testsuites", "testsuite", "properties", "property", "testcase", "failure", "system-out", "system-err",
    }  # fmt: skip
    assert any(HOSTILE[3] in case.get("name") for case in root.findall(".//testcase"))
    assert "\x1b" not in to_junit(hostile()).decode()


def test_a_report_without_findings_is_valid_too():
    assert len(read(to_junit(report()))) == 0


def test_a_lone_surrogate_is_written_as_a_replacement():
    case = read(to_junit(report(passed(part="\ud800x")))).find(".//testcase")
    assert "\ufffdx" in case.get("name")
