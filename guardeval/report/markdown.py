"""Tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from guardeval.report.plain import printable
from guardeval.report.summary import group_table, summary_table
from guardeval.report.tables import Table, facts, heading, task_tables

__all__ = ["markdown", "markdown_sections", "markdown_table", "markdown_tables"]

_SPECIAL = str.maketrans({c: "\\" + c for c in "\\`*<>|#~$"} | {"&": "&amp;"})


def escaped(text: str) -> str:
    """Text as Markdown shows it literally: names and messages may come from data. ``[0.1, 0.2]`` stays readable.

    A bracket needs a backslash only where it could close a link or an image, an underscore only outside words.
    """
    text = printable(text).translate(_SPECIAL)
    text = re.sub(r"\](?=\s*[(\[:])", r"\\]", text)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    return re.sub(r"(?i)\b(https?):(?=//)", r"\1&#58;", text)  # bare addresses become links by themselves


def markdown_table(table: Table) -> str:
    """The title as a heading of the fourth level, the table, its notes."""
    lines = [f"#### {escaped(table.title)}", ""] if table.title else []
    lines += [
        "| " + " | ".join(escaped(c) for c in table.columns) + " |",
        "|" + "|".join(" ---: " if right else " --- " for right in table.numeric()) + "|",
        *("| " + " | ".join(escaped(c) for c in row) + " |" for row in table.rows),
        *(f"\n{escaped(note)}" for note in table.notes),
        "",
    ]
    return "\n".join(lines)


def markdown_tables(tables: Sequence[Table], notices: Sequence[str] = ()) -> str:
    """Notices as a quotation, then the tables."""
    return "\n".join([*_quoted(notices), *(markdown_table(t) for t in tables)])


def markdown_sections(sections: Sequence[tuple[str, Sequence[Table]]]) -> str:
    """Tables under headings of the third level."""
    return "\n".join(f"### {escaped(title)}\n\n{markdown_tables(tables)}" for title, tables in sections)


def _quoted(notices: Sequence[str]) -> list[str]:
    return [*(f"> {escaped(n)}  " for n in notices), *([""] if notices else [])]


def markdown(runs: Sequence[Mapping[str, Any]], names: Sequence[str], further: Sequence[Sequence[Table]] = ()) -> str:
    """Runs as one Markdown document: a summary where there are several, then each, notices first, ``further`` tables last."""
    parts = ["## Summary", "", *_summary(runs)] if len(runs) > 1 else []
    for i, (results, name) in enumerate(zip(runs, names, strict=True)):
        parts += [f"## {escaped(name)}", "", *_quoted(results.get("notices", ()))]
        if len(results["results"]) > 1:
            parts += _summary([results])
        for task in results["results"]:
            parts += [f"### {escaped(heading(results, task))}", "", escaped(facts(results, task)), ""]
            parts += [markdown_table(t) for t in task_tables(results, task)]
        parts += [markdown_table(table) for tables in further[i : i + 1] for table in tables]
    return "\n".join(parts)


def _summary(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [markdown_table(t) for t in (summary_table(runs), group_table(runs)) if t is not None]
