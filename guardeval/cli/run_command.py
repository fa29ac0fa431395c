"""``guardeval run``: flags → settings → a run → a table and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.cli.parser import ModelAction, ModelOptionAction, Parser
from guardeval.errors import ConfigError

if TYPE_CHECKING:
    from guardeval.pipeline import Run
    from guardeval.settings import Settings

__all__ = ["configure", "execute", "settings_of"]

_EXAMPLES = """
examples:
  guardeval run --task wildguard --solver multistep --data sample
  guardeval run --task guard_prompt --model ollama/gpt-oss:20b -M num_ctx=16384 --limit 200
  guardeval run --task toxicchat --solver guardreasoner --model openai_compatible/guard -M base_url=http://127.0.0.1:8000/v1
"""


def configure(parser: Parser) -> None:
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("--task", "--tasks", "-t", action="append", metavar="T", help="names, groups, tags, globs; comma or repeated")
    add("--solver", metavar="S", help="how the guard is asked (direct, or as a model folder's card says)")
    add("-S", dest="solver_options", action="append", default=[], metavar="K=V", help="option of the solver")
    add(
        "--model", "-m", action=ModelAction, metavar="M", help="backend/NAME, a model folder or its name (embedded); repeatable"
    )
    add("-M", "--model_args", "-a", action=ModelOptionAction, metavar="K=V", help="option of the model before it")
    add("--scorer", metavar="A,B", help="scorers, in place of the task's own")
    add("--target", metavar="T", help="only tasks that ask this: prompt_harmfulness, response_harmfulness, refusal")
    add("--policies", metavar="P", help="minimal, medium, verbose, or a folder of policy texts (minimal)")
    add("--data", metavar="D", help="hub, sample, or a path to rows (hub)")
    add("--limit", "-L", metavar="N", help="a seeded, stratified subset of N samples")
    add("--samples", metavar="A,B", help="only samples with these ids")
    add("--seed", metavar="N", help="of subsets and draws (0)")
    add("--include_path", action="append", metavar="DIR", help="a folder with more tasks; repeatable")
    add("--max_connections", metavar="N", help="requests under way at once at most")
    add("--cache", metavar="FILE", help="the response cache to use")
    add("--no_cache", action="store_true", help="neither read nor write the response cache")
    add("--max_cost", metavar="USD", help="stop cleanly before spending more")
    add("--dry_run", action="store_true", help="count requests, tokens and cost; send nothing")
    add("--executor", metavar="X", help="where the work is done: local, ray (local)")
    add("-E", dest="executor_options", action="append", default=[], metavar="K=V", help="option of the executor")
    add("--config", "-C", metavar="FILE", help="settings in YAML (a run.yaml, too); flags override it")
    add("--output_path", "-o", metavar="DIR", help="where run folders go (runs)")
    add("--redact", action="store_true", help="write ids and hashes, no text")
    add("--quiet", "-q", action="store_true", help="plain lines, no progress")


def execute(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    from guardeval.cli.progress import progress_for
    from guardeval.pipeline import dry_run, run_each
    from guardeval.report.plain import printable
    from guardeval.report.terminal import print_plan, print_results, print_summary

    if args.dry_run:
        print_plan(dry_run(settings))
        return 0
    done: list[Run] = []
    for run in run_each(settings, progress=progress_for(quiet=args.quiet)):
        print("\n" * bool(done), end="")
        print_results(run.results)
        print(printable(f"run folder: {run.path}"), flush=True)
        done.append(run)
    if len(done) > 1:
        print()
        print_summary([run.results for run in done])
    left = [] if len(done) == 1 and done[0].combined else [spec.name for spec in settings.model[len(done) :]]
    if left:
        print(printable(f"not run: {', '.join(left)}"), file=sys.stderr)
    return _exit_code(done)


def _exit_code(done: list[Run]) -> int:
    if any(run.status == "interrupted" for run in done):
        return 130
    return 3 if any(run.never_heard or run.status == "stopped" for run in done) else 0


def settings_of(args: argparse.Namespace) -> Settings:
    """Flags over the ``--config`` file over defaults."""
    from guardeval.registry import parse_options
    from guardeval.runs import read_run_yaml
    from guardeval.settings import Settings

    values: dict[str, Any] = {}
    if args.config:
        values.update({k: _as_flags_say(v) if k in _NAMES else v for k, v in read_run_yaml(Path(args.config)).items()})
        _check_repeatable(args.config, values.get("record"))
    for name in _PLAIN:
        if getattr(args, name) not in (None, False, []):
            values[name] = getattr(args, name)
    if args.task:
        values["task"] = [t.strip() for given in args.task for t in given.split(",") if t.strip()]
    if args.solver_options:
        kept = values.get("solver_args", {}) if not args.solver else {}
        values["solver_args"] = {**kept, **parse_options(args.solver_options, "-S")}
    elif args.solver:
        values.pop("solver_args", None)
    if args.executor_options:
        kept = values.get("executor_args", {}) if not args.executor else {}
        values["executor_args"] = {**kept, **parse_options(args.executor_options, "-E")}
    elif args.executor:
        values.pop("executor_args", None)
    _models(args, values)
    if "task" not in values:
        raise ConfigError("guardeval run: no task: name one with --task; `guardeval list tasks` shows them")
    return Settings.from_mapping(values, args.config or "guardeval run")


def _as_flags_say(value: Any) -> Any:
    """Names of files as the command line would bring them: another thing where the locale is not UTF-8."""
    if isinstance(value, str):
        return os.fsdecode(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, dict):
        return {k: _as_flags_say(v) for k, v in value.items()}
    return [_as_flags_say(v) for v in value] if isinstance(value, list) else value


def _check_repeatable(path: str, record: Any) -> None:
    """An ensemble of ensembles is made of finished runs only: its members are no models."""
    if not isinstance(record, dict) or not record.get("of_combined_runs"):
        return
    from shlex import quote

    runs = " ".join(quote(str(r)) for r in record.get("combined_from") or ())
    raise ConfigError(
        f"{path}: a member is an ensemble itself, and cannot be asked live; guardeval combine {runs} makes it again"
    )


_NAMES = ("task", "tasks", "model", "policies", "data", "include_path", "cache", "output_path")  # may be paths
_PLAIN = (
    "solver", "scorer", "target", "policies", "data", "limit", "samples", "seed", "include_path", "max_connections",
    "cache", "no_cache", "max_cost", "executor", "output_path", "redact",
)  # fmt: skip


def _models(args: argparse.Namespace, values: dict[str, Any]) -> None:
    from guardeval.registry import parse_options

    for_all = parse_options(getattr(args, "model_options", None) or [], "-M")
    given = getattr(args, "models", None)
    if given:
        values["model"] = [{"name": n, "args": {**for_all, **parse_options(o, "-M")}} for n, o in given]
    elif for_all:
        listed = values.get("model", "embedded")
        models: list[dict[str, Any]] = [
            {"name": m} if isinstance(m, str) else dict(m) for m in (listed if isinstance(listed, list) else [listed])
        ]
        values["model"] = [{**m, "args": {**(m.get("args") or {}), **for_all}} for m in models]
