"""The command line: a table of commands, each a small module that is imported when it is used.

Exit codes: 0 done, 1 a gate or validation failed, 2 wrong usage or configuration, 3 finished with samples never heard,
130 interrupted (what was done is kept).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from guardeval.cli.ending import exit_code
from guardeval.errors import ConfigError, did_you_mean

__all__ = ["COMMANDS", "main"]

# name → what it is for; the module is guardeval.cli.<name>_command, with _ for -
COMMANDS = {
    "run": "measure a guard on benchmarks: --task T --solver S --model M",
    "list": "what is installed: tasks, solvers, scorers, models, trainers, optimizers",
    "show": "one task, solver, scorer, model or trainer, explained",
    "score": "score a finished run again, without asking a model",
    "check": "a gate for CI: runs against a baseline; exit code 1 where they are worse",
    "compare": "two or more runs, paired on the samples they share",
    "combine": "finished runs made one: votes, weights, cascades, without asking a model",
    "mine": "the samples that guards disagree on most, as data that --data takes",
    "traces": "a teacher's reasoning as training rows; check FILE measures it",
    "synthesize": "variants of hard samples near the decision boundary, verified by other models",
    "experiment": "the programme of experiments: list, show, run 20..30",
    "report": "tables of finished runs as text or Markdown, or a page with charts and samples",
    "export": "for other tools: a finished run as logs of inspect, lm_eval; a solver as tasks of lm_eval",
    "import": "finished logs of Inspect and lm-eval as runs, scored here",
    "sample-errors": "misjudged samples of a run, drawn for review",
    "review": "a local page to go through samples of a run one by one; what reviewers found",
    "data": "the rows behind a task: show, check, pull; what stands in two sets: leakage",
    "prepare": "training files from traces and pairs: mixed, split, without the rows of tests",
    "models": "models that can be run at once: list, show, add, remove, package",
    "bench": "how fast guards are: latency, throughput, memory; the line of 100 ms",
    "train": "make a guard from rows: linear, rsft, hs_dpo, distill",
    "optimize": "a model made smaller or faster, and checked: onnx, int8, int4, merge, gguf",
    "cache": "the cache of answers: info, clear",
    "new": "a package to start from: task, solver, scorer, model, trainer, optimizer",
    "validate": "check tasks and plugins: file, line and column of each problem",
    "doctor": "this installation: packages, extras, keys, plugins, the cache",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; raises only where ``--debug`` asks for the traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    return exit_code("guardeval", words, _dispatch, caches="run" in words[:1])


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_usage())
        return 0
    if words[0] in {"--version", "-V"}:
        from guardeval import __version__

        print(f"guardeval {__version__}")
        return 0
    if words[0].startswith("-"):  # as in lm-eval: flags alone mean `run`
        words = ["run", *words]
    command, rest = words[0], words[1:]
    command = command.replace("_", "-") if command not in COMMANDS else command
    if command not in COMMANDS:
        raise ConfigError(f"unknown command {command!r}{did_you_mean(command, COMMANDS)}")
    from importlib import import_module

    from guardeval.cli.parser import parse

    module = import_module(f"guardeval.cli.{command.replace('-', '_')}_command")
    parsed = parse(command, COMMANDS[command], module.configure, rest)
    return 0 if parsed is None else int(module.execute(parsed))


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "guardeval: measure guard models, compare them, find what they get wrong",
            "",
            "usage: guardeval COMMAND …        (flags alone mean `guardeval run`)",
            "",
            *lines,
            "",
            "guardeval COMMAND --help explains one; --debug, on any, adds the traceback of an error; guardeval --version",
        ]
    )
