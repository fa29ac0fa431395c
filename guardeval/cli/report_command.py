"""``guardeval report RUN …``: tables of finished runs, as text, Markdown or a page; several beside each other first."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guardeval.cli.parser import Parser
from guardeval.cli.run_folders import without_killed
from guardeval.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from guardeval.report.tables import Table
    from guardeval.runs import StoredRun

__all__ = ["configure", "execute"]

_FORMATS = ("text", "md", "html")
_OF_NAME = {".md": "md", ".markdown": "md", ".html": "html", ".htm": "html"}  # what the name of --output says


def configure(parser: Parser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--format", metavar="F", help="text, md or html (text, or as the name of --output says)")
    what = "modes of failure of each task: shares, typical words, categories, policies, examples"
    parser.add_argument("--failures", action="store_true", help=what)
    where = "write there instead of the terminal; a page goes to report.html, in the folder of a single run"
    parser.add_argument("--output", "-o", metavar="FILE", help=where)


def execute(args: argparse.Namespace) -> int:
    output = Path(args.output) if args.output else None
    form = args.format or _OF_NAME.get(output.suffix.lower() if output else "", "text")
    if form not in _FORMATS:
        raise ConfigError(f"guardeval report: unknown format {form!r}{did_you_mean(form, _FORMATS)}")
    folders = without_killed(args.runs)
    if form == "html":  # failures are always in it
        return _page(folders, output)
    from guardeval.runs import open_run, write_atomically

    runs = [open_run(r, samples=args.failures) for r in folders]
    results, names = [run.results() for run in runs], [run.name for run in runs]
    reviews = [_reviews(run.path) for run in runs]
    if form == "md":
        from guardeval.report.markdown import markdown

        text = markdown(results, names, reviews)
    else:
        from guardeval.report.terminal import report_text

        text = report_text(results, names, plain=output is not None, further=reviews)
    if args.failures:
        text += _failures(runs, form, plain=output is not None)
    if output is not None:
        write_atomically(output, text.encode("utf-8", "replace") + b"\n")
    else:
        print(text)
    return 0


def _page(folders: Sequence[str], output: Path | None) -> int:
    """One HTML file; that of a single run belongs in its folder."""
    from guardeval.report.html import html_report
    from guardeval.report.plain import printable
    from guardeval.runs import write_atomically

    target = output or (Path(folders[0]).expanduser() if len(folders) == 1 else Path()) / "report.html"
    page = html_report(folders).encode("utf-8", "replace")
    write_atomically(target, page)
    print(f"report: {printable(str(target))} ({len(page) / 1e6:.2f} MB, opens from disk)")
    return 0


def _failures(runs: Sequence[StoredRun], form: str, plain: bool) -> str:
    """How each run fails, below its tables."""
    from guardeval.report.failures import run_failures
    from guardeval.report.markdown import markdown_sections
    from guardeval.report.terminal import sections_text

    several = len(runs) > 1
    sections = [
        (f"run {run.name}, {title}" if several else title, tables) for run in runs for title, tables in run_failures(run)
    ]
    return "\n" + (markdown_sections(sections) if form == "md" else sections_text(sections, plain))


def _reviews(folder: Path) -> list[Table]:
    """What people said about the run, if anybody did."""
    from guardeval.report.review_tables import review_tables
    from guardeval.review.summary import review_summaries

    return [table for summary in review_summaries(folder) for table in review_tables(summary)]
