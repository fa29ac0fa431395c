"""A gate's report as JUnit XML, which CI servers show as tests: a suite a task, a case a finding.

There is no one schema of the format. What is written here is valid against both that are in use: Ant's and that of Jenkins'
xUnit plugin. So the root has no attributes (Ant), every suite states a time without a zone, and cases have a class name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET  # written only, never read

from guardeval.gates.findings import Finding, GateReport, Kind, Status
from guardeval.gates.table import amount, limit_text
from guardeval.gates.verdict import ordered, verdict

__all__ = ["to_junit"]

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\u007e\u0085\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0; C1 as well


def to_junit(report: GateReport, when: datetime | None = None) -> bytes:
    """The file. ``when``: of the check, now if not told; times are UTC. Budgets stand in a suite of their own."""
    moment = (when or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    each = report.seconds / max(1, len(report.findings))
    root = ET.Element("testsuites")
    for i, (name, findings) in enumerate(_suites(report.findings).items()):
        suite = ET.SubElement(root, "testsuite", _counts(findings))
        suite.attrib.update(
            {
                "name": _text(name) or "unnamed",
                "package": "guardeval",
                "id": str(i),
                "timestamp": moment,
                "hostname": "localhost",  # the place of Ant's; no machine is named in a file that may be published
                "time": _seconds(each * len(findings)),
            }
        )
        _properties(suite, report)
        for finding in findings:
            suite.append(_case(finding, name, each))
        ET.SubElement(suite, "system-out").text = _text("\n".join(_said(report)))
        ET.SubElement(suite, "system-err")
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'.encode()


def _suites(findings: Sequence[Finding]) -> Mapping[str, list[Finding]]:
    suites: dict[str, list[Finding]] = {}
    for f in ordered(findings):
        suites.setdefault("budget" if f.kind is Kind.BUDGET else f.task, []).append(f)
    return suites


def _counts(findings: Sequence[Finding]) -> dict[str, str]:
    failed, skipped = (sum(f.status is s for f in findings) for s in (Status.FAILED, Status.SKIPPED))
    return {"tests": str(len(findings)), "failures": str(failed), "errors": "0", "skipped": str(skipped)}


def _properties(suite: ET.Element, report: GateReport) -> None:
    known = {
        "baseline": report.baseline,
        "model": report.model,
        "baseline_model": report.baseline_model,
        "alpha": f"{report.alpha:g}",
        **{f"run {i}": run for i, run in enumerate(report.runs, 1)},
        **{f"about {k}": v for k, v in report.about.items() if isinstance(v, (str, int, float))},
    }
    properties = ET.SubElement(suite, "properties")
    for name, value in known.items():
        ET.SubElement(properties, "property", {"name": _text(name), "value": _text(str(value))})


def _case(f: Finding, suite: str, seconds: float) -> ET.Element:
    case = ET.Element("testcase", {"name": _text(f.name), "classname": _text(f"guardeval.{suite}"), "time": _seconds(seconds)})
    if f.status is not Status.PASSED:
        told = ET.SubElement(case, "failure" if f.status is Status.FAILED else "skipped")
        told.attrib.update({"message": _text(f.message), "type": str(f.kind)})
        told.text = _text("\n".join(_facts(f)))
    return case


def _facts(f: Finding) -> Iterable[str]:
    """The numbers of a finding, a line each."""
    low, high = (amount(v, sign="+") for v in f.interval or (None, None))
    known = {
        "baseline": amount(f.baseline, f.unit),
        "current": amount(f.current, f.unit),
        "difference": amount(f.difference, f.unit, "+"),
        "95 % interval": f"[{low}, {high}]" if low and high else "",
        "p": "" if f.p is None else f"{f.p:.6g}",
        "adjusted p": "" if f.adjusted is None else f"{f.adjusted:.6g}",
        "allowed": limit_text(f),
        "finds losses from": amount(f.detectable, f.unit),
        "n": "" if f.n is None else str(f.n),
    }
    return [f.message, *(f"{name}: {value}" for name, value in known.items() if value)]


def _said(report: GateReport) -> Iterable[str]:
    yield verdict(report)
    yield from (f"note: {note}" for note in report.notes)


def _seconds(value: float) -> str:
    return f"{max(value, 0.0):.3f}"


def _text(text: str) -> str:
    """Without what XML 1.0 has no place for, not even escaped: most control characters, lone surrogates."""
    return _FORBIDDEN.sub("\ufffd", text)
