"""The command line of ``eval_guardreasoner.py``: thirteen benchmarks, one model, tables beside the published figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from guardeval.cli.ending import exit_code
from guardeval.cli.parser import ModelAction, ModelOptionAction, Parser, parse
from guardeval.errors import ConfigError, did_you_mean

__all__ = ["main"]


def configure(parser: Parser) -> None:
    parser.prog = "eval_guardreasoner.py"
    add = parser.add_argument
    add("--model", "-m", action=ModelAction, metavar="M", help="the guard; or recordings of one, replay/FILE, repeatable")
    add("-M", "--model_args", "-a", action=ModelOptionAction, metavar="K=V", help="option of the model before it")
    add("--solver", default="guardreasoner", metavar="S", help="how the guard is asked (guardreasoner)")
    add("-S", dest="solver_options", action="append", default=[], metavar="K=V", help="option of the solver")
    add("--data_dir", default="hub", metavar="DIR", help="a folder of benchmark files, hub, or sample (hub)")
    add(
        "--accounting",
        default="paper,strict",
        metavar="A,B",
        help="strict, parsed, fail_closed, fail_open, paper (paper,strict)",
    )
    add("--size", metavar="S", help="compare with this published size only: 1B, 3B, 8B")
    add("--limit", metavar="N", help="of each benchmark at most; averages are not the published ones then")
    add("--no_cache", action="store_true", help="neither read nor write the response cache")
    add("--output", "--output_path", "-o", default="eval_guardreasoner", metavar="DIR", help="run folders, tables, JSON")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes as ``guardeval``'s: 0 done, 2 wrong use, 3 finished with samples never heard, 130 interrupted."""
    return exit_code("eval_guardreasoner", list(sys.argv[1:] if argv is None else argv), _dispatch, caches=True)


def _dispatch(words: list[str]) -> int:
    args = parse("eval_guardreasoner", "GuardReasoner's 13 benchmarks", configure, words)
    return 0 if args is None else _execute(args)


def _execute(args: argparse.Namespace) -> int:
    from guardeval.models import ModelSpec
    from guardeval.programme.published_figures import read_published
    from guardeval.programme.unified import evaluate
    from guardeval.registry import parse_options
    from guardeval.report.markdown import markdown_tables
    from guardeval.report.terminal import print_notices, print_table
    from guardeval.report.unified_tables import as_dict, unified_tables
    from guardeval.runs import results_json, write_atomically

    if args.size is not None and args.size not in (sizes := read_published().sizes):
        raise ConfigError(f"--size {args.size}: no such published size{did_you_mean(args.size, sizes)}")
    for_all = parse_options(getattr(args, "model_options", None) or [], "-M")
    models = [ModelSpec(n, {**for_all, **parse_options(o, "-M")}) for n, o in getattr(args, "models", None) or ()]
    settings = {k: v for k, v in (("limit", args.limit), ("no_cache", args.no_cache)) if v}
    found = evaluate(
        models, data_dir=args.data_dir, solver=args.solver, solver_args=parse_options(args.solver_options, "-S"),
        accounting=[a.strip() for a in args.accounting.split(",")], output_path=args.output,
        say=lambda line: print(line, file=sys.stderr, flush=True), **settings,
    )  # fmt: skip
    tables = unified_tables(found, args.size)
    print_notices(found.notices)
    for table in tables:
        print_table(table)
    folder = Path(args.output).expanduser()
    write_atomically(folder / "eval_guardreasoner.json", results_json(as_dict(found)))
    text = f"# GuardReasoner's benchmarks\n\n{markdown_tables(tables, found.notices)}"
    write_atomically(folder / "eval_guardreasoner.md", text.encode("utf-8", "replace"))
    return 3 if found.never_heard else 0
