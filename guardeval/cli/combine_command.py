"""``guardeval combine RUN RUN …``: any vote, weight or cascade over finished runs; no model is asked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.cli.parser import Parser, whole_number
from guardeval.errors import ConfigError

if TYPE_CHECKING:
    from guardeval.combine import Gathered

__all__ = ["configure", "execute"]


def configure(parser: Parser) -> None:
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="run folders, a member each; or one ensemble's, to vote anew")
    add("--solver", default="ensemble", metavar="S", help="ensemble or cascade (ensemble)")
    add("-S", dest="solver_options", action="append", default=[], metavar="K=V", help="option of the solver: vote=any, low=0.3")
    add("--task", metavar="T", help="only this task of runs that hold several")
    add("--output_path", "-o", default="runs", metavar="DIR", help="where the new run folder goes (runs)")
    add("--fit", metavar="FILE", help="fit the members' weights, write them there, and vote with them")
    add("--share", metavar="X", help="with --fit: share of the prompts to fit on; the vote is on the others (0.5)")
    add("--seed", metavar="N", help="with --fit: of the split (0)")
    add("--grid", action="store_true", help="all votes and cascades side by side; no run is written")
    add(
        "--output",
        metavar="FILE",
        help="with --grid: write it there, too: .md, .json, or .svg (a picture a front: FILE_latency.svg, FILE_cost.svg)",
    )


def execute(args: argparse.Namespace) -> int:
    from guardeval.registry import parse_options

    options = parse_options(args.solver_options, "-S")
    _check_flags(args, options)
    if args.grid:
        return _grid(args, options)
    from guardeval.combine import combine_runs
    from guardeval.report.plain import printable
    from guardeval.report.terminal import print_results

    samples = None
    if args.fit:
        samples = _fit(args, options)
        options = {**options, "vote": "weighted", "weights": args.fit}
    done = combine_runs(args.runs, args.solver, options, output_path=args.output_path, task=args.task, samples=samples)
    print_results(done.results)
    print(printable(f"run folder: {done.path}"))
    return 3 if done.never_heard else 0


def _check_flags(args: argparse.Namespace, options: dict[str, Any]) -> None:
    """Raises :class:`ConfigError` for a flag or option that would do nothing here."""
    for flag in ("share", "seed"):
        if getattr(args, flag) is not None and not args.fit:
            raise ConfigError(f"guardeval combine: --{flag} goes with --fit FILE")
    if args.output and not args.grid:
        raise ConfigError("guardeval combine: --output goes with --grid; a combined run goes to --output_path")
    if len(args.runs) == 1 and args.fit:
        raise ConfigError("guardeval combine: --fit wants the members' runs, two or more")
    for i, run in enumerate(args.runs):
        if Path(run).resolve() in [Path(r).resolve() for r in args.runs[:i]]:
            raise ConfigError(f"{run}: is named twice: its guard would vote twice")
    asks = sorted(k for k in options if k.partition(".")[0] == "inner")
    if asks:
        raise ConfigError(
            f"guardeval combine: -S {asks[0]}=… says how members are asked, and no model is asked here; leave it out"
        )


def _one_task(args: argparse.Namespace) -> Gathered:
    from guardeval.combine import gather
    from guardeval.runs import open_run

    found = gather([open_run(r) for r in args.runs], args.task)
    if len(found) > 1:
        raise ConfigError(
            f"guardeval combine: the runs share several tasks: name one with --task: {', '.join(g.task for g in found)}"
        )
    return found[0]


def _fit(args: argparse.Namespace, options: dict[str, Any]) -> list[str]:
    """Fit on a share of the prompts and return the ids of the other samples."""
    from guardeval.combine import said_of
    from guardeval.halves import split_prompts
    from guardeval.report.plain import printable
    from guardeval.runs import results_json, write_atomically
    from guardeval.vote_weights import fit_weights

    if args.solver != "ensemble" or options.get("vote", "weighted") != "weighted" or "weights" in options:
        raise ConfigError(
            "guardeval combine: --fit makes the weights of --solver ensemble -S vote=weighted; leave other votes out"
        )
    share, seed = _share(args.share or "0.5"), whole_number(args.seed or "0", "guardeval combine: --seed")
    gathered = _one_task(args)
    members = said_of(gathered)
    first = next(iter(members.values()))
    taken, left = split_prompts(first, share, seed)
    if not len(left):
        raise ConfigError(
            f"guardeval combine: --share {args.share}: all {len(taken)} samples are fitted on, none is left to vote on"
        )
    weights = fit_weights(members, taken, gathered.task)
    write_atomically(Path(args.fit), results_json(weights.as_dict()))
    for name, (right, heard) in weights.right.items():
        print(f"{printable(name)}: weight {weights.weights[name]:.3f}, right {right} of {heard} heard")
    print(printable(f"weights: {args.fit}, fitted on {len(taken)} samples; the vote is on the other {len(left)}") + "\n")
    return [first.ids[i] for i in left]


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ConfigError(f"guardeval combine: --share {text}: a share between 0 and 1 is wanted, e.g. 0.5")
    return share


def _grid(args: argparse.Namespace, options: dict[str, Any]) -> int:
    if options or args.fit:
        raise ConfigError("guardeval combine: --grid tries every vote and band by itself: leave -S and --fit out")
    form = Path(args.output).suffix if args.output else ""
    if form not in ("", ".md", ".json", ".svg"):
        raise ConfigError(f"guardeval combine: --output {args.output}: a file named .md, .json or .svg is wanted")
    from guardeval.grid import grid
    from guardeval.report.grid_table import grid_table, write_grid
    from guardeval.report.plain import printable
    from guardeval.report.terminal import print_table

    gathered = _one_task(args)
    found = grid(gathered)
    print_table(grid_table(gathered.task, found))
    if args.output:
        for path in write_grid(gathered.task, found, Path(args.output)):
            print(printable(f"written: {path}"))
    return 0
