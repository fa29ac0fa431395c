"""``guardeval bench --model M …``: how fast guards are, and whether they are fast enough while right often enough."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from guardeval.cli.parser import ModelAction, ModelOptionAction, Parser, add_include_path, whole_number
from guardeval.errors import ConfigError, PluginError, did_you_mean

if TYPE_CHECKING:
    from guardeval.benchmarking.rounds import Bench
    from guardeval.benchmarking.settings import BenchSettings

__all__ = ["configure", "execute", "settings_of"]

_FORMATS = ("text", "md", "json")
_EXAMPLES = """
examples:
  guardeval bench --model embedded/word --model embedded/char
  guardeval bench --model openai_compatible/guard -M base_url=http://127.0.0.1:8000/v1 --concurrency 1,8,32 -o bench
"""


def configure(parser: Parser) -> None:
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("--model", "-m", action=ModelAction, metavar="M", help="backend/NAME or a model folder (embedded); repeatable")
    add("-M", "--model_args", "-a", action=ModelOptionAction, metavar="K=V", help="option of the model before it")
    add("--solver", default="multistep", metavar="S", help="how the guard is asked (multistep)")
    add("-S", dest="solver_options", action="append", default=[], metavar="K=V", help="option of the solver")
    add("--policies", default="minimal", metavar="P", help="minimal, medium, verbose, or a folder of policy texts (minimal)")
    add("--task", "--tasks", "-t", default="wildguard", metavar="T", help="the task whose samples are asked (wildguard)")
    add("--data", default="sample", metavar="D", help="hub, sample, or a path to rows (sample)")
    add("--n", "--limit", "-L", dest="n", default="50", metavar="N", help="samples, a seeded, stratified subset (50)")
    add("--concurrency", default="1,2,4,8", metavar="A,B", help="queries under way at once, or none (1,2,4,8)")
    add("--batch", default="1,4,16", metavar="A,B", help="prompts a call of local models, or none (1,4,16)")
    add(
        "--lengths",
        default="128,512,2048",
        metavar="A,B",
        help="of the text, tokens of 4 characters, or none (128,512,2048)",
    )
    add("--rounds", default="3", metavar="N", help="how often each setting is measured on all samples (3)")
    add("--warmup", default="3", metavar="N", help="queries before each round that count for nothing (3)")
    add("--max_tokens", metavar="N", help="of an answer at most (what the solver allows)")
    add("--limit_ms", default="100", metavar="MS", help="the line: milliseconds a query (100)")
    add("--accuracy_floor", default="0.7", metavar="X", help="the line: accuracy that counts as right often enough (0.7)")
    add("--seed", default="0", metavar="N", help="of the samples and of the order of settings (0)")
    add("--format", default="text", metavar="F", help="of what is printed: text, md or json (text)")
    add("--output", "--output_path", "-o", metavar="DIR", help="also write bench.json, bench.md and bench.svg there")
    add_include_path(parser)


def execute(args: argparse.Namespace) -> int:
    if args.format not in _FORMATS:
        raise ConfigError(f"guardeval bench: unknown format {args.format!r}{did_you_mean(args.format, _FORMATS)}")
    settings = settings_of(args)
    from guardeval.benchmarking.rounds import bench
    from guardeval.report.plain import printable

    if args.output:
        _writable(Path(args.output))
    found = bench(settings, say=lambda line: print(printable(line), file=sys.stderr, flush=True))
    _show(found, args.format)
    if args.output:
        _write(found, Path(args.output))
    if found.status == "interrupted":
        return 130
    return 3 if found.failed or found.status != "complete" else 0


def settings_of(args: argparse.Namespace) -> BenchSettings:
    """Flags → settings. Raises :class:`ConfigError` that names the flag."""
    from guardeval.benchmarking.settings import BenchSettings
    from guardeval.models import ModelSpec
    from guardeval.registry import parse_options

    for_all = parse_options(getattr(args, "model_options", None) or [], "-M")
    given = getattr(args, "models", None) or [("embedded", [])]
    return BenchSettings(
        model=tuple(ModelSpec(name, {**for_all, **parse_options(options, "-M")}) for name, options in given),
        task=args.task,
        data=args.data,
        solver=args.solver,
        solver_args=parse_options(args.solver_options, "-S"),
        policies=args.policies,
        include_path=tuple(args.include_path),
        concurrency=_sizes(args.concurrency, "concurrency"),
        batch=_sizes(args.batch, "batch"),
        lengths=_sizes(args.lengths, "lengths"),
        n=_whole(args.n, "n"),
        rounds=_whole(args.rounds, "rounds"),
        warmup=_whole(args.warmup, "warmup"),
        seed=_whole(args.seed, "seed"),
        max_tokens=None if args.max_tokens is None else _whole(args.max_tokens, "max_tokens"),
        accuracy_floor=_number(args.accuracy_floor, "accuracy_floor"),
        limit_ms=_number(args.limit_ms, "limit_ms"),
    )


def _whole(text: str, name: str) -> int:
    return whole_number(text, f"guardeval bench: --{name}")


def _sizes(text: str, name: str) -> tuple[int, ...]:
    if text.strip().lower() == "none":
        return ()
    return tuple(whole_number(part.strip(), f"guardeval bench: --{name}", 1) for part in text.split(","))


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"guardeval bench: --{name} {text}: a number is wanted") from None


def _writable(folder: Path) -> None:
    """Known before an hour of measuring, not after."""
    try:
        folder.expanduser().mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"guardeval bench: --output {folder}: cannot be made: {e.strerror}; name another folder") from e


def _show(found: Bench, form: str) -> None:
    if form == "json":
        from guardeval.benchmarking.figures import as_dict
        from guardeval.runs import results_json

        print(results_json(as_dict(found)).decode())
        return
    from guardeval.report.bench_tables import bench_notices, bench_tables

    if form == "md":
        from guardeval.report.markdown import markdown_tables

        print(markdown_tables(bench_tables(found), bench_notices(found)))
        return
    from guardeval.report.terminal import print_notices, print_table

    print_notices(bench_notices(found))
    for table in bench_tables(found):
        print_table(table)


def _write(found: Bench, folder: Path) -> None:
    """Figures, tables, picture; without the extra ``report`` all but the picture."""
    from guardeval.benchmarking.figures import as_dict
    from guardeval.report.bench_tables import bench_notices, bench_tables
    from guardeval.report.markdown import markdown_tables
    from guardeval.report.plain import printable
    from guardeval.runs import results_json, write_atomically

    folder = folder.expanduser()
    write_atomically(folder / "bench.json", results_json(as_dict(found)))
    picture = _picture(found)
    text = "# Benchmark\n\n" + markdown_tables(bench_tables(found), bench_notices(found))
    if picture is not None:
        write_atomically(folder / "bench.svg", picture.encode())
        text += "\n![latency and throughput](bench.svg)\n"
    write_atomically(folder / "bench.md", text.encode("utf-8", "replace"))
    names = ("bench.json", "bench.md", *(("bench.svg",) if picture is not None else ()))
    print(printable(f"{folder}: {', '.join(names)}"), file=sys.stderr)


def _picture(found: Bench) -> str | None:
    from guardeval.report.bench_chart import bench_chart

    try:
        return bench_chart(found, standalone=True)
    except PluginError as e:
        print(f"note: no picture: {e}", file=sys.stderr)
        return None
