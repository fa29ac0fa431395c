"""What all findings of a check say together: their order, the one sentence, and what a pass leaves open."""

from __future__ import annotations

import math
from collections.abc import Sequence

from guardeval.gates.findings import Finding, GateReport, Kind, Status

__all__ = ["headline", "named", "ordered", "sight", "skipped_for", "verdict"]

_NAMED = 3  # checks that a sentence names; the others are counted
_STATUS = (Status.FAILED, Status.PASSED, Status.SKIPPED)
_KIND = (Kind.BUDGET, Kind.REGRESSION, Kind.FLOOR, Kind.CEILING)


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """What failed first, what was skipped last; budgets before single tasks, tasks before parts, least likely chance first."""
    return sorted(
        findings,
        key=lambda f: (
            _STATUS.index(f.status),
            _KIND.index(f.kind),
            bool(f.part),
            _or(f.adjusted, 1.0) if f.status is Status.FAILED else 0.0,
        ),
    )


def headline(report: GateReport) -> str:
    """``passed``, ``failed``, or ``undecided`` where no check could be decided."""
    if report.failed:
        return "failed"
    return "passed" if _with(report, Status.PASSED) else "undecided"


def verdict(report: GateReport) -> str:
    """One sentence: how many of how many failed and which, or what a pass rests on."""
    total, skipped = len(report.findings), len(_with(report, Status.SKIPPED))
    left = f"; {skipped} skipped" if skipped else ""
    if report.failed:
        which = named([f.name for f in ordered(report.failed)])
        return f"failed: {len(report.failed)} of {checks(total)}: {which}{left}"
    if headline(report) == "undecided":
        return f"undecided: {checks(total)}, all skipped" if total else "undecided: there was nothing to check"
    return f"passed: {checks(total - skipped)}, none lost more than allowed{left}; {sight(report)}"


def sight(report: GateReport) -> str:
    """The losses that the passed checks could not see: a pass means no more than this."""
    tested = [f for f in ordered(_with(report, Status.PASSED)) if f.kind in (Kind.REGRESSION, Kind.BUDGET)]
    seeing = [(f, f.detectable) for f in tested if f.detectable is not None and not math.isnan(f.detectable)]
    blind = [f.name for f in tested if f.detectable is None or math.isnan(f.detectable)]
    told = []
    if seeing:
        (best, least), (worst, most) = (pick(seeing, key=lambda s: s[1]) for pick in (min, max))
        if worst is best:
            told.append(f"a loss below {least:.3f} may have gone unseen ({best.name})")
        else:
            told.append(
                f"the smallest losses these could see are {least:.3f} ({best.name}) to {most:.3f} ({worst.name}), "
                "each 4 times in 5; smaller ones may have gone unseen"
            )
    if blind:
        told.append(f"no loss is sure to be seen in {named(blind)}")
    return "; ".join(told) or "floors and ceilings only, no comparison with the baseline's verdicts"


def skipped_for(findings: Sequence[Finding]) -> dict[str, list[str]]:
    """Reason → names of the checks that were skipped for it: small policies of many tasks share a few reasons."""
    reasons: dict[str, list[str]] = {}
    for f in findings:
        if f.status is Status.SKIPPED:
            reasons.setdefault(f.message, []).append(f.name)
    return reasons


def named(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def checks(n: int) -> str:
    return "1 check" if n == 1 else f"{n} checks"


def _with(report: GateReport, status: Status) -> list[Finding]:
    return [f for f in report.findings if f.status is status]


def _or(value: float | None, default: float) -> float:
    return default if value is None or math.isnan(value) else value
