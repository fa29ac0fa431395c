"""A training in outline, found without weights: configuration, parameters, precision, memory, steps, tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from guardeval.errors import ConfigError, ModelUnusable
from guardeval.finetuning.architecture import Architecture, Lora, Shape, resolve, shape_of
from guardeval.finetuning.foresight import Load, Memory, foresee
from guardeval.finetuning.options import FineTuning
from guardeval.finetuning.recipe import facts_for

__all__ = ["Lengths", "RowCount", "Training", "foreseen", "lengths_of", "outline"]

_WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class RowCount:
    """Rows that nobody has yet, for a plan without data."""

    rows: int

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ConfigError(f"rows={self.rows}: 1 or more is wanted")


@dataclass(frozen=True, slots=True)
class Lengths:
    """``rows`` to train on, their ``tokens`` together, and the ``longest``; ``foreseen``: assumed, not counted."""

    rows: int
    tokens: int
    longest: int
    foreseen: bool = False
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Training:
    """What a method adds to the shared options. ``sequences``: of tokens a row (a pair has two)."""

    sequences: int = 1
    reference: bool = False  # a frozen copy in memory
    whole_logits: bool = False  # the loss holds all logits at once


def lengths_of(rows: Iterable[Sequence[int]], left_out: int = 0) -> Lengths:
    """Of rows, each the lengths of its sequences; at least one."""
    found = list(rows)
    return Lengths(len(found), sum(map(sum, found)), max(map(max, found)), left_out=left_out)


def foreseen(rows: RowCount, max_length: int, sequences: int = 1) -> Lengths:
    """Of rows that are not there, or that cannot be counted: each as long as it may be."""
    return Lengths(rows.rows, rows.rows * max_length * sequences, max_length, foreseen=True)


def outline(options: FineTuning, lengths: Lengths, training: Training) -> dict[str, str]:
    """Line by line, in order. Raises :class:`ModelUnusable` where no configuration is to be found."""
    found = _architecture(options)
    lora = None if options.full or options.scratch else _lora(options)
    shape = shape_of(found.config, lora, options.trust_remote_code)
    _check_length(options, shape)
    dtype, nf4 = _precision(options)
    load = Load(
        sequences=options.batching.per_device * training.sequences,
        length=lengths.longest,
        width=_WIDTHS[dtype],
        trained_width=_WIDTHS[dtype] if lora is None else 4,
        nf4=nf4,
        full=lora is None,
        dropout=options.lora_dropout,
        checkpointing=options.gradient_checkpointing,
        reference=training.reference,
        whole_logits=training.whole_logits,
    )
    return {
        **_about(options, found, shape, dtype, nf4),
        **_steps(options, lengths, training.sequences),
        **_memory(foresee(shape, load), load),
    }


def _architecture(options: FineTuning) -> Architecture:
    if options.scratch is not None:
        from guardeval.finetuning.scratch import scratch_config

        width, depth = options.scratch
        return Architecture(scratch_config(width, depth, max(4096, options.max_length)), "made from nothing")
    return resolve(
        _source(options.model), options.revision, options.trust_remote_code, facts_for(options.model, options.recipe)
    )


def _source(model: str) -> str:
    """Of a folder that holds an adapter only, the base of it."""
    from guardeval.causal.source import base_of_adapter, holds_adapter

    folder = Path(model).expanduser()
    return base_of_adapter(folder).name if holds_adapter(folder) else model


def _lora(options: FineTuning) -> Lora:
    return Lora(options.r, options.target_modules, options.target_parameters, options.lora_dropout)


def _check_length(options: FineTuning, shape: Shape) -> None:
    if shape.context is not None and options.max_length > shape.context:
        raise ConfigError(f"max_length={options.max_length}: the model's context is {shape.context} tokens; say at most that")


def _precision(options: FineTuning) -> tuple[str, bool]:
    """As it would be on this machine; where the machine cannot do what is asked for, as it is asked for."""
    from guardeval.finetuning.loading import place

    try:
        placed = place(options)
    except (ConfigError, ModelUnusable):
        return ("bfloat16" if options.dtype == "auto" else options.dtype), options.qlora == "true"
    whole = options.full and options.dtype in ("auto", "float16")
    return ("float32" if whole else placed.dtype), placed.four_bits


def _about(options: FineTuning, found: Architecture, shape: Shape, dtype: str, nf4: bool) -> dict[str, str]:
    share = shape.trained / shape.parameters
    experts = " and experts" if shape.expanded else ""
    how = "all of them" if not shape.rank else f"LoRA of rank {shape.rank} on {shape.adapters} layers{experts}, {share:.2%}"
    return {
        "model": options.model,
        "configuration": f"{found.config.model_type}, {found.origin}",
        "parameters": f"{shape.parameters:,}",
        "trained": f"{shape.trained:,} ({how})",
        "precision": f"{dtype}{', linear layers in 4 bits (nf4)' if nf4 else ''}",
    }


def _steps(options: FineTuning, lengths: Lengths, sequences: int) -> dict[str, str]:
    batching = options.batching
    epoch = batching.steps(lengths.rows)
    total = options.max_steps or round(epoch * options.epochs)
    out = f", {lengths.left_out} left out" if lengths.left_out else ""
    kind = "at most" if lengths.foreseen else "counted:"
    epochs = total / epoch
    return {
        "rows": f"{lengths.rows:,}{' (as told)' if lengths.foreseen else ''}{out}",
        "tokens": f"{kind} {lengths.tokens:,} an epoch, {round(lengths.tokens * epochs):,} in all; longest {lengths.longest:,}",
        "batch": (
            f"{batching.effective} = {batching.per_device} at once x {batching.accumulation} accumulated x "
            f"{batching.processes} process{'es' if batching.processes > 1 else ''}"
            + (f", each row {sequences} sequences" if sequences > 1 else "")
        ),
        "steps": f"{epoch:,} an epoch, {total:,} in all ({epochs:g} epochs)",
    }


def _memory(memory: Memory, load: Load) -> dict[str, str]:
    rows = {
        "weights": memory.weights,
        "reference": memory.reference,
        "adapter": memory.adapter,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "adapted experts": memory.experts,
        "activations": memory.activations,
        "logits": memory.logits,
    }
    how = f" ({load.sequences} x {load.length} tokens{', with checkpointing' if load.checkpointing else ''})"
    shown = {f"memory: {k}": _bytes(v) + (how if k == "activations" else "") for k, v in rows.items() if v}
    return {**shown, "memory in all": f"{_bytes(memory.total)} a device, and what the allocator takes (about a tenth)"}


def _bytes(n: int) -> str:
    size, unit = float(n), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
