"""``guardeval experiment list|show|run``: the programme of experiments, by number, range or phase."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from guardeval.cli.parser import Parser, whole_number
from guardeval.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from guardeval.broker import Estimate
    from guardeval.programme.data_choice import DataChoice
    from guardeval.programme.model_sets import ModelSet
    from guardeval.programme.programme import Programme

__all__ = ["configure", "execute"]

_ACTIONS = ("list", "show", "run")
_EXAMPLES = """
examples:
  guardeval experiment list
  guardeval experiment show 25 --model_set ollama
  guardeval experiment run 20..30 --data sample
  guardeval experiment run 44 --data wildguard=FILE,toxicchat=FILE
  guardeval experiment run 26..30 --model_set replay -D generations=DIR --data aegis=FILE,xstest_response=FILE
"""


def configure(parser: Parser) -> None:
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("action", metavar="ACTION", help="list, show or run")
    add("which", nargs="*", metavar="N", help="21, 20..30, 21,25, phase1, all; of show, one")
    add("--model_set", default="embedded", metavar="S", help="ollama, embedded, replay, or a YAML file of yours (embedded)")
    add("-D", dest="options", action="append", default=[], metavar="K=V", help="option of the model set: base_url, generations")
    add(
        "--data",
        action="append",
        metavar="D",
        help="hub, sample, a path, TASK=PATH (by comma or repeated), or a YAML file (hub)",
    )
    add("--task", metavar="A,B", help="benchmarks in place of the experiments' own")
    add("--limit", "-L", metavar="N", help="a seeded, stratified subset of N samples a task")
    add("--seed", default="0", metavar="N", help="of subsets, halves and samples for review (0)")
    add("--output_path", "-o", default="experiments", metavar="DIR", help="runs, reports and programme.json (experiments)")
    add("--max_connections", metavar="N", help="requests under way at once at most")
    add("--cache", metavar="FILE", help="the response cache to use")
    add("--no_cache", action="store_true", help="neither read nor write the response cache")
    add("--max_cost", metavar="USD", help="stop cleanly before spending more, over all experiments")
    add("--dry_run", action="store_true", help="count what would still be asked; ask nothing")
    add("--quiet", "-q", action="store_true", help="say less")


def execute(args: argparse.Namespace) -> int:
    if args.action not in _ACTIONS:
        raise ConfigError(f"guardeval experiment: unknown action {args.action!r}{did_you_mean(args.action, _ACTIONS)}")
    if args.action == "list":
        print("\n".join(experiment_lines()))
        return 0
    if not args.which:
        raise ConfigError(f"guardeval experiment {args.action}: which? a number, a range or a phase, e.g. 21, 20..30, phase1")
    return _show(args) if args.action == "show" else _run(args)


def experiment_lines() -> list[str]:
    """Number, phase and title of every experiment."""
    from guardeval.cli.list_command import aligned
    from guardeval.programme.catalogue import catalogue

    rows = [(str(e.number), f"phase {e.phase}", e.title) for e in catalogue().values()]
    return aligned(rows)


def _show(args: argparse.Namespace) -> int:
    from guardeval.programme.catalogue import select
    from guardeval.programme.shown import shown

    models, data, tasks = _chosen(args)
    print("\n\n".join("\n".join(shown(e, models, data, tasks)) for e in select(args.which)))
    return 0


def _chosen(args: argparse.Namespace) -> tuple[ModelSet, DataChoice, tuple[str, ...]]:
    from guardeval.programme.data_choice import DataChoice
    from guardeval.programme.model_sets import load_model_set
    from guardeval.registry import parse_options

    tasks = tuple(t.strip() for t in (args.task or "").split(",") if t.strip())
    return load_model_set(args.model_set, parse_options(args.options, "-D")), DataChoice.read(args.data or ["hub"]), tasks


def _run(args: argparse.Namespace) -> int:
    from guardeval.programme.programme import plan_experiments, run_experiments
    from guardeval.registry import parse_options

    given = {
        "model_set": args.model_set,
        "options": parse_options(args.options, "-D"),
        "data": args.data or ["hub"],
        "task": args.task or "",
        "limit": None if args.limit is None else whole_number(args.limit, "guardeval experiment: --limit", 1),
        "seed": whole_number(args.seed, "guardeval experiment: --seed"),
        "output_path": args.output_path,
        "cache": args.cache,
        "no_cache": args.no_cache,
        "max_connections": None
        if args.max_connections is None
        else whole_number(args.max_connections, "guardeval experiment: --max_connections", 1),
        "max_cost": None if args.max_cost is None else _dollars(args.max_cost),
    }
    if args.dry_run:
        _print_plan(plan_experiments(args.which, **given))
        return 0
    from guardeval.cli.progress import progress_for
    from guardeval.report.plain import printable

    say = (lambda _: None) if args.quiet else (lambda text: print(printable(text), flush=True))
    done = run_experiments(args.which, progress=progress_for(quiet=args.quiet), say=say, **given)
    _print(done)
    return _exit_code(done)


def _dollars(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not amount > 0:
        raise ConfigError(f"guardeval experiment: --max_cost {text}: an amount of US dollars above 0 is wanted")
    return amount


def _exit_code(done: Programme) -> int:
    if done.status == "interrupted":
        return 130
    unheard = done.never_heard or done.status == "stopped"
    return 3 if unheard or any(f.status != "done" for f in done.findings if f.lacks_systems) else 0


def _print_plan(plans: Mapping[str, Estimate | str]) -> None:
    from guardeval.report.plain import printable
    from guardeval.report.terminal import print_plan

    known = {name: p for name, p in plans.items() if not isinstance(p, str)}
    if known:
        print_plan(known)
    else:
        print("dry run: nothing is left to be asked")
    for name, why in plans.items():
        if isinstance(why, str):
            print(printable(f"missing: {name}: {why}"))


def _print(done: Programme) -> None:
    from guardeval.programme.reports import measured_tables, settled
    from guardeval.report.plain import printable
    from guardeval.report.terminal import print_notices, print_table

    print()
    print_notices(done.notices)
    for table in measured_tables(settled(done.findings), _HEADLINE):
        if table.rows:
            print_table(table)
    for found in done.findings:
        for missing in found.missing:
            print(printable(f"missing: experiment {found.experiment}: {missing}"))
    for path in [*done.reports, *(done.folder / f for found in done.findings for f in found.files)]:
        print(f"written: {path}")
    now, ever = done.asked, done.counters
    counts = ", ".join(f"{now.get(name, 0):,} {name}" for name in ("asked", "sent", "cached"))
    print(f"requests: {counts}; over all commands: {ever.get('sent', 0):,} sent, {ever.get('distinct', 0):,} distinct")
    if done.status != "complete":
        print(f"{done.status}: the same command goes on from here")


_HEADLINE = ("accuracy", "balanced_accuracy", "policy_exact_match", "overflagging")
