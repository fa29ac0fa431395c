"""``guardeval traces``: a teacher's reasoning as training rows; ``guardeval traces check FILE``: how good they are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.cli.parser import ModelAction, ModelOptionAction, Parser, whole_number
from guardeval.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from guardeval.settings import Settings
    from guardeval.traces import TracesMade

__all__ = ["configure", "execute"]

_EXAMPLES = """
examples:
  guardeval traces --task wildguard_train --model openai/gpt-4o -o wildguard_reasoning_traces.json --dry_run
  guardeval traces --task wildguard_train --model openai/gpt-4o -o wildguard_reasoning_traces.json --batch --max_cost 5
  guardeval traces check wildguard_reasoning_traces.json -o report
"""


def configure(parser: Parser) -> None:
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("action", nargs="?", metavar="check", help="check: measure a file of traces; nothing: make one")
    add("file", nargs="?", metavar="FILE", help="of check: the file of traces")
    add("--output", "-o", metavar="FILE", help="traces: .json or .jsonl (also .gz); of check, the folder of the report")
    add("--task", "--tasks", "-t", action="append", metavar="T", help="training tasks; comma or repeated")
    add("--model", "-m", action=ModelAction, metavar="M", help="the teacher: backend/NAME or a model folder")
    add("-M", "--model_args", "-a", action=ModelOptionAction, metavar="K=V", help="option of the teacher")
    add("--hints", metavar="H", help="gold: the teacher is told the label to reason towards; none: it is not (gold)")
    add("--n", "-n", metavar="N", help="rows of each task, seeded and stratified (1554)")
    add("--solver", metavar="S", help="whose question is asked and trained for: multistep, singlestep, fewshot_cot (multistep)")
    add(
        "-S",
        dest="solver_options",
        action="append",
        default=[],
        metavar="K=V",
        help="temperature=, max_tokens=, inner.skip=, …",
    )
    add("--policies", metavar="P", help="minimal, medium, verbose, or a folder of policy texts (minimal)")
    add("--data", metavar="D", help="hub, sample, or a path to rows (hub)")
    add("--seed", metavar="N", help="of the rows that are drawn (0)")
    add("--include_path", action="append", metavar="DIR", help="a folder with more tasks; repeatable")
    add("--batch", action="store_true", help="by the provider's batch service: half the price, within 24 hours")
    add("--keep_wrong", action="store_true", help="keep traces whose verdict contradicts gold")
    add("--allow_test", action="store_true", help="trace a test task; every model that comes of it is marked contaminated")
    add("--max_connections", metavar="N", help="requests under way at once at most")
    add("--cache", metavar="FILE", help="the response cache to use")
    add("--no_cache", action="store_true", help="neither read nor write the response cache")
    add("--max_cost", metavar="USD", help="stop cleanly before spending more")
    add("--dry_run", action="store_true", help="count requests, tokens and cost; send nothing")
    add("--output_path", metavar="DIR", help="where the run folder goes (runs)")
    add("--quiet", "-q", action="store_true", help="plain lines, no progress")


def execute(args: argparse.Namespace) -> int:
    if args.action is not None:
        return _check(args)
    if not args.dry_run and not args.output:
        raise ConfigError("guardeval traces: no file to write: name one with -o, e.g. -o wildguard_reasoning_traces.json")
    settings = _settings(args)
    from guardeval.cli.progress import progress_for
    from guardeval.traces import generate_traces

    if args.dry_run:
        return _dry_run(settings, args)
    try:
        made = generate_traces(
            settings,
            Path(args.output),
            allow_test=args.allow_test,
            keep_wrong=args.keep_wrong,
            batch=args.batch,
            progress=progress_for(quiet=args.quiet),
            tell=_tell,
        )
    except KeyboardInterrupt:  # in a run what was heard is written; this was before, while a batch was waited for
        _tell("guardeval: interrupted; answers that were given are in the cache, and batches that are handed in are waited for")
        _tell("again by the same command")
        return 130
    _print(made, args)
    return _exit_code(made)


def _dry_run(settings: Settings, args: argparse.Namespace) -> int:
    from guardeval.report.terminal import print_plan
    from guardeval.traces import foreseen_traces

    print_plan(foreseen_traces(settings, allow_test=args.allow_test, batch=args.batch))
    if args.batch:
        print("  US$ at the price of the batch service; several draws or later requests are counted one by one")
    return 0


def _tell(line: str) -> None:
    from guardeval.report.plain import printable

    print(printable(line), file=sys.stderr, flush=True)


_PLAIN = ("policies", "data", "seed", "include_path", "max_connections", "cache", "no_cache", "max_cost", "output_path")


def _settings(args: argparse.Namespace) -> Settings:
    from guardeval.registry import parse_options
    from guardeval.traces import DEFAULT_ROWS, trace_settings

    models = getattr(args, "models", None) or []
    if not args.task or not models:
        missing = "task: name a training task with --task" if not args.task else "teacher: name one with --model"
        raise ConfigError(f"guardeval traces: no {missing}; `guardeval traces --help` shows examples")
    if args.hints not in (None, "gold", "none"):
        raise ConfigError(f"guardeval traces: --hints {args.hints!r} is unknown{did_you_mean(args.hints, ['gold', 'none'])}")
    values: dict[str, Any] = {k: getattr(args, k) for k in _PLAIN if getattr(args, k) not in (None, False, [])}
    for_all = parse_options(getattr(args, "model_options", None) or [], "-M")
    values["task"] = [t.strip() for given in args.task for t in given.split(",") if t.strip()]
    values["model"] = [{"name": name, "args": {**for_all, **parse_options(o, "-M")}} for name, o in models]
    values["solver_args"] = parse_options(args.solver_options, "-S")
    n = DEFAULT_ROWS if args.n is None else whole_number(args.n, "guardeval traces: -n", 1)
    return trace_settings(values, solver=args.solver or "multistep", hints=args.hints or "gold", n=n)


def _print(made: TracesMade, args: argparse.Namespace) -> None:
    from guardeval.report.tables import Table, number
    from guardeval.report.terminal import print_notices, print_table

    notices = list(made.run.results.get("notices", ()))
    if args.allow_test:
        notices.append("made from test rows: every model trained on this file is marked contaminated")
    if made.unhinted:
        notices.append(f"{made.unhinted} traces without a hint: the model only classifies and reads none")
    print_notices(notices)
    cost = "n/a" if made.cost is None else f"{number(made.cost, 4)} US$"
    rows = [("traces", str(made.rows)), *((f"apart: {reason}", str(n)) for reason, n in made.apart.items()), ("paid now", cost)]
    rows += [("status", made.run.status)] if made.run.status != "complete" else []
    print_table(Table("reasoning traces", ("", ""), tuple(rows)))
    for what, path in (("traces", made.path), ("kept apart", made.apart_path), ("run folder", made.run.path)):
        if path is not None:
            print(f"{what}: {path}")


def _exit_code(made: TracesMade) -> int:
    if made.run.status == "interrupted":
        return 130
    return 3 if made.run.status == "stopped" or made.run.never_heard else 0


def _check(args: argparse.Namespace) -> int:
    from guardeval.report.terminal import print_notices, print_table
    from guardeval.trace_check import REPORT, check_traces
    from guardeval.trace_tables import quality_markdown, quality_tables

    if args.action != "check":
        hint = did_you_mean(args.action, ["check"])
        raise ConfigError(f"guardeval traces: unknown action {args.action!r}{hint}; tasks are named with --task")
    if not args.file:
        raise ConfigError("guardeval traces check: no file: name the file of traces that is to be measured")
    made = [f"--{k}" for k in ("task", "hints", "n", "data", "max_cost", "batch", "dry_run") if getattr(args, k)]
    if made or getattr(args, "models", None):
        flag = made[0] if made else "--model"
        raise ConfigError(f"guardeval traces check: {flag} belongs to making traces; leave it out, or leave out `check`")
    found = check_traces(Path(args.file), solver=args.solver, policies=args.policies)
    print_notices(found.notices)
    for table in quality_tables(found):
        print_table(table)
    folder = Path(args.output or Path(args.file).expanduser().parent).expanduser()
    report = folder / REPORT
    _write_report(report, quality_markdown(found))
    print(f"report: {report}")
    return 0


def _write_report(path: Path, text: str) -> None:
    from guardeval.runs import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"{path.parent}: cannot be made: {e.strerror or e}; name another folder with -o") from e
    write_atomically(path, text.encode("utf-8", "replace"))
