"""``guardeval data show|check|pull|leakage``: the rows behind a task, and how much of one set of rows stands in another."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from guardeval.cli.parser import Parser, add_include_path, whole_number
from guardeval.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from guardeval.data import Sample
    from guardeval.task import Task

__all__ = ["configure", "execute"]


_ACTIONS = ("show", "check", "pull", "leakage")


def configure(parser: Parser) -> None:
    parser.epilog = (
        "leakage takes files of rows, TASK=PATH and tasks: guardeval data leakage train.json --against wildguard=test.json"
    )
    parser.add_argument("action", metavar="ACTION", help="show, check, pull or leakage")
    parser.add_argument("sets", nargs="*", metavar="FILE|TASK=PATH|TASK", help="leakage: the rows to look at")
    parser.add_argument("--task", "--tasks", "-t", metavar="T", help="names, groups, tags, globs; required but for leakage")
    parser.add_argument("--data", default="hub", metavar="D", help="hub, sample, or a path to rows (hub)")
    parser.add_argument("--n", default="3", metavar="N", help="rows to show (3)")
    parser.add_argument("--to", default="data", metavar="DIR", help="where pulled rows go (data)")
    add_include_path(parser)
    add_against(parser, "leakage: ")
    parser.add_argument("--kind", default="all", metavar="K", help="leakage: exact, normalised, ngram, near or all (all)")
    parser.add_argument("--output", "-o", metavar="FILE", help="leakage: .json (with ids) or .md")
    parser.set_defaults(rewrite=partial(_sets_first, parser=parser))


def add_against(parser: Parser, command: str = "") -> None:
    """The flags that say which sets rows are compared with, and how."""
    what = f"{command}sets to compare with: TASK=PATH, files, tasks; registered tasks at hand are, too"
    parser.add_argument("--against", nargs="+", action="extend", default=[], metavar="TASK=PATH", help=what)
    parser.add_argument("--only_against", action="store_true", help=f"{command}leave registered tasks out that are not named")
    parser.add_argument("--data_dir", metavar="DIR", help=f"{command}rows of registered tasks, as `data pull` writes them")
    parser.add_argument("--threshold", default="0.7", metavar="X", help=f"{command}least similarity of near-duplicates (0.7)")
    parser.add_argument("--ngram", default="13", metavar="N", help=f"{command}words in a row that count as overlap (13)")


def similarity_of(text: str, flag: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{flag} {text}: a similarity above 0, at most 1, is wanted, e.g. 0.7") from None


def _sets_first(words: Sequence[str], parser: Parser) -> list[str]:
    """The action, the sets, then the flags: argparse gives an optional list its words only where they all stand together."""
    flags = {flag: action for action in parser._actions for flag in action.option_strings}
    first: list[str] = []
    rest: list[str] = []
    taking = 0
    for word in words:
        if word.startswith("-") and word != "-":
            action = flags.get(word.partition("=")[0])
            takes_many = action is not None and action.nargs == "+"
            taking = 0 if "=" in word or action is None or action.nargs == 0 else len(words) if takes_many else 1
            rest.append(word)
        elif taking:
            taking -= 1
            rest.append(word)
        else:
            first.append(word)
    return [*first, *rest]


def execute(args: argparse.Namespace) -> int:
    from guardeval.task import TaskIndex

    if args.action not in _ACTIONS:
        raise ConfigError(f"guardeval data: unknown action {args.action!r}{did_you_mean(args.action, _ACTIONS)}")
    if args.action == "leakage":
        return _leakage(args)
    if args.sets:
        raise ConfigError(f"guardeval data {args.action}: unknown argument {args.sets[0]!r}; tasks are named with --task")
    if args.task is None:
        raise ConfigError(f"guardeval data {args.action}: --task is wanted; `guardeval list tasks` shows the names")
    n = whole_number(args.n, "guardeval data show: --n", least=1)
    tasks = TaskIndex(args.include_path).select(args.task).tasks
    if args.action == "pull":
        from guardeval.hub import pull
        from guardeval.report.plain import printable

        for task in tasks:
            for pulled in pull(task, Path(args.to)):
                print(printable(f"{task.name}: {pulled}"))
        return 0
    if args.action == "check":
        reports = [task.check(args.data) for task in tasks]
        print("\n\n".join(r.as_text() for r in reports))
        return 1 if any(r.problems for r in reports) else 0
    for i, task in enumerate(tasks):
        print(("\n" if i else "") + task.describe())
        _show(task, args.data, n)
    return 0


def _leakage(args: argparse.Namespace) -> int:
    from guardeval.leakage import KINDS, leakage
    from guardeval.leakage_report import check_output, print_leakage, write_leakage
    from guardeval.prompt_sets import registered_prompts, sets_named
    from guardeval.report.plain import printable
    from guardeval.task import TaskIndex

    named = [*args.sets, *([args.task] if args.task else [])]
    if not named:
        raise ConfigError("guardeval data leakage: name files of rows, TASK=PATH, or tasks whose overlap is looked for")
    out = None if args.output is None else check_output(Path(args.output))
    index = TaskIndex(args.include_path)
    sets, against = sets_named(named, index), sets_named(args.against, index)
    known = {s.task for s in (*sets, *against) if s.task is not None}
    folder = None if args.data_dir is None else Path(args.data_dir).expanduser()
    registered, missing = registered_prompts(index, known, folder, wanted=not args.only_against)
    found = leakage(
        sets,
        [*against, *registered],
        KINDS if args.kind == "all" else (args.kind,),
        similarity_of(args.threshold, "guardeval data leakage: --threshold"),
        whole_number(args.ngram, "guardeval data leakage: --ngram", least=2),
        missing,
    )
    print_leakage(found)
    if out is not None:
        print(printable(f"written: {write_leakage(found, out)}"))
    return 0


def _show(task: Task, data: str, n: int) -> None:
    from itertools import islice

    from guardeval.report.plain import printable

    rows = task.open(data)
    print("\n" + printable(f"rows from {rows.source}{f': {rows.notice}' if rows.notice else ''}"))
    for sample in islice(rows, n):
        print("\n".join(_sample_lines(sample, task)))


def _sample_lines(sample: Sample, task: Task) -> list[str]:
    """Control characters are shown as what they are, never sent to the terminal."""
    from guardeval.report.plain import clipped, printable

    label = sample.labels.get(task.target)
    word = "unlabelled" if label is None else task.target.word(label)
    unknown = sorted(set(_policies(task)) - sample.known_policies)
    facts = [
        word,
        f"policies: {', '.join(sorted(sample.policies)) or 'none'}",
        *([f"not settled by the labels: {', '.join(unknown)}"] if unknown else []),
        *([f"category: {sample.category}"] if sample.category else []),
    ]
    lines = ["", printable(f"[{sample.id}] {'; '.join(facts)}"), f"  prompt:   {clipped(printable(sample.prompt), 300)}"]
    if sample.response is not None:
        lines.append(f"  response: {clipped(printable(sample.response), 300)}")
    return lines


def _policies(task: Task) -> tuple[str, ...]:
    from guardeval.policies import POLICIES

    return tuple(POLICIES) if task.taxonomy is not None else ()
