"""A gate's report for GitHub Actions: annotations, which its runner reads from the log, and a step summary in Markdown."""

# no `from __future__ import annotations`: the function of that name would take its place
import re
from collections.abc import Iterable, Iterator, Sequence

from guardeval.gates.findings import Finding, GateReport, Status
from guardeval.gates.table import findings_table
from guardeval.gates.verdict import headline, named, ordered, skipped_for, verdict
from guardeval.report.plain import clipped, printable
from guardeval.report.tables import Table

__all__ = ["SUMMARY_LIMIT", "annotations", "step_summary"]

_MOST = 10  # annotations of one level that GitHub shows a step; the rest is dropped without a word
_LONGEST = 2000  # characters of a message: GitHub cuts at 4 KB
_NOTES = 20  # of a summary; the others are counted
SUMMARY_LIMIT = 1_000_000  # bytes; GitHub refuses a summary beyond 1 MiB, and other tools may write to the same step


# ---- annotations ----


def annotations(report: GateReport) -> list[str]:
    """Workflow commands, at most ten, the verdict first, then what failed, then one for all that was skipped."""
    level = {"failed": "error", "passed": "notice", "undecided": "error"}[headline(report)]
    skipped = [f for f in report.findings if f.status is Status.SKIPPED]
    warning = [_command("warning", "guardeval: skipped", _skipped(skipped))] if skipped else []
    room = _MOST - 1 - len(warning)
    failed = ordered(report.failed)
    left = len(failed) - room
    more = f"; {left} of them are in the step summary and the table only" if left > 0 else ""
    first = _command(level, "guardeval check", verdict(report) + more)
    return [first, *(_command("error", f"guardeval: {f.name}", f.message) for f in failed[:room]), *warning]


def _skipped(findings: Sequence[Finding]) -> str:
    return f"{len(findings)} not decided: " + named([f"{f.name} ({f.message})" for f in findings])


def _command(level: str, title: str, message: str) -> str:
    """``::error title=…::message``: a line, whatever stands in title and message."""
    return f"::{level} title={_property(clipped(printable(title), 200))}::{_data(_short(message))}"


def _short(text: str) -> str:
    return clipped(printable(text), _LONGEST)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# ---- the step summary ----


def step_summary(report: GateReport, limit: int = SUMMARY_LIMIT) -> str:
    """Markdown: the verdict, the failed checks as a table with reasons, all checks folded away, notes, what was compared.

    At most ``limit`` bytes; says how many checks were left out where they do not fit.
    """
    failed, rest = ordered(report.failed), [f for f in ordered(report.findings) if f.status is not Status.FAILED]
    foot = [*_notes(report), *_about(report)]
    fixed = [f"## guardeval check: {headline(report)}", "", literal(_short(verdict(report))), ""]
    budget = _Budget(limit - _size([*fixed, *foot]) - 2000)  # 2000: headings, folds, the sentence about what is left out
    lines = fixed
    if failed:
        lines += ["### Failed", "", *budget.table(failed), "", *budget.reasons(failed), ""]
    if rest:
        title = f"{len(rest)} {'other ' if failed else ''}{'check' if len(rest) == 1 else 'checks'}"
        lines += [f"<details><summary>{title}</summary>", "", *budget.table(rest), "", *budget.reasons(rest), ""]
        lines += ["</details>", ""]
    if budget.left_out:
        lines += [
            f"{budget.left_out} rows and reasons did not fit in here; the table in the log and the JSON hold all.",
            "",
        ]
    return "\n".join([*lines, *foot]) + "\n"


class _Budget:
    """Bytes that are left for rows; what does not fit is counted."""

    def __init__(self, room: int) -> None:
        self.room, self.left_out = room, 0

    def table(self, findings: Sequence[Finding]) -> list[str]:
        table = findings_table(findings)
        head = [_cells(table.columns), "|" + "|".join(" ---: " if right else " --- " for right in table.numeric()) + "|"]
        self.room -= _size(head)
        return [*head, *self._fitting(_rows(table))]

    def reasons(self, findings: Sequence[Finding]) -> list[str]:
        failed = ((f.message, [f.name]) for f in findings if f.status is Status.FAILED)
        told = (*failed, *skipped_for(findings).items())
        return list(self._fitting(f"- {', '.join(map(coded, names))}: {literal(_short(why))}" for why, names in told))

    def _fitting(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            size = _size([line])
            if size > self.room:
                self.left_out += 1
                continue
            self.room -= size
            yield line


def _rows(table: Table) -> Iterator[str]:
    for name, status, *others in table.rows:
        marked = f"**{status}**" if status == "FAILED" else status
        yield "| " + " | ".join([coded(name), marked, *map(literal, others)]) + " |"


def _cells(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(literal, cells)) + " |"


def _notes(report: GateReport) -> list[str]:
    shown = [f"> note: {literal(_short(n))}  " for n in report.notes[:_NOTES]]
    more = len(report.notes) - len(shown)
    return [*shown, *([f"> {more} more notes  "] if more > 0 else []), ""] if shown else []


def _about(report: GateReport) -> list[str]:
    runs = ", ".join(coded(clipped(printable(r), 300)) for r in report.runs[:20])
    more = f" and {len(report.runs) - 20} more" if len(report.runs) > 20 else ""
    against = f"{coded(report.model)} against {coded(report.baseline_model)}"
    return [f"{against}, baseline {coded(report.baseline)}, family-wise α {report.alpha:g}; runs: {runs}{more}"]


def literal(text: str) -> str:
    """Text that Markdown and GitHub show as it stands: no markup, HTML, link, mention or reference comes of it.

    Every character that could begin one is written as a number; ``@`` and ``#`` are parted from what follows, since GitHub
    looks for people and issues after Markdown is done.
    """
    return re.sub(r"[^\w ,.]|_|(?<!\d)\.|\.(?!\d)", _entity, printable(text))


def _entity(match: re.Match[str]) -> str:
    c = match[0]
    if not c.isascii():
        return c
    return f"&#{ord(c)};" + ("&#8203;" if c in "@#" else "")


def coded(text: str) -> str:
    """The same for names, set as code: in it GitHub looks for no people, issues and commits at all."""
    return f"<code>{literal(clipped(printable(text), 300))}</code>"


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)
