"""The options that all trainers of language models share; each is a flag of ``guardeval train``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from guardeval.errors import ConfigError, did_you_mean
from guardeval.finetuning.processes import process_count
from guardeval.registry import Registry, parse_options

if TYPE_CHECKING:
    from guardeval.contracts import Solver
    from guardeval.policies import PolicySet

__all__ = ["SCHEDULERS", "SCRATCH", "Batching", "FineTuning"]

SCRATCH = "scratch"
SCHEDULERS = ("cosine", "linear", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt")  # transformers' names
_MOST = 8  # rows a device at once, unless told


@dataclass(frozen=True, slots=True)
class Batching:
    """``effective`` rows an optimizer step = ``per_device`` x ``accumulation`` x ``processes``."""

    effective: int
    per_device: int
    accumulation: int
    processes: int

    def steps(self, rows: int) -> int:
        """Optimizer steps an epoch; the last one may have fewer rows."""
        return ceil(ceil(rows / (self.per_device * self.processes)) / self.accumulation)


@dataclass(frozen=True)
class FineTuning:
    """``model``: a folder or repository of transformers, a model folder of guardeval's, or ``scratch`` (``scratch=64x2``): a
    tiny model of this width and depth made from nothing, for tests and demonstrations.

    ``batch`` rows make a step: ``per_device`` at a time on each of the processes, the rest by accumulation. LoRA of rank
    ``r`` unless ``full``; ``qlora=auto`` loads the frozen base in 4 bits where CUDA and bitsandbytes are. Rows longer than
    ``max_length`` tokens are left out and counted, never cut. After each epoch the validation rows (at most
    ``validation_limit`` of them) are judged; ``patience`` epochs without a better F1 end the training, 0 never does. The best
    epoch is the result. ``save_steps``: steps between checkpoints, 0: one an epoch. The same command goes on after a kill;
    ``fresh`` starts over. ``save=auto`` writes the adapter where the base is a repository, else merged weights.
    """

    model: str = SCRATCH
    solver: str = "multistep"
    solver_args: Mapping[str, Any] | str = field(default_factory=dict)  # also as text: "skip=intent"
    policies: str = "minimal"
    epochs: float = 3.0
    max_steps: int = 0  # 0: as many as the epochs make
    lr: float = 5e-5
    batch: int = 8
    per_device: int = 0  # 0: the most that divides, up to 8
    r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.05
    target_modules: tuple[str, ...] = ("all-linear",)
    target_parameters: tuple[str, ...] = ()  # of experts that are no linear layers
    full: bool = False
    qlora: Literal["auto", "true", "false"] = "auto"
    max_length: int = 2048
    scheduler: str = "cosine"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    gradient_checkpointing: bool = False
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str | None = None
    seed: int = 0
    save_steps: int = 0
    patience: int = 0
    validation_limit: int = 500
    validation_batch: int = 32
    save: Literal["auto", "adapter", "merged"] = "auto"
    revision: str | None = None
    trust_remote_code: bool = False
    name: str | None = None
    licence: str | None = None
    recipe: str | None = None  # where the options came from: set by --config
    fresh: bool = False

    # options that change how a training runs and not what comes of it: they may differ when it goes on
    free: ClassVar[frozenset[str]] = frozenset(
        {
            "fresh",
            "per_device",
            "gradient_checkpointing",
            "device",
            "save_steps",
            "validation_batch",
            "name",
            "licence",
            "save",
            "recipe",
        }
    )

    def __post_init__(self) -> None:
        for name in ("batch", "r", "lora_alpha", "validation_batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: 1 or more is wanted")
        for name in ("max_steps", "per_device", "warmup_steps", "save_steps", "patience", "validation_limit", "weight_decay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)}: 0 or more is wanted")
        for name in ("epochs", "lr", "max_grad_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}={getattr(self, name)}: a number above 0 is wanted")
        if not 0 <= self.seed < 1 << 32:  # as numpy and torch take it
            raise ConfigError(f"seed={self.seed}: a whole number from 0 to {(1 << 32) - 1} is wanted")
        if not 0 <= self.lora_dropout < 1:
            raise ConfigError(f"lora_dropout={self.lora_dropout}: a share from 0 to below 1 is wanted")
        if self.max_length < 16:
            raise ConfigError(f"max_length={self.max_length}: prompt and answer need 16 tokens at the least")
        if self.full and self.qlora == "true":
            raise ConfigError("full=true with qlora=true: weights in 4 bits cannot be trained; leave out one of the two")
        if self.scheduler not in SCHEDULERS:
            raise ConfigError(f"scheduler={self.scheduler!r} is unknown{did_you_mean(self.scheduler, SCHEDULERS)}")
        _ = self.batching, self.scratch, self.solver_object  # the policies may be files: read when they are used

    @property
    def batching(self) -> Batching:
        """Raises :class:`ConfigError` where ``batch`` does not divide by what runs at once."""
        processes = process_count()
        share, rest = divmod(self.batch, processes)
        if rest:
            raise ConfigError(
                f"batch={self.batch} does not divide by {processes} processes; say --batch {max(1, share) * processes}"
            )
        per_device = self.per_device or max(n for n in range(1, min(share, _MOST) + 1) if share % n == 0)
        if share % per_device:
            usable = ", ".join(str(n) for n in range(1, share + 1) if share % n == 0)
            raise ConfigError(
                f"batch={self.batch} over {processes} process{'es' if processes > 1 else ''} does not divide by "
                f"per_device={per_device}; it does by {usable}"
            )
        return Batching(self.batch, per_device, share // per_device, processes)

    @property
    def scratch(self) -> tuple[int, int] | None:
        """Width and depth of a model from nothing; None where ``model`` is one that exists."""
        if self.model == SCRATCH:
            return 64, 2
        if not self.model.startswith(SCRATCH + "="):
            return None
        width, _, depth = self.model.removeprefix(SCRATCH + "=").partition("x")
        if not (width.isdigit() and depth.isdigit() and int(width) >= 16 and int(width) % 16 == 0 and int(depth) >= 1):
            raise ConfigError(f"model={self.model!r}: scratch=WIDTHxDEPTH is wanted, the width in steps of 16: scratch=64x2")
        return int(width), int(depth)

    @property
    def solver_object(self) -> Solver:
        solver: Solver = Registry().build("solvers", self.solver, self.solver_options)
        return solver

    @property
    def solver_options(self) -> dict[str, Any]:
        given = self.solver_args
        return parse_options([given], "solver_args") if isinstance(given, str) else dict(given)

    @property
    def policy_set(self) -> PolicySet:
        from guardeval.policies import load_policies

        return load_policies(self.policies)
