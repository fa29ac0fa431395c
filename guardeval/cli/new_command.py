"""``guardeval new KIND NAME``: an installable package with a small working plugin, its tests, and how to try it."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from guardeval.cli.parser import Parser

__all__ = ["configure", "execute"]

_KINDS = "task, solver, scorer, model, trainer, optimizer"


def configure(parser: Parser) -> None:
    parser.add_argument("kind", metavar="KIND", help=_KINDS)
    parser.add_argument("name", metavar="NAME", help="what the plugin is called on the command line")
    parser.add_argument("--out", "-o", metavar="DIR", help="a new or empty folder (guardeval-KIND-NAME)")


def execute(args: argparse.Namespace) -> int:
    from guardeval.newcomers.package import write_package

    made = write_package(args.kind, args.name, None if args.out is None else Path(args.out))
    place = shlex.quote(str(made.folder) if made.folder.is_absolute() else f"./{made.folder}")
    print(f"written: {made.names.distribution}, in {made.folder}")
    for file in made.files:
        print(f"  {file}")
    print(f"install it with: pip install -e {place}\nthen: {made.trial}\ntest it with: pytest {place}")
    return 0
