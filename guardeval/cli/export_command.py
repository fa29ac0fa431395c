"""``guardeval export inspect|lm_eval RUN``: a finished run as other tools' logs."""

from __future__ import annotations

import argparse

from guardeval.cli.parser import Parser
from guardeval.errors import ConfigError, did_you_mean

__all__ = ["configure", "execute"]

_PLACES = {"inspect": "logs", "lm_eval": "lm_eval_output"}


def configure(parser: Parser) -> None:
    add = parser.add_argument
    add("form", metavar="inspect|lm_eval", help="inspect: a .eval log a task; lm_eval: its results and samples files")
    add("run", metavar="RUN", help="a run folder")
    add("--task", metavar="T", help="only this task of a run that holds several")
    add("--output", "-o", metavar="PATH", help="a folder (inspect: logs, lm_eval: lm_eval_output), or one .eval file")
    add("--overwrite", action="store_true", help="replace files that are there already")


def execute(args: argparse.Namespace) -> int:
    form = args.form.replace("-", "_")
    if form not in _PLACES:
        raise ConfigError(f"guardeval export: unknown form {args.form!r}{did_you_mean(args.form, _PLACES)}")
    output = args.output or _PLACES[form]
    for path in _inspect(args, output) if form == "inspect" else _lm_eval(args, output):
        print(f"written: {path}")
    return 0


def _inspect(args: argparse.Namespace, output: str) -> list[object]:
    from guardeval.interop.inspect_export import export_inspect

    return [*export_inspect(args.run, output, task=args.task, overwrite=args.overwrite)]


def _lm_eval(args: argparse.Namespace, output: str) -> list[object]:
    from guardeval.interop.lm_eval_export import export_lm_eval

    return [*export_lm_eval(args.run, output, task=args.task, overwrite=args.overwrite)]
