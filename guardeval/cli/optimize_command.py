"""``guardeval optimize OPTIMIZER --model FOLDER --out DIR``: a smaller or faster model folder, checked against the old one."""

from __future__ import annotations

import argparse
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.cli.parser import Parser, add_include_path, whole_number
from guardeval.cli.plugin_flags import as_options
from guardeval.errors import ConfigError, GuardevalError
from guardeval.registry import Registry

if TYPE_CHECKING:
    from guardeval.optimizing import Questions

__all__ = ["configure", "execute"]


def configure(parser: Parser) -> None:
    parser.epilog = "every option of the optimizer is a flag, too: `guardeval show OPTIMIZER` lists them"
    add = parser.add_argument
    add("optimizer", metavar="OPTIMIZER", help="onnx, int8, int4, merge, gguf: any `guardeval list optimizers` shows")
    add(
        "--model", "-m", metavar="FOLDER", required=True, help="a model folder, a transformers model or an adapter, as a folder"
    )
    add("--out", "-o", metavar="DIR", required=True, help="the model folder to write")
    add("-O", dest="options", action="append", default=[], metavar="K=V", help="option of the optimizer")
    add("--task", "--tasks", "-t", metavar="T", help="whose samples the check asks")
    add("--data", metavar="D", help="hub, sample, a path to rows, or a training file: its validation rows (hub)")
    add("--limit", "-L", metavar="N", help="a seeded, stratified subset of N samples")
    add("--seed", metavar="N", help="of subsets (0)")
    add("--solver", metavar="S", help="how both are asked (what the model's card says, else direct)")
    add("-S", dest="solver_options", action="append", default=[], metavar="K=V", help="option of the solver")
    add("--policies", metavar="P", help="minimal, medium, verbose, or a folder (what the card says, else minimal)")
    add("--max_f1_drop", default="0.01", metavar="X", help="a larger drop in F1 makes the folder unusable (0.01)")
    add("--no_check", action="store_true", help="ask nothing; the folder says that it is unchecked")
    add_include_path(parser)
    parser.set_defaults(rewrite=partial(as_options, parser=parser, kind="optimizers", short="-O"))


def execute(args: argparse.Namespace) -> int:
    from guardeval.optimizing import built, optimized
    from guardeval.registry import parse_options

    folder, out, limit = Path(args.model).expanduser(), Path(args.out).expanduser(), _limit(args.max_f1_drop)
    optimizer = Registry().build("optimizers", args.optimizer, parse_options(args.options, "-O"))
    if not callable(getattr(optimizer, "optimize", None)):
        raise ConfigError(f"optimizer {args.optimizer!r} has no optimize(folder, out)")
    before = built(folder)  # what cannot be asked is told before anything is made
    questions = None if args.no_check else _questions(args, folder)
    optimized(optimizer, folder, out)
    if questions is None:
        print(f"model folder: {out}\nunchecked: nothing was compared with {folder}")
        return 0
    try:
        return _checked(folder, out, before, questions, limit)
    except GuardevalError as e:
        raise type(e)(f"{e} (the folder {out} is written, and unchecked)") from e


def _limit(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise ConfigError(f"--max_f1_drop {text}: a share from 0 to 1 is wanted, e.g. 0.01")
    return found


def _questions(args: argparse.Namespace, folder: Path) -> Questions:
    from guardeval.optimizing import questions_for, rows_of_training_file
    from guardeval.registry import parse_options
    from guardeval.task import TaskIndex
    from guardeval.training_rows import is_training_file

    limit = whole_number(args.limit, "guardeval optimize: --limit", least=1) if args.limit else None
    seed = whole_number(args.seed or "0", "guardeval optimize: --seed")
    path = Path(args.data or "hub").expanduser()
    asked = (args.solver, args.policies, parse_options(args.solver_options, "-S"))
    if args.task is None and is_training_file(path):
        return questions_for(folder, *rows_of_training_file(path, limit, seed), *asked)
    if args.task is None:
        raise ConfigError(
            "guardeval optimize: the check needs samples: --task T (with --data), or --data FILE of `guardeval prepare`; or "
            "say --no_check, and the folder says that it is unchecked"
        )
    tasks = TaskIndex(args.include_path).select(args.task).tasks
    if len(tasks) > 1:
        raise ConfigError(f"guardeval optimize: --task {args.task}: {len(tasks)} tasks, and the check asks the samples of one")
    rows = tasks[0].open(args.data or "hub", limit=limit, seed=seed)
    if rows.notice:
        print(f"note: {tasks[0].name}: {rows.notice}", file=sys.stderr)
    samples, about = list(rows), {"task": tasks[0].name, **dict(rows.identity)}
    return questions_for(folder, samples, tasks[0].target, about, *asked)


def _checked(folder: Path, out: Path, before: Any, questions: Questions, limit: float) -> int:
    from guardeval.optimizing_check import checked
    from guardeval.optimizing_tables import check_table, flips_table
    from guardeval.report.terminal import print_table

    found = checked(folder, out, before, questions, max_f1_drop=limit)
    print_table(check_table(found))
    flips = flips_table(found)
    if flips is not None:
        print_table(flips)
    print(f"model folder: {out}")
    if not found.passed:
        print(f"not usable: {found.verdict}; `--model` refuses the folder, which is kept for inspection", file=sys.stderr)
        return 1
    argument = shlex.quote(str(out) if out.is_absolute() else f"./{out}")
    print(f"use it with: guardeval run --task wildguard --model {argument}")
    return 0
