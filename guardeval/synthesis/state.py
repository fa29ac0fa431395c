"""What a synthesis has resolved before it asks, and what it has heard so far."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardeval.broker import Broker, Counters, default_cache_path
from guardeval.contracts import Case, Solver
from guardeval.data import Sample, Target
from guardeval.errors import ConfigError, DataError, PluginError
from guardeval.models import ModelSpec, build_model
from guardeval.pipeline import Progress
from guardeval.policies import PolicySet, load_policies
from guardeval.registry import Registry
from guardeval.synthesis.kept import Apart
from guardeval.synthesis.kinds import Slot, suited
from guardeval.synthesis.never import asked_policies, is_forbidden
from guardeval.synthesis.seeds import Seeds
from guardeval.synthesis.settings import SynthesisSettings
from guardeval.synthesis.sifting import Sieve
from guardeval.training_rows import Trace
from guardeval.training_text import closing_block, read_answer

__all__ = ["State", "Tally", "broker_of"]


@dataclass(slots=True)
class Tally:
    """What became of the variants of one kind. ``kept`` ones are verified, and in the file."""

    asked: int = 0
    readable: int = 0
    duplicates: int = 0
    verified: int = 0
    kept: int = 0


class State:
    """Everything resolved, and what was heard so far."""

    sieve: Sieve

    def __init__(self, settings: SynthesisSettings, registry: Registry, seeds: Seeds, progress: Progress) -> None:
        self.settings, self.seeds, self.progress = settings, seeds, progress
        self.policies = load_policies(settings.policies)
        if all(map(is_forbidden, self.policies.names)):
            raise ConfigError(f"--policies {settings.policies}: holds nothing that variants may be written for")
        self.judging = asked_policies(self.policies)
        self.solver = _solver(settings, registry, self.judging)
        self.model = _built(settings.model, registry, writes=True)
        self.verifiers = [_built(spec, registry, writes=False) for spec in settings.verifier]
        self.names = _numbered([spec.name for spec in settings.verifier])
        slots = {k.name: suited(k, seeds.seeds, self.policies, settings.seed) for k in settings.chosen}
        self.slots = {name: found for name, found in slots.items() if found}
        self.unsuited = [name for name, found in slots.items() if not found]
        if not self.slots:
            raise DataError(f"{settings.seeds}: no seed suits {', '.join(self.unsuited)}: seeds need a gold label for these")
        self.next: Counter[str] = Counter()  # kind → place in the endless row of its slots
        self.kept: list[tuple[Slot, Trace]] = []
        self.apart: list[Apart] = []
        self.tally = {name: Tally() for name in slots}
        self.counters = Counters()
        self.rounds = 0
        self.stopped = False
        self.failed = 0  # questions and verdicts never heard
        self.first_error = ""

    def quota(self, name: str) -> int:
        """How many rows of a kind make an even mixture of ``n``."""
        place, kinds = list(self.slots).index(name), len(self.slots)
        return self.settings.n // kinds + (place < self.settings.n % kinds)

    def missing(self, name: str) -> int:
        return max(self.quota(name) - sum(slot.kind.name == name for slot, _ in self.kept), 0)

    def leave_out(self, slot: Slot, reason: str, text: str | None = None, about: Mapping[str, Any] | None = None) -> None:
        self.apart.append(Apart(slot, reason, text, about))


def _solver(settings: SynthesisSettings, registry: Registry, policies: PolicySet) -> Solver:
    solver = registry.build("solvers", settings.solver, dict(settings.solver_args))
    if not isinstance(solver, Solver):
        raise PluginError(f"solver {settings.solver!r} has no solve(case, model)")
    case = Case(Sample("", 0, "a request"), Target.PROMPT, policies)
    read_answer(solver, case, closing_block(Target.PROMPT, False))  # refuses one that asks more than once: it trains nothing
    return solver


def _built(spec: ModelSpec, registry: Registry, writes: bool) -> Any:
    model = build_model(spec, registry)
    if writes and model.traits.classifies:
        raise ConfigError(f"--model {spec.name}: only classifies: it cannot write variants; name a model that generates text")
    if not writes and Target.PROMPT not in model.traits.targets:
        raise ConfigError(f"--verifier {spec.name}: cannot be asked for {Target.PROMPT}")
    return model


def _numbered(names: Sequence[str]) -> list[str]:
    return [n if names.count(n) == 1 else f"{n} ({names[: i + 1].count(n)})" for i, n in enumerate(names)]


def broker_of(settings: SynthesisSettings, dry: bool = False) -> Broker:
    cache = None if settings.no_cache else Path(settings.cache) if settings.cache else default_cache_path()
    most = None if settings.max_cost is None else max(settings.max_cost, sys.float_info.min)
    return Broker(cache=cache, max_connections=settings.max_connections, max_cost=most, dry=dry)
