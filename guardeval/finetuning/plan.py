"""What a training would do, found without weights: configuration, parameters, memory, rows, steps, tokens, batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from guardeval.errors import ModelUnusable
from guardeval.finetuning.outline import Lengths, RowCount, Training, foreseen, lengths_of, outline
from guardeval.training_rows import Split, TrainingFile

if TYPE_CHECKING:
    from guardeval.finetuning.tuning import Method

__all__ = ["plan"]


def plan(method: Method, rows: TrainingFile | RowCount, training: Training | None = None) -> dict[str, Any]:
    """As ``--dry_run`` prints it. Tokens are counted where the tokenizer is at hand, else each row counts as ``max_length``."""
    from guardeval.finetuning.tuning import quieted

    training = training or Training()
    _ = method.policy_set  # refuses what is none
    held = "" if isinstance(rows, RowCount) else f"{len(rows.of(Split.VALIDATION)):,} rows"
    with quieted():
        outlined = outline(method, _lengths(method, rows, training), training)
    return {
        **outlined,
        **({"validation": held} if held else {}),
        "learning rate": f"{method.lr:g}, {method.scheduler}, {method.warmup_steps} steps of warm-up",
        "asked as": f"{method.solver}, policies {method.policies}",
    }


def _lengths(method: Method, rows: TrainingFile | RowCount, training: Training) -> Lengths:
    if isinstance(rows, RowCount):
        return foreseen(rows, method.max_length, training.sequences)
    counted = None if method.scratch else _counted(method, rows)
    return counted or foreseen(RowCount(len(rows.of(Split.TRAIN))), method.max_length, training.sequences)


def _counted(method: Method, rows: TrainingFile) -> Lengths | None:
    """None where the tokenizer is not to be had."""
    from guardeval.finetuning.base import find_base
    from guardeval.finetuning.loading import load_tokenizer
    from guardeval.finetuning.token_rows import LeftOut, Tokens

    try:
        tokens = Tokens(load_tokenizer(find_base(method), method))
    except ModelUnusable:
        return None
    left_out = LeftOut()
    encoded = method.encoded(rows, tokens, left_out)
    return lengths_of(map(_sequences, encoded.train), sum(left_out.counts.values()))


def _sequences(row: Mapping[str, Any]) -> tuple[int, ...]:
    """How many tokens a row makes the model read: one text, or a prompt with each of two answers."""
    if "ids" in row:
        return (len(row["ids"]),)
    return tuple(len(row["prompt_ids"]) + len(row[answer]) for answer in ("chosen_ids", "rejected_ids"))
