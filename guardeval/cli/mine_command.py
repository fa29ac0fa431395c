"""``guardeval mine RUN … -o FILE``: the samples that members disagree on most, as data that ``--data`` takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from guardeval.cli.parser import Parser, whole_number
from guardeval.cli.run_folders import without_killed
from guardeval.errors import ConfigError

if TYPE_CHECKING:
    from guardeval.mining import Mined

__all__ = ["configure", "execute"]


def configure(parser: Parser) -> None:
    what = "run folders, a member each; one run whose samples hold votes; or a file of scores (.jsonl, .csv, also .gz)"
    parser.add_argument("runs", nargs="+", metavar="RUN", help=what)
    parser.add_argument("--output", "-o", required=True, metavar="FILE", help="mined rows: .json or .jsonl (also .gz)")
    parser.add_argument("--top", metavar="SHARE", help="of the samples considered, rounded up (0.2 by disagreement)")
    parser.add_argument("--n", metavar="N", help="at most so many")
    parser.add_argument("--min_score", metavar="X", help="only samples that score at least X")
    parser.add_argument("--rule", default="disagreement", metavar="R", help="disagreement, mixed or label_audit (disagreement)")
    parser.add_argument("--task", metavar="T", help="of runs that hold several")
    parser.add_argument("--members", metavar="A,B", help="columns of a file of scores (all that hold numbers)")
    parser.add_argument("--confidence", default="0.8", metavar="X", help="label_audit: least mean of |2p - 1| (0.8)")
    parser.add_argument("--pairs", metavar="FILE", help="also write right and wrong answers of samples that have both")
    parser.add_argument("--pair_rule", default="longest", metavar="P", help="which answers: longest or random (longest)")
    parser.add_argument("--seed", default="0", metavar="N", help="of random pairs (0)")
    parser.add_argument("--reviews", metavar="FILE", help="label_audit: marks of a review (those in the run folders)")


def execute(args: argparse.Namespace) -> int:
    from guardeval.mining import mine
    from guardeval.report.terminal import print_table

    found = mine(
        without_killed(args.runs),
        Path(args.output),
        top=_number(args.top, "--top"),
        n=None if args.n is None else whole_number(args.n, "guardeval mine: --n", 1),
        min_score=_number(args.min_score, "--min-score"),
        rule=args.rule,
        task=args.task,
        members=[m.strip() for m in args.members.split(",")] if args.members else None,
        confidence=_number(args.confidence, "--confidence") or 0.0,
        pairs=args.pairs,
        pair_rule=args.pair_rule,
        seed=whole_number(args.seed, "guardeval mine: --seed"),
        reviews=args.reviews,
    )
    from guardeval.report.tables import Table

    print_table(
        Table(f"{found.rows} of {found.considered} samples: {found.path}", ("", ""), tuple(_lines(found)), _notes(found))
    )
    return 0


def _number(text: str | None, flag: str) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"guardeval mine: {flag} {text}: a number is wanted") from None


def _lines(found: Mined) -> list[tuple[str, str]]:
    from guardeval.report.tables import number

    lines = [
        ("rule", found.rule),
        ("members", ", ".join(found.members)),
        ("least score kept", number(found.threshold, 6)),
        ("pairs of members with both probabilities", number(found.share_of_pairs_with_both)),
    ]
    counts = {
        "same score, left out (later ids)": found.ties_left_out,
        "members counted as 0 or 1": found.substituted,
        "fewer than two members heard": found.apart,
        "without a gold label": found.unlabelled,
        "not in all runs": found.left_out,
    }
    lines += [(what, f"{count} samples") for what, count in counts.items() if count]
    if found.pairs_path is not None:
        lines.append(("pairs of answers", f"{found.pairs}: {found.pairs_path}"))
    if found.label_errors is not None:
        e = found.label_errors.errors
        interval = f" [{number(e.low)}, {number(e.high)}]" if e.n else ""
        reviewed = e.n + found.label_errors.undecided
        lines.append(("labels reviewed of those listed", f"{reviewed} of {found.rows}"))
        lines.append(("wrong labels among those listed and reviewed", f"{number(e.value)}{interval} n={e.n}"))
    return lines


def _notes(found: Mined) -> tuple[str, ...]:
    notes = []
    if found.reviews is not None and found.reviews.found:
        notes.append(f"reviews found in the run folders are used: {', '.join(map(str, found.reviews.files))}")
    if found.apart_path is not None:
        notes.append(f"samples with fewer than two members heard are listed apart: {found.apart_path}")
    if found.label_errors is not None and found.label_errors.undecided:
        notes.append(f"{found.label_errors.undecided} samples are left out of the rate: as many reviewers say one as the other")
    if found.rule == "disagreement" and found.threshold == 0:
        notes.append("some kept samples score 0: nobody disagrees about them; --min_score leaves them out")
    if found.rule == "label_audit":
        notes.append("members that agree may be wrong together: only reviewed rows say how many labels are wrong")
    return tuple(notes)
