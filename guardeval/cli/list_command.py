"""``guardeval list KIND``: what is installed, without importing any of it.

What can be seen to be broken is told after all others, on stderr, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from guardeval.cli.parser import Parser, add_include_path
from guardeval.errors import ConfigError, GuardevalError, did_you_mean
from guardeval.registry import KINDS, Registry

__all__ = ["aligned", "configure", "execute"]

_ALSO = ("experiments", "runs", "policies", "recipes")


def configure(parser: Parser) -> None:
    parser.add_argument("kind", nargs="?", metavar="KIND", help=", ".join((*KINDS, *_ALSO)))
    add_include_path(parser)
    parser.add_argument("--output_path", "-o", default="runs", metavar="DIR", help="where to look for runs (runs)")


def execute(args: argparse.Namespace) -> int:
    if args.kind is None:
        raise ConfigError(f"guardeval list: of what? one of {', '.join((*KINDS, *_ALSO))}")
    kinds = (*KINDS, *_ALSO, "policy")
    kind = args.kind if args.kind in kinds else args.kind + "s"
    if kind not in kinds:
        raise ConfigError(f"guardeval list: unknown kind {args.kind!r}{did_you_mean(args.kind, (*KINDS, *_ALSO))}")
    problems: list[str] = []
    if kind == "tasks":
        lines = _tasks(args.include_path, problems)
    elif kind in ("policies", "policy"):
        lines = _policies()
    elif kind == "runs":
        lines = _runs(args.output_path)
    elif kind == "recipes":
        lines = _recipes()
    elif kind == "experiments":
        from guardeval.cli.experiment_command import experiment_lines

        lines = experiment_lines()
    else:
        lines = _plugins(kind, problems)
    print("\n".join(lines))
    _tell(problems)
    return 1 if problems else 0


def _tell(problems: Sequence[str]) -> None:
    from guardeval.report.plain import printable

    for problem in problems:
        print(f"problem: {printable(problem)}", file=sys.stderr)


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows in columns, two spaces apart; the last column as long as it is."""
    from guardeval.report.plain import printable, width

    shown = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(width, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(c + " " * (w - width(c)) for c, w in zip(row, widths, strict=True)).rstrip() for row in shown]


def _plugins(kind: str, problems: list[str]) -> list[str]:
    from guardeval.cli.about import about
    from guardeval.plugin_source import plain_problem

    rows = []
    registry = Registry()
    clashes = registry.clashes(kind)
    for name, entry in registry.entries(kind).items():
        owner = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
        ours = entry.dist is not None and entry.dist.name == "guardeval"
        what = about(entry) or entry.value
        if name in clashes:
            rows.append((name, "registered twice: cannot be used"))
            continue
        rows.append((name, what if ours else f"{what} ({owner})"))
        problem = None if ours else plain_problem(kind, entry)
        problems += [problem] if problem else []
    problems += [*registry.unreadable(), *clashes.values()]
    if kind == "models":
        from guardeval.registered_models import registered_models

        rows += [(m.name, f"registered: {m.folder}") for m in registered_models().values()]
    return aligned(rows) or [f"no {kind} installed"]


def _tasks(include_path: list[str], problems: list[str]) -> list[str]:
    from guardeval.task import TaskIndex

    index = TaskIndex(include_path)
    entries = sorted(index.entries().values(), key=lambda e: (e.kind != "task", e.kind, e.name))
    problems += index.problems
    listed = [(e.name, e.kind, "cannot be used" if e.name in index.unusable else e.title) for e in entries]
    return aligned([*listed, *((name, "task", title) for name, title in index.sourced().items())])


def _policies() -> list[str]:
    from guardeval.policies import POLICIES, VERBOSITIES

    return aligned([(name, f"at {', '.join(VERBOSITIES)}: guardeval show {name} --policies …") for name in POLICIES])


def _recipes() -> list[str]:
    from guardeval.finetuning.recipe import read_recipe, recipe_names

    return aligned([(r.name, r.trainer, r.title) for r in map(read_recipe, recipe_names())])


def _runs(folder: str) -> list[str]:
    from guardeval.runs import find_runs

    return aligned([(str(path), *_run(path)) for path in find_runs(Path(folder))]) or [f"no run in {folder}"]


def _run(path: Path) -> tuple[str, str]:
    """Status, and samples by task. A damaged run does not hide the others."""
    from guardeval.runs import open_run

    try:
        run = open_run(path, samples=False)
    except GuardevalError as e:
        return "damaged", str(e)
    counts = ", ".join(f"{t.name} {t.about.get('samples', '?')}" for t in run.tasks)
    return str(run.record["record"].get("status", "cut off")), counts
