"""``guardeval train TRAINER --data … --out DIR``: rows → a model folder that ``--model`` takes at once."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.cli.parser import Parser, add_include_path, whole_number
from guardeval.cli.plugin_flags import as_options, has_option
from guardeval.errors import ConfigError
from guardeval.finetuning.processes import is_main
from guardeval.registry import Registry

if TYPE_CHECKING:
    from guardeval.data import Sample

__all__ = ["configure", "execute"]


def configure(parser: Parser) -> None:
    parser.epilog = "every option of the trainer is a flag, too: `guardeval show TRAINER` lists them"
    parser.add_argument("trainer", metavar="TRAINER", help="linear, rsft, hs_dpo, distill: any `guardeval list trainers` shows")
    parser.add_argument(
        "--task", "--tasks", "-t", default="guardreasoner_train", metavar="T", help="training task (guardreasoner_train)"
    )
    what = "hub, sample, a path to rows, or a training file: traces or pairs (hub)"
    parser.add_argument("--data", default="hub", metavar="D", help=what)
    parser.add_argument("--out", "-o", metavar="DIR", help="the model folder to write; needed unless --dry_run")
    parser.add_argument(
        "--config", metavar="R", help="a recipe: options of the trainer by name (`guardeval list recipes`), or a .yaml"
    )
    parser.add_argument("-T", dest="options", action="append", default=[], metavar="K=V", help="option of the trainer")
    parser.add_argument("--limit", metavar="N", help="a seeded, stratified subset of N rows")
    parser.add_argument("--seed", metavar="N", help="of subsets, and of the trainer (0)")
    parser.add_argument("--dry_run", action="store_true", help="what would be trained: steps, memory; loads no weights")
    parser.add_argument("--rows", metavar="N", help="with --dry_run: plan for N rows, without data")
    add_include_path(parser)
    parser.set_defaults(rewrite=partial(as_options, parser=parser, kind="trainers", short="-T"))


def execute(args: argparse.Namespace) -> int:
    from guardeval.registry import parse_options

    _check(args)
    options = {**_recipe(args), **parse_options(args.options, "-T")}
    registry = Registry()
    if args.seed is not None and has_option(registry.load("trainers", args.trainer), "seed"):
        options = {"seed": args.seed, **options}
    trainer = registry.build("trainers", args.trainer, options)
    if args.dry_run and args.rows is not None:
        return _dry_run(trainer, args.trainer, _row_count(args.rows))
    rows = _rows(args, tuple(getattr(trainer, "takes", ("samples",))))
    if args.dry_run:
        return _dry_run(trainer, args.trainer, rows)
    folder = trainer.train(rows, Path(args.out))
    if is_main():  # of the processes that a launcher started
        print(f"model folder: {folder}\nuse it with: guardeval run --task wildguard --model {_usage(folder)}")
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.out is None and not args.dry_run:
        raise ConfigError("guardeval train: --out DIR is wanted: the model folder to write")
    if args.rows is not None and not args.dry_run:
        raise ConfigError("guardeval train: --rows is for --dry_run; --limit trains on fewer rows")


def _recipe(args: argparse.Namespace) -> dict[str, Any]:
    """The options that ``--config`` stands for; flags go before them."""
    from guardeval.finetuning.recipe import read_recipe

    if args.config is None:
        return {}
    recipe = read_recipe(args.config)
    if recipe.trainer != args.trainer:
        raise ConfigError(
            f"--config {args.config}: is a recipe for {recipe.trainer}, not for {args.trainer}: "
            f"guardeval train {recipe.trainer} --config {args.config}"
        )
    for note in recipe.notes:
        print(f"note: {note}", file=sys.stderr)
    return {**recipe.options, "recipe": args.config}


def _row_count(text: str) -> Any:
    from guardeval.finetuning.outline import RowCount

    return RowCount(whole_number(text, "guardeval train: --rows", least=1))


def _rows(args: argparse.Namespace, takes: tuple[str, ...]) -> Iterable[Any]:
    """What the trainer reads: a training file as it is, or as samples; else the rows of tasks."""
    from guardeval.training_rows import is_training_file, read_training_file

    path = Path(args.data).expanduser()
    if is_training_file(path):
        if args.limit is not None:
            raise ConfigError(
                f"guardeval train: --limit is for rows of tasks, and {path} is a training file, which is trained on whole; "
                "`guardeval prepare --n N` writes a smaller one"
            )
        found = read_training_file(path)
        if found.kind in takes:
            return found
        if found.kind == "traces" and "samples" in takes:
            return found.as_samples()
        raise ConfigError(f"guardeval train {args.trainer}: {path} holds {found.kind}, and it takes {', '.join(takes)}")
    if "samples" not in takes:
        if args.data not in ("hub", "sample") and not path.exists():
            raise ConfigError(f"guardeval train: --data {args.data}: no such file")
        if path.is_file():
            read_training_file(path)  # raises what is wrong with it
        raise ConfigError(
            f"guardeval train {args.trainer}: --data {args.data}: a file of {' or '.join(takes)} is wanted; `guardeval traces` "
            "and `guardeval prepare` write them"
        )
    return _task_rows(args)


def _task_rows(args: argparse.Namespace) -> Iterable[Sample]:
    from guardeval.task import TaskIndex

    tasks = TaskIndex(args.include_path).select(args.task).tasks
    limit = whole_number(args.limit, "guardeval train: --limit", least=1) if args.limit else None
    seed = whole_number(args.seed or "0", "guardeval train: --seed")
    rows = [task.open(args.data, limit=limit, seed=seed) for task in tasks]
    for task, found in zip(tasks, rows, strict=True):
        if found.notice:
            print(f"note: {task.name}: {found.notice}", file=sys.stderr)
        if not task.training:
            print(f"note: {task.name} is no training split: a guard trained on it cannot be measured on it", file=sys.stderr)
    # one task's rows go as they are: they can say what file they came from
    return rows[0] if len(rows) == 1 else _chain(rows)


def _chain(rows: list[Any]) -> Iterator[Sample]:
    for found in rows:
        yield from found


def _dry_run(trainer: Any, name: str, rows: Iterable[Any]) -> int:
    from guardeval.report.tables import Table
    from guardeval.report.terminal import print_table

    if not callable(getattr(trainer, "plan", None)):
        raise ConfigError(f"guardeval train {name}: --dry_run: this trainer foresees nothing; leave the flag out")
    planned = trainer.plan(rows)
    print_table(Table(f"{name}: what would be trained", ("", ""), tuple((k, str(v)) for k, v in planned.items())))
    return 0


def _usage(folder: Path) -> str:
    """The folder as an argument, and how the model was trained to be asked."""
    from guardeval.models import read_model_folder
    from guardeval.policies import VERBOSITIES

    card, words = read_model_folder(folder), [_as_argument(folder)]
    if card.get("solver"):
        words += ["--solver", str(card["solver"])]
        for key, value in (card.get("solver_args") or {}).items():
            said = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words += ["-S", shlex.quote(f"{key}={said}")]
    if (policies := card.get("policies")) is not None:
        words += ["--policies", str(policies) if policies in VERBOSITIES else _as_argument(folder / str(policies))]
    return " ".join(words)


def _as_argument(folder: Path) -> str:
    return shlex.quote(str(folder) if folder.is_absolute() else f"./{folder}")
