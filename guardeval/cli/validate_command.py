"""``guardeval validate``: load what is installed or named and say what is wrong with it; exit code 1 if anything is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from guardeval.cli.parser import Parser, add_include_path
from guardeval.cli.validate_family import configure_family, execute_family
from guardeval.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from guardeval.validation import Checked

__all__ = ["configure", "execute"]

_EXAMPLES = """
  (nothing)              every task and every plugin that is installed
  task NAME|FILE|DIR …   tasks, each file to its end: file, line and column of every problem, then every row
  plugin NAME …          plugins: a name, kind/NAME, a distribution, or package.module:Class
  family NAME --model M  a guard family's prompts through a live tokenizer or server: the same, or drift with its place
"""


def configure(parser: Parser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("subject", nargs="?", metavar="SUBJECT", help="task, plugin or family; without one, all that is there")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which")
    parser.add_argument("--task", "--tasks", "-t", metavar="T", help="as `validate task T`")
    parser.add_argument(
        "--data", metavar="D", help="rows to read: sample, hub, or a path (a task's own files, else its sample)"
    )
    add_include_path(parser)
    configure_family(parser)
    parser.set_defaults(intermixed=True)


def execute(args: argparse.Namespace) -> int:
    subjects: dict[str, Callable[[argparse.Namespace], int]] = {"task": _tasks, "plugin": _plugins, "family": execute_family}
    if args.subject is None:
        return _all(args) if args.task is None else _tasks(args)
    subject = args.subject if args.subject in subjects else args.subject.removesuffix("s")
    if subject not in subjects:
        raise ConfigError(f"guardeval validate: unknown subject {args.subject!r}{did_you_mean(args.subject, subjects)}")
    if not args.names and not (subject == "task" and args.task):
        raise ConfigError(f"guardeval validate {subject}: which? name at least one, or leave {subject!r} out to check all")
    return subjects[subject](args)


def _all(args: argparse.Namespace) -> int:
    from guardeval.validation import validate_plugins, validate_tasks

    tasks, plugins = validate_tasks(args.include_path, None, args.data), validate_plugins()
    return _told(tasks.joined(plugins), f"{tasks.checked} tasks, {plugins.checked} plugins")


def _tasks(args: argparse.Namespace) -> int:
    from pathlib import Path

    from guardeval.validation import Checked, validate_folder, validate_tasks

    folders = [n for n in args.names if Path(n).is_dir()]
    named = [*(n for n in args.names if n not in folders), *([args.task] if args.task else [])]
    found = validate_tasks(args.include_path, ",".join(named), args.data) if named else Checked()
    for folder in folders:
        found = found.joined(validate_folder(folder, args.include_path, args.data))
    return _told(found, f"{found.checked} tasks")


def _plugins(args: argparse.Namespace) -> int:
    from guardeval.validation import validate_named

    found = validate_named(args.names)
    return _told(found, f"{found.checked} plugin{'' if found.checked == 1 else 's'}")


def _told(checked: Checked, what: str) -> int:
    from guardeval.report.plain import printable

    found = list(dict.fromkeys(checked.found))
    for problem in found:
        print(f"problem: {printable(problem)}")
    for note in checked.notes:
        print(f"note: {printable(note)}")
    print(f"{what} checked, {len(found)} problem{'' if len(found) == 1 else 's'}")
    return 1 if found else 0
