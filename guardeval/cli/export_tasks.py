"""``guardeval export lm_eval --task T --solver S -o DIR``: task files that lm-evaluation-harness runs."""

from __future__ import annotations

import argparse

from guardeval.cli.parser import Parser, add_include_path
from guardeval.errors import ConfigError

__all__ = ["add_task_flags", "write_tasks"]


def add_task_flags(parser: Parser) -> None:
    """Flags of the form that exports tasks, not a run; ``--task``, ``-o`` and ``--overwrite`` are the command's."""
    add = parser.add_argument
    add("--solver", metavar="S", help="write task files that ask and read as this solver does")
    add("-S", dest="solver_options", action="append", default=[], metavar="K=V", help="option of the solver")
    add("--policies", default="minimal", metavar="P", help="with --solver: minimal, medium, verbose, or a folder (minimal)")
    add("--data", default="hub", metavar="D", help="with --solver: where lm-eval reads rows: hub, sample or a path (hub)")
    add("--model", metavar="M", help="with --solver native: the model that the solver is chosen for")
    add("--chat", action="store_true", help="with --solver: as models are asked that take no raw prompts")
    add_include_path(parser)


def write_tasks(args: argparse.Namespace) -> int:
    """Write the files and say how they are run."""
    from guardeval.interop.lm_eval_tasks import export_tasks, exported_tasks
    from guardeval.registry import parse_options

    if not args.task or not args.solver:
        missing = "--task" if not args.task else "--solver"
        raise ConfigError(f"guardeval export lm_eval: {missing} is missing; name a task and a solver, or a finished RUN alone")
    options = {
        "solver_args": parse_options(args.solver_options, "-S"), "policies": args.policies, "data": args.data,
        "chat": args.chat, "model": args.model, "include_path": args.include_path,
    }  # fmt: skip
    output = args.output or "lm_eval_tasks"
    names = [name.strip() for name in args.task.split(",") if name.strip()]
    planned = exported_tasks(names, args.solver, **options)
    for path in export_tasks(names, args.solver, output, overwrite=args.overwrite, **options):
        print(f"written: {path}")
    for flags in dict.fromkeys(one.flags for one in planned):
        tasks = ",".join(one.name for one in planned if one.flags == flags)
        print(f"run: lm_eval run --include_path {output} --tasks {tasks} {flags}".rstrip())
        if "--apply_chat_template" not in flags:
            print("     raw prompts: not with --apply_chat_template")
    return 0
