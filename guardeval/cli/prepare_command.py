"""``guardeval prepare SOURCE[=RATIO] … -o DIR``: training files, split by cluster and free of the rows of test sets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from guardeval.cli.data_command import add_against, similarity_of
from guardeval.cli.parser import Parser, add_include_path, whole_number
from guardeval.errors import ConfigError

__all__ = ["configure", "execute"]


def configure(parser: Parser) -> None:
    parser.epilog = "exit code 1: rows repeat a test set and neither --drop_overlap nor --allow_overlap says what to do"
    what = "files of traces or of pairs; FILE=0.3: so much of the rows written of its kind"
    parser.add_argument("sources", nargs="+", metavar="FILE[=RATIO]", help=what)
    parser.add_argument("--out", "--output", "-o", required=True, metavar="DIR", help="where the training files go")
    parser.add_argument("--ratio", metavar="A,B", help="a share for each file, in their order, instead of FILE=RATIO")
    parser.add_argument("--n", metavar="N", help="at most so many traces (as many as the shares allow)")
    parser.add_argument("--validation", default="0.2", metavar="X", help="share of rows kept from training (0.2)")
    parser.add_argument("--split_by", default="cluster", metavar="S", help="cluster of near-duplicates, or prompt (cluster)")
    parser.add_argument("--seed", default="0", metavar="N", help="of draws, split and order (0)")
    add_against(parser)
    parser.add_argument("--drop_overlap", action="store_true", help="leave out rows that repeat a test set")
    parser.add_argument("--allow_overlap", action="store_true", help="write them, marked as contaminated")
    add_include_path(parser)


def execute(args: argparse.Namespace) -> int:
    from guardeval.benchmark_prompts import Benchmarks
    from guardeval.prepare_report import overlap_table, tables
    from guardeval.preparing import OverlapError, prepare
    from guardeval.report.terminal import print_table
    from guardeval.task import TaskIndex

    if args.drop_overlap and args.allow_overlap:
        raise ConfigError("guardeval prepare: --drop_overlap and --allow_overlap exclude each other")
    sources, ratios = _sources(args.sources, args.ratio)
    threshold = similarity_of(args.threshold, "guardeval prepare: --threshold")
    benchmarks = Benchmarks.open(
        TaskIndex(args.include_path),
        args.against,
        None if args.data_dir is None else Path(args.data_dir).expanduser(),
        threshold,
        whole_number(args.ngram, "guardeval prepare: --ngram", least=2),
        not args.only_against,
    )
    try:
        done = prepare(
            sources,
            args.out,
            benchmarks,
            ratios=ratios,
            n=None if args.n is None else whole_number(args.n, "guardeval prepare: --n", least=1),
            validation=_share(args.validation),
            seed=whole_number(args.seed, "guardeval prepare: --seed"),
            threshold=threshold,
            split_by=args.split_by,
            on_overlap="drop" if args.drop_overlap else "allow" if args.allow_overlap else "refuse",
        )
    except OverlapError as e:
        print_table(overlap_table(e.counts, benchmarks.tasks))
        print(f"guardeval prepare: {e}", file=sys.stderr)
        return 1
    for table in tables(done):
        print_table(table)
    return 0


def _sources(words: Sequence[str], ratio: str | None) -> tuple[list[str], dict[str, float]]:
    """Files, and the shares of those that have one. A file whose own name ends in ``=0.3`` is a file."""
    sources, ratios = [], {}
    for word in words:
        path, equals, share = word.rpartition("=")
        if not equals or Path(word).expanduser().exists():
            sources.append(word)
            continue
        sources.append(path)
        ratios[path] = _ratio(share, word)
    if ratio is None:
        return sources, ratios
    if ratios:
        raise ConfigError("guardeval prepare: --ratio and FILE=RATIO say the same thing; give one of them")
    given = [_ratio(r, f"--ratio {ratio}") for r in ratio.split(",")]
    if len(given) != len(sources):
        raise ConfigError(f"guardeval prepare: --ratio {ratio}: {len(given)} shares for {len(sources)} files")
    return sources, dict(zip(sources, given, strict=True))


def _ratio(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"guardeval prepare: {where}: {text!r} is no share of the mix, e.g. 0.3") from None


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"guardeval prepare: --validation {text}: a share from 0 to below 1 is wanted, e.g. 0.2") from None
