"""``guardeval sample-errors RUN -n 100``: a stratified, seeded set of misjudged samples to review."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from guardeval.cli.parser import Parser, whole_number
from guardeval.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from guardeval.runs import StoredRun, TaskRecord

__all__ = ["configure", "execute"]

_WHO = "guardeval sample-errors"


def configure(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("-n", "--n", default="100", metavar="N", help="how many samples (100)")
    parser.add_argument("--seed", default="0", metavar="N", help="of the draw (0)")
    parser.add_argument("--mode", metavar="M", help="only over-flagged, missed, policy_confusion, unreadable or edge")
    parser.add_argument("--task", metavar="T", help="the task, of a run that holds several")
    parser.add_argument("--margin", default="0.2", metavar="X", help="edge cases: |2·score − 1| < X (0.2)")
    parser.add_argument("--output", "-o", default="review.jsonl", metavar="FILE", help="rows to review (review.jsonl)")


def execute(args: argparse.Namespace) -> int:
    n, seed = whole_number(args.n, f"{_WHO}: -n", least=1), whole_number(args.seed, f"{_WHO}: --seed")
    from guardeval.error_sample import draw_errors, review_rows
    from guardeval.failures import mode_named
    from guardeval.report.failures import drawn_table, is_redacted
    from guardeval.report.plain import printable
    from guardeval.report.terminal import print_table
    from guardeval.runs import open_run, write_atomically

    mode = None if args.mode is None else mode_named(args.mode)
    margin = _share(args.margin)
    run = open_run(args.run)
    task = _task(run, args.task)
    judged = task.judgements()
    sample = draw_errors(judged, n, seed, mode, margin)
    if not sample.there:
        what = "no misjudged sample" if mode is None else f"no sample of mode {mode.value!r}"
        print(printable(f"{task.name}: {what} among {len(judged)}: nothing was written"))
        return 0
    rows = review_rows(judged, sample, task.name, redacted=is_redacted(run), margin=margin)
    write_atomically(Path(args.output).expanduser(), b"".join(rows))
    print_table(drawn_table(sample, task.name))
    if sample.there < n:
        print(f"{n} were asked for and there are {sample.there}: all were taken")
    if is_redacted(run):
        print("the run is redacted: ids only, no text")
    again = f"guardeval review {shlex.quote(args.run)} --samples {shlex.quote(args.output)}"
    print(printable(f"written: {args.output}; review it: {again}"))
    return 0


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{_WHO}: --margin {text}: a number from 0 to 1 is wanted, e.g. 0.2") from None


def _task(run: StoredRun, name: str | None) -> TaskRecord:
    held = {t.name: t for t in run.tasks}
    if name is None and len(held) == 1:
        return run.tasks[0]
    if name is None:
        raise ConfigError(f"{_WHO}: {run.name} holds {', '.join(held)}: say which by --task")
    if name not in held:
        raise ConfigError(f"{_WHO}: {run.name} holds no task {name!r}{did_you_mean(name, held)}")
    return held[name]
