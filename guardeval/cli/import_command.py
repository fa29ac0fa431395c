"""``guardeval import inspect|lm_eval FILE …``: finished logs of other tools as runs, scored here; no model is asked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from guardeval.cli.parser import Parser, add_include_path
from guardeval.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from guardeval.interop.importing import Importing

__all__ = ["configure", "execute"]

_FORMS = ("inspect", "lm_eval")


def configure(parser: Parser) -> None:
    add = parser.add_argument
    add("form", metavar="inspect|lm_eval", help="whose logs they are")
    add("files", nargs="+", metavar="FILE", help="inspect: .eval or .json logs; lm_eval: results files, or their folder")
    add("--task", metavar="T", help="the task whose samples and gold labels they are, where the log does not hold them")
    add("--data", default="hub", metavar="D", help="with --task: where its rows are, as for run (hub)")
    add("--solver", metavar="S", help="who reads the answers; without it the log's own verdict, or the closing block")
    add("-S", dest="solver_options", action="append", default=[], metavar="K=V", help="option of the solver")
    add("--target", metavar="T", help="refuse logs that ask anything else")
    add("--policies", default="minimal", metavar="P", help="whose names an answer may state (minimal)")
    add("--scorer", metavar="A,B", help="other scorers than the task's own")
    add("--output_path", "-o", default="runs", metavar="DIR", help="where the run folders go (runs)")
    add_include_path(parser)


def execute(args: argparse.Namespace) -> int:
    from guardeval.interop.importing import import_inspect, import_lm_eval
    from guardeval.report.plain import printable
    from guardeval.report.terminal import print_results

    form = args.form.replace("-", "_")
    if form not in _FORMS:
        raise ConfigError(f"guardeval import: unknown form {args.form!r}{did_you_mean(args.form, _FORMS)}")
    read = import_inspect if form == "inspect" else import_lm_eval
    never_heard = 0
    for run in read(args.files, _how(args)):
        print_results(run.results)
        print(printable(f"run folder: {run.path}"))
        never_heard += run.never_heard
    return 3 if never_heard else 0


def _how(args: argparse.Namespace) -> Importing:
    from guardeval.interop.importing import Importing
    from guardeval.registry import parse_options
    from guardeval.settings import read_target

    return Importing(
        task=args.task,
        solver=args.solver,
        solver_args=parse_options(args.solver_options, "-S"),
        target=None if args.target is None else read_target(args.target, "guardeval import: --target"),
        data=args.data,
        policies=args.policies,
        scorer=tuple(s.strip() for s in (args.scorer or "").split(",") if s.strip()),
        include_path=tuple(args.include_path),
        output_path=args.output_path,
    )
