"""``guardeval validate family NAME --model M``: a family's prompts through a live tokenizer or server; exit code 1 on drift."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from guardeval.cli.parser import ModelAction, ModelOptionAction, Parser
from guardeval.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from guardeval.native.conformance import Finding
    from guardeval.native.family import Family
    from guardeval.registry import Registry

__all__ = ["configure_family", "execute_family"]


def configure_family(parser: Parser) -> None:
    """Adds the flags of ``validate family``."""
    parser.add_argument("-S", dest="solver_options", action="append", default=[], metavar="K=V", help="family: its version, …")
    parser.add_argument("--model", "-m", action=ModelAction, metavar="M", help="family: backend/NAME to render with")
    parser.add_argument("-M", action=ModelOptionAction, metavar="K=V", help="family: option of the model")


def execute_family(args: argparse.Namespace) -> int:
    from guardeval.models import ModelSpec, build_model
    from guardeval.native.conformance import Conforms
    from guardeval.registry import Registry, parse_options
    from guardeval.report.plain import printable

    registry = Registry()
    given = parse_options(args.solver_options, "-S")
    models = getattr(args, "models", None) or []
    if len(args.names) != 1 or len(models) != 1:
        raise ConfigError("guardeval validate family: one family and one --model are wanted: `validate family NAME --model M`")
    name, options = models[0]
    given_to_all = getattr(args, "model_options", None) or []
    model = build_model(ModelSpec(name, parse_options([*given_to_all, *options], "-M")), registry)
    solver, family = _chosen(args.names[0], given, name, registry)
    findings, probabilities = asyncio.run(_check(solver, family, model))
    print(f"{family.name} ({family.source}) on {printable(name)}")
    for found in findings:
        print(f"  {found.result:<8} {found.what}: {printable(found.words)}")
    print(f"  {probabilities}; the verdict is {family.verdict}")
    results = {found.result for found in findings}
    return 1 if Conforms.DRIFT in results else 2 if results == {Conforms.UNKNOWN} else 0


def _chosen(name: str, given: dict[str, Any], model: str, registry: Registry) -> tuple[Any, Family]:
    """The solver as a run of this model would ask, and its family entry."""
    if ":" not in name and name not in registry.entries("solvers"):
        raise ConfigError(f"unknown solver {name!r}{did_you_mean(name, registry.entries('solvers'))}")
    from guardeval.contracts import ChoosingSolver

    families: tuple[Family, ...] = getattr(registry.load("solvers", name), "families", ())
    if not families:
        raise ConfigError(f"solver {name!r} states no guard family; those that do: {', '.join(_with_families(registry))}")
    solver = registry.build("solvers", name, given)
    if isinstance(solver, ChoosingSolver):
        _, solver = solver.for_model(model)
    return solver, getattr(solver, "family", families[0])


def _with_families(registry: Registry) -> list[str]:
    return [n for n in registry.entries("solvers") if getattr(registry.load("solvers", n), "families", ())]


async def _check(solver: Any, family: Family, model: Any) -> tuple[list[Finding], str]:
    from guardeval.contracts import Case
    from guardeval.data import Sample
    from guardeval.native.conformance import check_family, gives_probabilities
    from guardeval.policies import load_policies

    policies = load_policies("minimal")
    start, close = getattr(model, "start", None), getattr(model, "close", None)
    try:
        if start is not None:
            await start()
        findings = await check_family(solver, family, model, policies)
        case = Case(Sample("0", 0, "Which flour is best?", "Strong flour."), min(family.targets), policies)
        return findings, await gives_probabilities(model, solver, case)
    finally:
        if close is not None:
            await close()
