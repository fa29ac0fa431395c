"""argparse with this project's manners: snake_case and kebab-case alike, errors that name the nearest flag."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn

from guardeval.errors import ConfigError, did_you_mean

__all__ = ["ModelAction", "ModelOptionAction", "Parser", "add_include_path", "parse", "whole_number"]


class Parser(argparse.ArgumentParser):
    """Raises :class:`ConfigError` where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; `{self.prog} --help` explains the flags")

    def flags(self) -> list[str]:
        return [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]


def parse(command: str, summary: str, configure: Callable[[Parser], None], words: Sequence[str]) -> argparse.Namespace | None:
    """The parsed words; None when ``--help`` was asked and printed."""
    parser = Parser(
        prog=f"guardeval {command}", description=summary, allow_abbrev=False, add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("-h", "--help", action="store_true", help="show this and stop")
    configure(parser)
    words = [_snake(w) for w in words]
    rewrite = parser.get_default("rewrite")
    if "-h" in words or "--help" in words:
        print(parser.format_help())
        return None
    read = parser.parse_known_intermixed_args if parser.get_default("intermixed") else parser.parse_known_args
    parsed, unknown = read(rewrite(words) if rewrite else words)
    if unknown:
        flag = unknown[0].partition("=")[0]
        raise ConfigError(f"guardeval {command}: unknown argument {unknown[0]!r}{did_you_mean(flag, parser.flags())}")
    _refuse_empty(parser, parsed)
    return parsed


def _refuse_empty(parser: Parser, parsed: argparse.Namespace) -> None:
    """An empty value, or a list of no names, is a variable that was not set (``--samples "$IDS"``, ``--task "$A,$B"``), never
    "all of them"."""
    for action in parser._actions:
        given = getattr(parsed, action.dest, None)
        empty = [v for v in (given if isinstance(given, list) else [given]) if isinstance(v, str) and not v.strip(" \t\n,")]
        if empty:
            spellings = sorted(action.option_strings, key=lambda f: not f.startswith("--")) or [str(action.metavar)]
            said = f"{spellings[0]} {empty[0]!r}" if empty[0].strip() else spellings[0]
            raise ConfigError(f"{parser.prog}: {said} is empty; give a value, or leave it out")


def _snake(word: str) -> str:
    """``--max-cost=1`` → ``--max_cost=1``; values and short flags stay as they are."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


class ModelAction(argparse.Action):
    """Each ``--model`` starts a model; options given later belong to it."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: object, option_string: str | None = None) -> None:
        if not str(values).strip():
            raise ConfigError("guardeval run: --model is empty; give a value, or leave it out")
        namespace.models = [*(getattr(namespace, "models", None) or []), (str(values), [])]


class ModelOptionAction(argparse.Action):
    """``-M k=v`` belongs to the model before it; before any model, to all."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: object, option_string: str | None = None) -> None:
        models = getattr(namespace, "models", None)
        if models:
            models[-1][1].append(str(values))
        else:
            namespace.model_options = [*(getattr(namespace, "model_options", None) or []), str(values)]


def add_include_path(parser: Parser) -> None:
    what = "a folder with more tasks; repeatable"
    parser.add_argument("--include_path", action="append", default=[], metavar="DIR", help=what)


def whole_number(text: str, flag: str, least: int = 0) -> int:
    """The number behind a flag. Raises :class:`ConfigError` for anything else, and below ``least``."""
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:19]) or len(text) > 18:
        raise ConfigError(f"{flag} {text}: a whole number{f' from {least}' if least else ''} is wanted")
    return int(text)
