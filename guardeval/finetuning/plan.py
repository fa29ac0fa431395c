"""What a training would do, found without weights: rows, steps, batch, adapter."""

from __future__ import annotations

from typing import Any

from guardeval.finetuning.options import FineTuning
from guardeval.training_rows import Split, TrainingFile

__all__ = ["plan"]


def plan(options: FineTuning, rows: TrainingFile) -> dict[str, Any]:
    """As ``--dry_run`` prints it. Rows that would be left out as too long are known only with a tokenizer."""
    batching, train = options.batching, len(rows.of(Split.TRAIN))
    an_epoch = batching.steps(train)
    steps = options.max_steps or -(-int(an_epoch * options.epochs * 1000) // 1000)
    how = "all weights" if options.full or options.scratch else f"LoRA, r={options.r}, alpha={options.lora_alpha}"
    return {
        "model": options.model,
        "trained": how,
        "rows": f"{train:,} to train on, {len(rows.of(Split.VALIDATION)):,} for validation",
        "batch": f"{batching.effective} = {batching.per_device} x {batching.accumulation} accumulated x "
        f"{batching.processes} process{'es' if batching.processes > 1 else ''}",
        "steps": f"{steps:,} ({an_epoch:,} an epoch)",
        "learning rate": f"{options.lr:g}, {options.scheduler}, {options.warmup_steps} steps of warm-up",
        "asked as": f"{options.solver}, policies {options.policies}",
        "longest row": f"{options.max_length:,} tokens",
    }
