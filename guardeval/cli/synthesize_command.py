"""``guardeval synthesize --seeds FILE --model M --verifier M -o FILE``: verified variants of samples, as rows to train on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.cli.parser import Parser, add_include_path, whole_number
from guardeval.errors import ConfigError

if TYPE_CHECKING:
    from guardeval.models import ModelSpec
    from guardeval.synthesis import Foreseen, Synthesis, SynthesisSettings

__all__ = ["configure", "execute"]

_WHAT = "guardeval synthesize"
_KINDS = "benign_twin,harmful_twin,obfuscated,role_play,other_policy"
_EXAMPLE = """
example:
  guardeval synthesize --seeds hard_samples_wildguard.json -n 750 --model openai/gpt-4o --max_cost 20 \\
    --verifier openai_compatible/guard-a -M base_url=http://127.0.0.1:8000/v1 --verifier embedded -o synthetic_hard_samples.json
"""


class _Named(argparse.Action):
    """Each ``--model`` and ``--verifier`` starts a model; options given later belong to it, earlier ones to all."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None) -> None:
        named = getattr(namespace, "named", None) or []
        if option_string in ("-M", "--model_args"):
            (named[-1][2] if named else namespace.for_all).append(str(values))
        else:
            role = "verifier" if option_string == "--verifier" else "model"
            if not str(values).strip():
                raise ConfigError(f"{_WHAT}: --{role} is empty; give a value, or leave it out")
            namespace.named = [*named, (role, str(values), [])]


def configure(parser: Parser) -> None:
    parser.epilog = _EXAMPLE
    add = parser.add_argument
    add("--seeds", required=True, metavar="FILE", help="mined rows (guardeval mine) or traces; prompts are varied")
    add("--output", "-o", required=True, metavar="FILE", help="rows: .json or .jsonl (also .gz)")
    add("--model", "-m", action=_Named, metavar="M", help="who writes: backend/NAME or a model folder")
    add("--verifier", action=_Named, metavar="M", help="who judges what was written; repeatable, never the writer")
    add("-M", "--model_args", action=_Named, metavar="K=V", help="option of the model or verifier before it")
    add("-n", "--n", default="750", metavar="N", help="rows wanted (750)")
    add("--kinds", default=_KINDS, metavar="A,B", help=f"kinds of variants ({_KINDS})")
    add("--agreement", default="0.67", metavar="X", help="least share of verifiers heard that agree with the label (0.67)")
    add("--policies", default="minimal", metavar="P", help="minimal, medium, verbose, or a folder of policy texts (minimal)")
    add("--solver", default="multistep", metavar="S", help="how verifiers are asked, and what the rows train (multistep)")
    add("-S", dest="solver_options", action="append", default=[], metavar="K=V", help="option of the solver")
    add(
        "--against", action="append", default=[], metavar="TASK=PATH", help="a test set that no variant may be near; repeatable"
    )
    add("--data_dir", metavar="DIR", help="copies of test sets, as `guardeval data pull` writes them: these, too")
    add("--task", metavar="T", help="whose rows the seeds are, where the file does not say it")
    add("--each", default="2", metavar="N", help="variants asked for in one request (2)")
    add("--rounds", default="3", metavar="N", help="how often to ask for what is missing (3)")
    add("--temperature", default="1.0", metavar="X", help="of the writer (1.0)")
    add("--max_tokens", default="1024", metavar="N", help="of one answer of the writer (1024)")
    add("--similarity", default="0.7", metavar="X", help="from which on two texts are near-duplicates (0.7)")
    add("--seed", default="0", metavar="N", help="of the order of seeds, and of draws (0)")
    add("--max_cost", metavar="USD", help="stop cleanly before spending more")
    add("--max_connections", metavar="N", help="requests under way at once at most")
    add("--cache", metavar="FILE", help="the response cache to use")
    add("--no_cache", action="store_true", help="neither read nor write the response cache")
    add("--dry_run", action="store_true", help="count requests, tokens and cost; send nothing")
    add("--quiet", "-q", action="store_true", help="plain lines, no progress")
    add_include_path(parser)
    parser.set_defaults(named=[], for_all=[])


def execute(args: argparse.Namespace) -> int:
    settings = _settings(args)
    from guardeval.cli.progress import progress_for
    from guardeval.report.terminal import print_plan, print_table
    from guardeval.synthesis import foresee, synthesize

    if args.dry_run:
        found = foresee(settings)
        print_plan(found.estimates)
        print(_foreseen(found, settings))
        return 0
    try:
        done = synthesize(settings, progress=progress_for(quiet=args.quiet))
    except KeyboardInterrupt:
        kept = "" if settings.no_cache else "; answers that were given are in the cache: the same command goes on from there"
        print(f"{_WHAT}: interrupted{kept}", file=sys.stderr)
        return 130
    for table in _tables(done):
        print_table(table)
    return 3 if done.status == "stopped" or done.never_heard else 0


# ---- flags ----


def _settings(args: argparse.Namespace) -> SynthesisSettings:
    from guardeval.registry import parse_options
    from guardeval.synthesis import SynthesisSettings

    writers, verifiers = _models(args)
    if len(writers) != 1:
        found = "no model" if not writers else f"{len(writers)} models"
        raise ConfigError(f"{_WHAT}: {found}: name the one that writes with --model, those that check with --verifier")
    whole = {name: whole_number(getattr(args, name), f"{_WHAT}: --{name}", 1) for name in ("n", "each", "rounds", "max_tokens")}
    return SynthesisSettings(
        seeds=Path(args.seeds),
        output=Path(args.output),
        model=writers[0],
        verifier=tuple(verifiers),
        agreement=_number(args.agreement, "--agreement"),
        kinds=tuple(k.strip() for k in args.kinds.split(",") if k.strip()),
        policies=args.policies,
        solver=args.solver,
        solver_args=parse_options(args.solver_options, "-S"),
        task=args.task,
        against=tuple(args.against),
        data_dir=None if args.data_dir is None else Path(args.data_dir),
        include_path=tuple(args.include_path),
        temperature=_number(args.temperature, "--temperature"),
        similarity=_number(args.similarity, "--similarity"),
        seed=whole_number(args.seed, f"{_WHAT}: --seed"),
        max_cost=None if args.max_cost is None else _number(args.max_cost, "--max_cost"),
        max_connections=None
        if args.max_connections is None
        else whole_number(args.max_connections, f"{_WHAT}: --max_connections", 1),
        cache=args.cache,
        no_cache=args.no_cache,
        **whole,
    )


def _models(args: argparse.Namespace) -> tuple[list[ModelSpec], list[ModelSpec]]:
    from guardeval.models import ModelSpec
    from guardeval.registry import parse_options

    for_all = parse_options(args.for_all, "-M")
    specs = [(role, ModelSpec(name, {**for_all, **parse_options(options, "-M")})) for role, name, options in args.named]
    return [s for role, s in specs if role == "model"], [s for role, s in specs if role == "verifier"]


def _number(text: str, flag: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{_WHAT}: {flag} {text}: a number is wanted") from None


# ---- tables ----


def _foreseen(found: Foreseen, settings: SynthesisSettings) -> str:
    left_out = "".join(f"; {n} left out: {why}" for why, n in found.seeds.left_out.items())
    return (
        f"{len(found.seeds.seeds)} seeds{left_out}; the first of at most {settings.rounds} rounds: {found.variants} variants, "
        "those not written yet counted by the length of their seeds. A later round asks for what is missing then"
    )


def _tables(done: Synthesis) -> list[Any]:
    from guardeval.report.tables import Table

    rows = [
        (name, *(f"{x:,}" for x in (t.asked, t.readable, t.duplicates, t.verified, t.kept))) for name, t in done.by_kind.items()
    ]
    columns = ("kind", "asked", "readable", "duplicates", "verified", "kept")
    tallies = list(done.by_kind.values())
    sums = [sum(getattr(t, c) for t in tallies) for c in columns[1:]]
    rows.append(("all", *(f"{x:,}" for x in sums)))
    notes = [f"{n:,} left out: {why}" for why, n in done.reasons.items()]
    if done.apart_path is not None:
        notes.append(f"what was left out: {done.apart_path}")
    spent = f"US$ {done.counters.cost:.4f}, {done.counters.answered:,} answers, {done.counters.cached:,} from the cache"
    head = f"{done.rows:,} rows: {done.path}"
    return [Table(head, columns, tuple(rows), (*done.notes, *notes, spent))]
