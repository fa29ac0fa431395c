"""trl's SFT trainer on rows that are tokens already. Imported where a training starts."""

from __future__ import annotations

from functools import partial
from typing import Any

from guardeval.errors import needs_extra
from guardeval.finetuning.token_rows import collated
from guardeval.finetuning.tuning import Setting, arguments
from guardeval.finetuning.watching import Watched

with needs_extra("train"):
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

__all__ = ["FollowedSFT", "sft_settings", "sft_trainer"]


class FollowedSFT(Watched, SFTTrainer):
    """trl's, and what happens beside its steps."""


def sft_settings(setting: Setting) -> dict[str, Any]:
    """Constructor arguments of an SFT trainer."""
    held = setting.rows.validation
    return {
        "model": setting.model,
        "args": arguments(setting, SFTConfig, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}),
        "train_dataset": Dataset.from_list(list(setting.rows.train)),
        "eval_dataset": Dataset.from_list(list(held)) if held else None,
        "data_collator": partial(collated, pad=setting.tokenizer.pad_token_id),
        "processing_class": setting.tokenizer,
        "peft_config": setting.peft,
    }


def sft_trainer(setting: Setting) -> FollowedSFT:
    return FollowedSFT(**sft_settings(setting))
