"""Results as lines for a terminal, a pipe or a file."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from guardeval.broker.counters import Estimate
from guardeval.report.layout import table_lines
from guardeval.report.plain import printable
from guardeval.report.summary import group_table, summary_table
from guardeval.report.tables import Table, facts, heading, task_tables

__all__ = ["print_notices", "print_plan", "print_results", "print_summary", "print_table", "report_text", "sections_text"]

_BOLD, _DIM, _YELLOW = "1", "2", "33"


@dataclass(frozen=True, slots=True)
class Page:
    """What lines are made for: ``columns`` None = a pipe or file, which has no width; ``styled``: bold, dim, colour."""

    columns: int | None = None
    styled: bool = False

    @classmethod
    def of(cls, stream: TextIO | None) -> Page:
        """A terminal; ``COLUMNS`` in the environment gives any stream a width, ``NO_COLOR`` and ``TERM=dumb`` no style."""
        terminal = stream is not None and stream.isatty()
        wide = terminal or os.environ.get("COLUMNS", "").isdigit()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return cls(max(shutil.get_terminal_size().columns, 40) if wide else None, terminal and not plain)

    def paragraph(self, text: str, style: str = "", indent: str = "") -> list[str]:
        """Wrapped lines, continued under their beginning."""
        line = indent + printable(text)
        lines = [line]
        if self.columns is not None and len(line) > self.columns:
            lines = textwrap.wrap(line, self.columns, subsequent_indent=indent + "  ", break_on_hyphens=False)
        return [f"\x1b[{style}m{part}\x1b[0m" if style and self.styled else part for part in lines]

    def table(self, table: Table) -> list[str]:
        """Title, table and notes, an empty line at the end."""
        lines = self.paragraph(table.title, _BOLD) if table.title else []
        lines += table_lines(table, self.columns)
        lines += [line for note in table.notes for line in self.paragraph(note, _DIM, "  ")]
        return [*lines, ""]

    def notices(self, notices: Iterable[str]) -> list[str]:
        lines = [line for notice in notices for line in self.paragraph(f"note: {notice}", _YELLOW)]
        return [*lines, ""] if lines else []

    def summary(self, runs: Sequence[Mapping[str, Any]]) -> list[str]:
        """Several tasks or runs beside each other, and averages of groups."""
        tables = [summary_table(runs), group_table(runs)]
        return [line for table in tables if table is not None for line in self.table(table)]

    def results(self, results: Mapping[str, Any]) -> list[str]:
        """Notices first, a summary where there are several tasks, then the tables of every task."""
        lines = self.notices(results.get("notices", ()))
        if len(results["results"]) > 1 or results.get("groups"):
            lines += self.summary([results])
        for task in results["results"]:
            lines += [*self.paragraph(heading(results, task), _BOLD), *self.paragraph(facts(results, task)), ""]
            lines += [line for table in task_tables(results, task) for line in self.table(table)]
        return lines


def print_table(table: Table) -> None:
    print("\n".join(Page.of(sys.stdout).table(table)))


def print_notices(notices: Iterable[str]) -> None:
    """What a reader must know before believing a number."""
    for line in Page.of(sys.stdout).notices(notices):
        print(line)


def print_results(results: Mapping[str, Any]) -> None:
    print("\n".join(Page.of(sys.stdout).results(results)))


def print_summary(runs: Sequence[Mapping[str, Any]]) -> None:
    print("\n".join(Page.of(sys.stdout).summary(runs)))


def report_text(
    runs: Sequence[Mapping[str, Any]], names: Sequence[str], plain: bool = False, further: Sequence[Sequence[Table]] = ()
) -> str:
    """Finished runs: a summary where there are several, then each, with its ``further`` tables.

    ``plain``: for a file, not for this terminal.
    """
    page = Page() if plain else Page.of(sys.stdout)
    lines = page.summary(runs) if len(runs) > 1 else []
    for i, (results, name) in enumerate(zip(runs, names, strict=True)):
        lines += [*page.paragraph(f"run {name}", _BOLD), *page.results(results)]
        lines += [line for table in further[i : i + 1] for one in table for line in page.table(one)]
    return "\n".join(lines)


def sections_text(sections: Sequence[tuple[str, Sequence[Table]]], plain: bool = False) -> str:
    """Tables under headings; ``plain`` as in :func:`report_text`."""
    page = Page() if plain else Page.of(sys.stdout)
    lines = []
    for title, tables in sections:
        lines += [*page.paragraph(title, _BOLD), "", *(line for table in tables for line in page.table(table))]
    return "\n".join(lines)


def print_plan(plans: Mapping[str, Estimate]) -> None:
    """What a dry run counted, by model."""
    rows = tuple(
        (name, f"{p.distinct:,}", f"{p.cached:,}", f"{p.tokens_in:,}", f"{p.tokens_out:,}", _dollars(p.cost))
        for name, p in plans.items()
    )
    columns = ("model", "requests", "cached", "tokens in", "tokens out", "US$")
    notes = (
        "requests: different ones; tokens and cost: of those not cached",
        "tokens in: characters / 4; tokens out and cost: at most, every answer as long as allowed",
        *(("n/a: the price is not known; -M price=in,out states it",) if any(p.cost is None for p in plans.values()) else ()),
    )
    print_table(Table("dry run: nothing was sent", columns, rows, notes))


def _dollars(cost: float | None) -> str:
    return "n/a" if cost is None else f"{cost:,.4f}"
