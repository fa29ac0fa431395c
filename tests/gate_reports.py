"""Reports of a gate as tests need them: one of every kind of finding, and names as hostile as they come."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import strategies as st

from guardeval.gates.findings import Finding, GateReport, Kind, Status

HOSTILE = (
    "::error title=x::pwned",
    "##[add-mask]secret",
    "a|b\n| c | d |",
    "<img src=x onerror=alert(1)><script>alert(1)</script>",
    "[click](http://evil.example/x) ![i](http://evil.example/i.png) http://evil.example www.evil.example",
    "@octocat/team me@evil.example #1 GH-1 octo/repo#2",
    "`code` **bold** _it_ ~~no~~ </code></details> $x^2$ &lt; &#64;octocat",
    "\x1b[31m\x00\x07\u202e\u2028]]>",
    "100%,50%: done\r\n::set-env name=A::b",
)


def passed(task: str = "wildguard", **more: object) -> Finding:
    known = {
        "kind": Kind.REGRESSION, "status": Status.PASSED, "task": task, "metric": "f1", "accounting": "strict",
        "message": "F1 stays at 0.800, no worse; finds losses from 0.020", "baseline": 0.8, "current": 0.8, "difference": 0.0,
        "interval": (-0.01, 0.01), "p": 0.5, "adjusted": 1.0, "limit": 0.0, "detectable": 0.02, "n": 1725,
    }  # fmt: skip
    return Finding(**{**known, **more})


def failed(task: str = "toxicchat", **more: object) -> Finding:
    known = {
        "status": Status.FAILED, "message": "F1 falls from 0.800 to 0.700 (-0.100), significantly worse", "current": 0.7,
        "difference": -0.1, "interval": (-0.13, -0.07), "p": 0.00001, "adjusted": 0.00012,
    }  # fmt: skip
    return passed(task, **{**known, **more})


def skipped(task: str = "wildguard", part: str = "policy:self_harm") -> Finding:
    message = "not tested: 3 known positives; 10 are wanted (min_positives)"
    return Finding(Kind.REGRESSION, Status.SKIPPED, task, "f1", message, part, "strict", baseline=math.nan, limit=0.0, n=9)


def floor(task: str = "wildguard") -> Finding:
    return Finding(
        Kind.FLOOR, Status.PASSED, task, "parse_rate", "0.990, not below 0.950", current=0.99, baseline=1.0, limit=0.95, n=1725
    )


def ceiling(task: str = "wildguard") -> Finding:
    return Finding(
        Kind.CEILING,
        Status.FAILED,
        task,
        "latency_p95",
        "1.500 s, above 1.200 s",
        current=1.5,
        baseline=1.0,
        limit=1.2,
        unit="s",
    )


def budget() -> Finding:
    told = {"kind": Kind.BUDGET, "metric": "macro_f1", "limit": 0.02, "message": "macro F1 falls from 0.800 to 0.700 (-0.100)"}
    return failed("out of family", **told)


def report(*findings: Finding, **more: object) -> GateReport:
    known = {
        "baseline": "guardeval-baseline.json", "runs": ("runs/one",), "model": "embedded/char", "baseline_model": "embedded/word",
        "alpha": 0.05, "seconds": 1.5, "notes": ("contaminated: toxicchat",), "about": {"guardeval": "0.1.0"},
    }  # fmt: skip
    return GateReport(findings, **{**known, **more})


def one_of_each() -> GateReport:
    return report(passed(), floor(), skipped(), failed(), ceiling(), budget())


def hostile() -> GateReport:
    """Every text of it comes from somebody who means ill."""
    findings = [
        replace(make(name), message=name, part=name, metric=name, accounting=name)
        for name in HOSTILE
        for make in (passed, failed, floor)
    ]
    names = {"baseline": HOSTILE[0], "model": HOSTILE[3], "baseline_model": HOSTILE[5], "about": {HOSTILE[6]: HOSTILE[7]}}
    return report(*findings, notes=HOSTILE, runs=HOSTILE, **names)


names = st.text(min_size=1, max_size=30) | st.sampled_from(HOSTILE)
numbers = st.none() | st.floats(allow_infinity=False) | st.just(math.nan)
findings = st.builds(
    Finding,
    *(st.sampled_from(Kind), st.sampled_from(Status), names, names, names),
    part=st.just("") | names,
    accounting=st.just("") | names,
    **dict.fromkeys(("baseline", "current", "difference", "p", "adjusted", "limit", "detectable"), numbers),
    interval=st.none() | st.tuples(st.floats(), st.floats()),
    n=st.none() | st.integers(0, 10**9),
    unit=st.sampled_from(("", "s", "USD")),
)
reports = st.builds(
    GateReport,
    st.lists(findings, max_size=5).map(tuple),
    names,
    st.lists(names, max_size=3).map(tuple),
    names,
    names,
    st.floats(0.001, 0.5),
    seconds=st.floats(0, 1e6),
    notes=st.lists(names, max_size=3).map(tuple),
    about=st.dictionaries(names, st.none() | names | st.floats() | st.lists(st.integers(), max_size=2), max_size=3),
)
