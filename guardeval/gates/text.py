"""A gate's report as lines for a terminal, a log or a pytest failure."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from guardeval.gates.findings import Finding, GateReport, Status
from guardeval.gates.table import findings_table
from guardeval.gates.verdict import ordered, skipped_for, verdict
from guardeval.report.terminal import Page

__all__ = ["failure_text", "inert", "render"]

_BOLD, _DIM, _RED, _GREEN = "1", "2", "31;1", "32;1"


def render(report: GateReport, plain: bool = False) -> str:
    """The table of all checks, what failed first; why each failed or was skipped; notes; the verdict as the last line.

    ``plain``: for a file, not for this terminal, whose width and colours are used otherwise.
    """
    page = Page() if plain else Page.of(sys.stdout)
    findings = ordered(report.findings)
    lines = page.paragraph(_title(report), _BOLD)
    if findings:
        lines += page.table(findings_table(findings))
    lines += [line for text in _reasons(findings) for line in page.paragraph(text, indent="  ")]
    lines += page.notices(report.notes)
    lines += page.paragraph(verdict(report), _RED if report.failed else _GREEN if report.findings else _BOLD)
    return "\n".join(map(inert, lines)) + "\n"


def failure_text(report: GateReport) -> str:
    """The same for a failure only: the verdict, the failed checks and why they failed, notes."""
    page, failed = Page(), ordered(report.failed)
    lines = [*page.paragraph(verdict(report)), "", *page.paragraph(_title(report))]
    lines += page.table(findings_table(failed))
    lines += [line for text in _reasons(failed) for line in page.paragraph(text, indent="  ")]
    return "\n".join(map(inert, [*lines, *page.notices(report.notes)]))


def _title(report: GateReport) -> str:
    models = report.model if report.model == report.baseline_model else f"{report.model} against {report.baseline_model}"
    return f"{models}, baseline {report.baseline}, family-wise α {report.alpha:g}"


def _reasons(findings: list[Finding]) -> Iterator[str]:
    for f in findings:
        if f.status is Status.FAILED:
            yield f"failed: {f.name}: {f.message}"
    for reason, names in skipped_for(findings).items():
        yield f"skipped: {', '.join(names)}: {reason}"


def inert(line: str) -> str:
    """A line that no CI runner takes for a command: GitHub's reads ``::error::`` at a line's beginning and ``##[…]`` anywhere,
    and names of tasks and policies come from third parties."""
    start = len(line) - len(line.lstrip())
    if line.startswith("::", start):
        line = f"{line[:start]}: :{line[start + 2 :]}"
    return line.replace("##[", "## [")
