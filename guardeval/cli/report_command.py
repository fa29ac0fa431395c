"""``guardeval report RUN …``: tables of finished runs, as text or Markdown; several beside each other first."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guardeval.cli.parser import Parser
from guardeval.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from guardeval.runs import StoredRun

__all__ = ["configure", "execute"]

_FORMATS = ("text", "md")


def configure(parser: Parser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--format", metavar="F", help="text or md (text; md for an --output FILE.md)")
    what = "modes of failure of each task: shares, typical words, categories, policies, examples"
    parser.add_argument("--failures", action="store_true", help=what)
    parser.add_argument("--output", "-o", metavar="FILE", help="write there instead of the terminal")


def execute(args: argparse.Namespace) -> int:
    from guardeval.runs import open_run, write_atomically

    form = args.format or ("md" if str(args.output).endswith((".md", ".markdown")) else "text")
    if form not in _FORMATS:
        raise ConfigError(f"guardeval report: unknown format {form!r}{did_you_mean(form, _FORMATS)}")
    runs = [open_run(r, samples=args.failures) for r in args.runs]
    results, names = [run.results() for run in runs], [run.name for run in runs]
    if form == "md":
        from guardeval.report.markdown import markdown

        text = markdown(results, names)
    else:
        from guardeval.report.terminal import report_text

        text = report_text(results, names, plain=args.output is not None)
    if args.failures:
        text += _failures(runs, form, plain=args.output is not None)
    if args.output:
        write_atomically(Path(args.output), text.encode("utf-8", "replace") + b"\n")
    else:
        print(text)
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
