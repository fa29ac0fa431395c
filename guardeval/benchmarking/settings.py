"""What a benchmark is told: which guards, which samples, which settings to measure them in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from guardeval.errors import ConfigError
from guardeval.models import ModelSpec

__all__ = ["CHARACTERS_A_TOKEN", "BenchSettings"]

CHARACTERS_A_TOKEN = 4  # lengths are named in tokens, and made in characters: the same texts for every model


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """Field names are the flags of ``guardeval bench``. An empty ``concurrency``, ``batch`` or ``lengths`` measures none."""

    model: tuple[ModelSpec, ...] = (ModelSpec("embedded"),)
    task: str = "wildguard"
    data: str = "sample"
    solver: str = "multistep"
    solver_args: Mapping[str, Any] = field(default_factory=dict)
    policies: str = "minimal"
    include_path: tuple[str, ...] = ()
    concurrency: tuple[int, ...] = (1, 2, 4, 8)  # queries under way at once
    batch: tuple[int, ...] = (1, 4, 16)  # prompts a call, of local models
    lengths: tuple[int, ...] = (128, 512, 2048)  # of the judged text, tokens of four characters
    n: int = 50  # samples
    rounds: int = 3  # how often each setting is measured, on all samples
    warmup: int = 3  # queries before each round that no figure counts
    max_tokens: int | None = None  # of each answer, None: what the solver allows
    accuracy_floor: float = 0.7  # a share in [0, 1]
    limit_ms: float = 100.0
    seed: int = 0  # of the samples and of the order of settings

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("guardeval bench: no model: name one with --model; `guardeval list models` shows the backends")
        for name in ("concurrency", "batch", "lengths"):
            sizes = getattr(self, name)
            if any(size < 1 for size in sizes) or len(set(sizes)) < len(sizes):
                raise ConfigError(f"guardeval bench: --{name} {','.join(map(str, sizes))}: different whole numbers from 1")
        for name, least in (("n", 1), ("rounds", 1), ("warmup", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"guardeval bench: --{name} {getattr(self, name)}: a whole number from {least} is wanted")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"guardeval bench: --max_tokens {self.max_tokens}: at least one token is wanted")
        if not 0.0 <= self.accuracy_floor <= 1.0:
            raise ConfigError(f"guardeval bench: --accuracy_floor {self.accuracy_floor}: a share in [0, 1], e.g. 0.7")
        if not (self.limit_ms > 0 and math.isfinite(self.limit_ms)):
            raise ConfigError(f"guardeval bench: --limit_ms {self.limit_ms}: milliseconds above 0 are wanted")
        if not (self.concurrency or self.batch or self.lengths):
            raise ConfigError("guardeval bench: --concurrency, --batch and --lengths are all `none`: nothing to measure")

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able, without the models' options: these may hold what is nobody's business."""
        return {**asdict(self), "model": [spec.name for spec in self.model]}
