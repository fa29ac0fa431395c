"""``guardeval export lm_eval``: task files that lm-evaluation-harness runs."""

from __future__ import annotations

import argparse

from guardeval.cli.export_tasks import add_task_flags, write_tasks
from guardeval.cli.parser import Parser
from guardeval.errors import ConfigError, did_you_mean

__all__ = ["configure", "execute"]


def configure(parser: Parser) -> None:
    add = parser.add_argument
    add("form", metavar="lm_eval", help="lm_eval: task files for it, with --task and --solver")
    add("--task", "--tasks", "-t", metavar="T", help="names, groups, tags, globs, separated by commas")
    add("--output", "-o", default="lm_eval_tasks", metavar="DIR", help="where the files go (lm_eval_tasks)")
    add("--overwrite", action="store_true", help="replace files that are there already")
    add_task_flags(parser)


def execute(args: argparse.Namespace) -> int:
    if args.form.replace("-", "_") != "lm_eval":
        raise ConfigError(f"guardeval export: unknown form {args.form!r}{did_you_mean(args.form, ['lm_eval'])}")
    return write_tasks(args)
