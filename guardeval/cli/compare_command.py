"""``guardeval compare RUN RUN …``: paired on the samples they share; the first run is the reference."""

from __future__ import annotations

import argparse
from pathlib import Path

from guardeval.cli.parser import Parser, whole_number
from guardeval.cli.run_folders import without_killed
from guardeval.errors import ConfigError, did_you_mean

__all__ = ["configure", "execute"]

_FORMATS = ("text", "md")


def configure(parser: Parser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, the reference first")
    parser.add_argument("--task", metavar="T", help="only this task of runs that hold several")
    parser.add_argument("--accounting", default="strict", metavar="A", help="strict, parsed, fail_closed, fail_open (strict)")
    parser.add_argument("--format", default="text", metavar="F", help="text or md (text)")
    parser.add_argument("--json", metavar="FILE", help="write everything, ids of flipped samples too, as JSON")
    parser.add_argument("--flips", metavar="N", help="show up to N samples behind each changed cell of the flip matrix")
    parser.add_argument("--seed", default="0", metavar="N", help="of the bootstrap (0)")


def execute(args: argparse.Namespace) -> int:
    folders = without_killed(args.runs)
    if len(folders) < 2:
        raise ConfigError("guardeval compare: two runs or more are wanted, the reference first")
    if args.format not in _FORMATS:
        raise ConfigError(f"guardeval compare: unknown format {args.format!r}{did_you_mean(args.format, _FORMATS)}")
    seed = whole_number(args.seed, "guardeval compare: --seed")
    flips = whole_number(args.flips, "guardeval compare: --flips") if args.flips is not None else 0
    from guardeval.compare_runs import compare_runs
    from guardeval.report.comparison import comparison_tables, flip_tables

    found = compare_runs([Path(r) for r in folders], task=args.task, accounting=args.accounting, seed=seed)
    if args.json:
        from guardeval.runs import results_json, write_atomically

        write_atomically(Path(args.json), results_json(found.as_dict()))
    tables = [*comparison_tables(found), *(flip_tables(found, flips) if flips else ())]
    if args.format == "md":
        from guardeval.report.markdown import markdown_tables

        print(markdown_tables(tables, found.notices))
        return 0
    from guardeval.report.terminal import print_notices, print_table

    print_notices(found.notices)
    for table in tables:
        print_table(table)
    return 0
