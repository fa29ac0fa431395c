"""``guardeval score RUN``: scorers over what a run heard; no model is asked."""

from __future__ import annotations

import argparse

from guardeval.cli.parser import Parser

__all__ = ["configure", "execute"]


def configure(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--scorer", metavar="A,B", help="other scorers than the run's own")
    parser.add_argument("--append", action="store_true", help="keep the metrics there are and add the new scorers'")


def execute(args: argparse.Namespace) -> int:
    from guardeval.report.plain import printable
    from guardeval.report.terminal import print_results
    from guardeval.rescore import rescore
    from guardeval.runs import open_run

    names = tuple(s.strip() for s in args.scorer.split(",") if s.strip()) if args.scorer else None
    results = rescore(args.run, names, append=args.append)
    print_results(results)
    run = open_run(args.run, samples=False)
    print(printable(f"written: {run.results_path}"))
    return 0
