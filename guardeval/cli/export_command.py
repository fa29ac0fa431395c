"""``guardeval export``: a finished run as other tools' logs; with ``--solver``, tasks for lm-eval."""

from __future__ import annotations

import argparse

from guardeval.cli.export_tasks import add_task_flags, write_tasks
from guardeval.cli.parser import Parser
from guardeval.errors import ConfigError, did_you_mean

__all__ = ["configure", "execute"]

_PLACES = {"inspect": "logs", "lm_eval": "lm_eval_output"}


def configure(parser: Parser) -> None:
    add = parser.add_argument
    add("form", metavar="inspect|lm_eval", help="inspect: a .eval log a task; lm_eval: its results and samples files")
    add("run", nargs="?", metavar="RUN", help="a run folder; not with --solver")
    add("--task", metavar="T", help="only this task of a run that holds several; with --solver, the tasks, as for run")
    where = "a folder (inspect: logs, lm_eval: lm_eval_output, tasks: lm_eval_tasks), or one .eval file"
    add("--output", "-o", metavar="PATH", help=where)
    add("--overwrite", action="store_true", help="replace files that are there already")
    add_task_flags(parser)


def execute(args: argparse.Namespace) -> int:
    form = args.form.replace("-", "_")
    if form not in _PLACES:
        raise ConfigError(f"guardeval export: unknown form {args.form!r}{did_you_mean(args.form, _PLACES)}")
    if args.run is None and form == "lm_eval":
        return write_tasks(args)
    if args.run is None or args.solver is not None:
        given = "no RUN" if args.run is None else "a RUN and --solver, of which one is wanted"
        raise ConfigError(
            f"guardeval export {form}: {given}; a run folder is exported, or for lm_eval a solver with its --task"
        )
    from guardeval.report.plain import printable

    output = args.output or _PLACES[form]
    for path in _inspect(args, output) if form == "inspect" else _lm_eval(args, output):
        print(printable(f"written: {path}"))
    return 0


def _inspect(args: argparse.Namespace, output: str) -> list[object]:
    from guardeval.interop.inspect_export import export_inspect

    return [*export_inspect(args.run, output, task=args.task, overwrite=args.overwrite)]


def _lm_eval(args: argparse.Namespace, output: str) -> list[object]:
    from guardeval.interop.lm_eval_export import export_lm_eval

    return [*export_lm_eval(args.run, output, task=args.task, overwrite=args.overwrite)]
