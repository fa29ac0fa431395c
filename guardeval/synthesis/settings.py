"""Everything that a synthesis can be told, checked before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardeval.errors import ConfigError
from guardeval.models import ModelSpec
from guardeval.rows import file_format
from guardeval.synthesis.kinds import KINDS, Kind, kinds_named

__all__ = ["SynthesisSettings"]


@dataclass(frozen=True, slots=True)
class SynthesisSettings:
    """Field names are the flags' names. ``against`` are test sets, each ``task=path``, or ``task`` for
    the hub; ``data_dir`` holds copies of others."""

    seeds: Path
    output: Path
    model: ModelSpec
    verifier: tuple[ModelSpec, ...]
    n: int = 750
    agreement: float = 0.67
    kinds: tuple[str, ...] = tuple(KINDS)
    policies: str = "minimal"
    solver: str = "multistep"
    solver_args: Mapping[str, Any] = field(default_factory=dict)
    task: str | None = None
    against: tuple[str, ...] = ()
    data_dir: Path | None = None
    include_path: tuple[str, ...] = ()
    each: int = 2
    rounds: int = 3
    temperature: float = 1.0
    max_tokens: int = 1024
    similarity: float = 0.7
    seed: int = 0
    max_cost: float | None = None
    max_connections: int | None = None
    cache: str | None = None
    no_cache: bool = False

    def __post_init__(self) -> None:
        _ = self.chosen
        if file_format(self.output) not in ("json", "jsonl"):
            raise ConfigError(f"{self.output}: a file of synthetic samples ends in .json or .jsonl (also .gz)")
        if self.output.expanduser().resolve() == self.seeds.expanduser().resolve():
            raise ConfigError(f"{self.output}: is the file of seeds; name another with -o")
        for name, least in (("n", 1), ("each", 1), ("rounds", 1), ("max_tokens", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"--{name} {getattr(self, name)}: a whole number from {least} is wanted")
        if self.each > 20:
            raise ConfigError(f"--each {self.each}: more than 20 variants in one answer are not asked for")
        if not 0.0 < self.agreement <= 1.0:
            raise ConfigError(f"--agreement {self.agreement:g}: a share above 0, at most 1, is wanted, e.g. 0.67")
        if not 0.0 < self.temperature < 10.0:
            raise ConfigError(f"--temperature {self.temperature:g}: above 0, for each round draws new variants; 1 is usual")
        if self.max_cost is not None and not self.max_cost > 0:
            raise ConfigError(f"--max_cost {self.max_cost:g}: an amount of US dollars above 0 is wanted")
        self._check_verifiers()

    def _check_verifiers(self) -> None:
        if not self.verifier:
            raise ConfigError(
                "no verifier: name another model with --verifier, better several: a label that nobody checked is not kept"
            )
        for i, spec in enumerate(self.verifier):
            if spec.name == self.model.name:
                raise ConfigError(f"--verifier {spec.name}: is the generator; labels are verified by another model")
            if spec in self.verifier[:i]:
                raise ConfigError(f"--verifier {spec.name}: is named twice: a model agrees with itself")

    @property
    def chosen(self) -> tuple[Kind, ...]:
        return kinds_named(self.kinds)
