"""``guardeval check RUN … --baseline FILE``: does a model keep what the baseline promises? Exit code 1 where it does not."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.cli.parser import Parser
from guardeval.errors import ConfigError

if TYPE_CHECKING:
    from guardeval.gates.findings import GateReport
    from guardeval.gates.settings import GateSettings

__all__ = ["configure", "execute"]

_EXAMPLES = """
examples:
  guardeval check runs/OLD --baseline baseline.json --write_baseline
  guardeval check runs/NEW --baseline baseline.json
  guardeval check runs/NEW --baseline baseline.json --tolerance f1=0.01 --in_family wildguard --budget 0.02
  guardeval check runs/NEW --baseline baseline.json --floor coverage=0.98 --ceiling latency_p95=1.5x --junit gate.xml

exit codes: 0 passed, 1 a check failed, 2 refused (other data, labels, accounting …) or wrong usage
"""


def configure(parser: Parser) -> None:
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="run folders of one model; several cover more tasks")
    add("--baseline", metavar="FILE", help="what to hold them against: a file of --write_baseline, or a run folder")
    add("--write_baseline", action="store_true", help="write FILE from these runs instead, in place of an older one")
    add("--config", metavar="FILE", help="a gate.yaml with any of the settings below; flags go over it")
    add("--task", "--tasks", metavar="T,T", help="only these tasks of the baseline (all)")
    add("--metrics", metavar="M,M", help="tested of each task (f1,overflagging,coverage)")
    add("--tolerance", action="append", default=[], metavar="M[,TASK[,PART]]=X", help="what may be lost (0); repeatable")
    add("--alpha", metavar="A", help="family-wise error of all tests together (0.05)")
    add("--accounting", metavar="A", help="strict, parsed, fail_closed, fail_open (strict)")
    add("--no_policies", action="store_true", help="do not test F1 of single policies")
    add("--min_positives", metavar="N", help="known positives that a policy needs to be tested (10)")
    add("--slices", action="store_true", help="also test accuracy of each category")
    add("--min_slice", metavar="N", help="samples that a category needs to be tested (20)")
    add("--in_family", metavar="T,T", help="tasks that the model was made from, or auto: the runs and the model's card say")
    add("--budget", metavar="X", help="what macro F1 of all other tasks may lose (0.02, with --in_family)")
    add("--budget_strict", action="store_true", help="any loss beyond the budget fails, significant or not")
    add("--floor", action="append", default=[], metavar="M[,TASK]=X", help="coverage, parse_rate, f1 …; repeatable")
    add(
        "--ceiling",
        action="append",
        default=[],
        metavar="M[,TASK]=X",
        help="latency_p95, cost_per_1000 …; 1.5x: of the baseline",
    )
    add(
        "--require_detectable", action="append", default=[], metavar="M[,TASK[,PART]]=X",
        help="fail a check that cannot find a loss of X",
    )  # fmt: skip
    add("--allow_partial", action="store_true", help="compare what both sides hold and heard, and say so")
    add("--permutations", metavar="N", help="draws of the joint test (9999)")
    add("--seed", metavar="N", help="of the draws (0)")
    add("--json", metavar="FILE", help="write all findings as JSON")
    add("--junit", metavar="FILE", help="write them as JUnit XML")
    add("--markdown", metavar="FILE", help="write them as Markdown")


def execute(args: argparse.Namespace) -> int:
    if not args.baseline:
        raise ConfigError("guardeval check: --baseline FILE is wanted; with --write_baseline the runs are written to it")
    settings = settings_of(args)
    _check_places(args)
    if args.write_baseline:
        return _write(args, settings)
    from guardeval.gates import check

    report = check(args.runs, args.baseline, settings)
    _show(report)
    _write_files(report, args)
    return 0 if report.ok else 1


def settings_of(args: argparse.Namespace) -> GateSettings:
    """``gate.yaml``, then flags over it. Raises :class:`ConfigError` that names the key or flag."""
    from guardeval.gates.settings import GateSettings, read_gate_yaml

    given = GateSettings()
    if args.config:
        given = GateSettings.from_mapping(read_gate_yaml(Path(args.config)), args.config)
    single = (
        "task",
        "metrics",
        "alpha",
        "accounting",
        "min_positives",
        "min_slice",
        "in_family",
        "budget",
        "permutations",
        "seed",
    )
    flags: dict[str, Any] = {k: getattr(args, k) for k in single if getattr(args, k) is not None}
    flags |= {k: True for k in ("slices", "budget_strict", "allow_partial") if getattr(args, k)}
    flags |= {"policies": False} if args.no_policies else {}
    for name in ("tolerance", "floor", "ceiling", "require_detectable"):
        if values := getattr(args, name):
            flags[name] = dict(_entry(v, name) for v in values)
    return given.joined(flags, "guardeval check") if flags else given


def _check_places(args: argparse.Namespace) -> None:
    """Before the work: a place that no report can be written to."""
    for flag in ("json", "junit", "markdown"):
        if (name := getattr(args, flag)) is None:
            continue
        path = Path(name)
        if path.is_dir():
            raise ConfigError(f"guardeval check: --{flag} {name!r}: is a folder; name a file in it")
        if not path.parent.is_dir():
            raise ConfigError(f"guardeval check: --{flag} {name!r}: there is no folder {path.parent}")


def _entry(text: str, flag: str) -> tuple[str, str]:
    """``f1,wildguard=0.02``; of a tolerance and what must be detectable, a number alone means F1."""
    key, equals, value = text.rpartition("=")
    if not equals and flag in ("tolerance", "require_detectable"):
        return "f1", value
    if not equals or not key.strip() or not value.strip():
        raise ConfigError(f"guardeval check: --{flag} {text!r}: METRIC=NUMBER or METRIC,TASK=NUMBER is wanted")
    return key.strip(), value.strip()


def _write(args: argparse.Namespace, settings: GateSettings) -> int:
    from guardeval.gates import write_baseline
    from guardeval.report.plain import printable

    done = write_baseline(args.runs, args.baseline, settings.accounting, settings.task)
    print(
        f"{'replaced' if done.replaced else 'wrote'} {done.file}: {done.tasks} tasks, {done.samples} samples, {done.size} bytes"
    )
    for change in done.changes:
        print(printable(f"  {change}"))
    if done.replaced and not done.changes:
        print("  no task, model or headline number differs from the older file's")
    return 0


def _show(report: GateReport) -> None:
    from guardeval.gates.text import render

    print(render(report), end="")  # printable already, but for the colours of a terminal
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from guardeval.gates.github import annotations

        for line in annotations(report):
            print(line)


def _write_files(report: GateReport, args: argparse.Namespace) -> None:
    from guardeval.runs import results_json, write_atomically

    if args.json:
        from guardeval.gates.json_report import to_json

        write_atomically(Path(args.json), results_json(to_json(report)))
    if args.junit:
        from guardeval.gates.junit import to_junit

        write_atomically(Path(args.junit), to_junit(report))
    summary = os.environ.get("GITHUB_STEP_SUMMARY") if os.environ.get("GITHUB_ACTIONS") == "true" else None
    if args.markdown or summary:
        from guardeval.gates.github import step_summary

        text = step_summary(report)
        if args.markdown:
            write_atomically(Path(args.markdown), text.encode())
        if summary:
            _append(Path(summary), text)


def _append(path: Path, text: str) -> None:
    """Other steps of a job write to the same summary."""
    try:
        with path.open("a", encoding="utf-8") as f:
            f.write(text + "\n")
    except OSError as e:
        print(f"guardeval check: {path}: the step summary cannot be written: {e.strerror}", file=sys.stderr)
