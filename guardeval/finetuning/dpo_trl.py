"""trl's DPO trainer with a weight for each pair. Extra: ``train``.

trl weighs kinds of losses, never samples, and offers no hook for it, so the loss is computed here
(:mod:`guardeval.finetuning.dpo_loss`). Rows come in as token ids: prompts are tokenised the way a run sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from guardeval.errors import needs_extra
from guardeval.finetuning.dpo_loss import LogProbs, margins, pair_losses
from guardeval.finetuning.tuning import Setting, arguments
from guardeval.finetuning.watching import Watched

with needs_extra("train"):
    import torch
    from datasets import Dataset
    from torch import Tensor
    from transformers.trainer_utils import IntervalStrategy
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

__all__ = ["FollowedDPO", "HardSampleDPO", "WeightedCollator", "dpo_trainer"]

WEIGHT = "alpha"
_OURS = (WEIGHT, "row")
_NOT_THE_MODELS = ("completion_mask", "ref_chosen_logps", "ref_rejected_logps", *_OURS)


class WeightedCollator:
    """trl's batches of pairs, the right answers before the wrong ones, with each pair's α beside."""

    def __init__(self, pad: int) -> None:
        self._inner = DataCollatorForPreference(pad_token_id=pad)

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = self._inner(list(examples))
        batch[WEIGHT] = torch.tensor([float(e.get(WEIGHT, 1.0)) for e in examples])
        if "row" in examples[0]:
            batch["row"] = torch.tensor([e["row"] for e in examples])
        return batch


class HardSampleDPO(DPOTrainer):
    """Mean of α·loss over all pairs of an optimizer step, however they are spread over micro-batches and devices."""

    model: Any
    eval_dataset: Any
    _signature_columns: Any

    def __init__(self, *args: Any, sft_weight: float = 0.0, **kwargs: Any) -> None:
        self.sft_weight = sft_weight
        self._scale: float | Tensor | None = None
        super().__init__(*args, **kwargs)

    def _prepare_dataset(self, dataset: Any, *_args: Any) -> Any:
        return dataset  # tokenised already

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[no-untyped-call]
        self._signature_columns = list(dict.fromkeys([*self._signature_columns, *_OURS]))

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device) -> Any:
        """The micro-batches of a step. The trainer divides by their number, so that pairs of a short one (an epoch's last)
        would weigh more; the scale undoes that, and puts the number of all pairs of the step in its place."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        pairs = torch.tensor(sum(len(b[WEIGHT]) for b in batches), device=device)
        total = self.accelerator.gather(pairs).sum().clamp(min=1)
        self._scale = len(batches) * self.accelerator.num_processes / total
        return batches, items

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        return super()._precompute_ref_logps(dataset, name, batch_size) if len(dataset) else dataset

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        asked = {k: v for k, v in inputs.items() if k not in _OURS}
        return super().compute_ref_log_probs(model, asked)  # type: ignore[no-untyped-call]

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        found = self._log_probs(model, inputs)
        losses = pair_losses(found, inputs[WEIGHT], self.beta, self.sft_weight)
        loss = losses.mean() if self._scale is None or not self.model.training else losses.sum() * self._scale
        self._note(found, losses)
        return (loss, None) if return_outputs else loss

    def _log_probs(self, model: Any, inputs: dict[str, Any]) -> LogProbs:
        asked = {k: v for k, v in inputs.items() if k not in _NOT_THE_MODELS}
        mask = inputs["completion_mask"]
        labels = inputs["input_ids"].masked_fill(mask == 0, -100)
        each = model(**asked, labels=labels, use_cache=False, fused_lm_head=True).log_probs
        chosen, rejected = each[:, -(mask.shape[1] - 1) :].sum(dim=1).chunk(2)
        if self.precompute_ref_logps:
            reference = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        else:
            reference = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
        return LogProbs(chosen, rejected, *reference, tokens=mask[:, 1:].sum(dim=1).chunk(2)[0])

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        nothing_held = self.eval_dataset is not None and not len(self.eval_dataset)
        shown = {k: v for k, v in logs.items() if not (nothing_held and k == "eval_loss")}  # of no pair there is no loss
        super().log(shown, *args, **kwargs)

    def _note(self, found: LogProbs, losses: Tensor) -> None:
        """What the log shows beside the loss: margin and how often the right answer is preferred, over all devices."""
        gathered = self.accelerator.gather_for_metrics
        notes = self._metrics["train" if self.model.training else "eval"]
        margin = gathered(margins(found, self.beta).detach())
        notes["rewards/margins"].append(margin.mean().item())
        notes["rewards/accuracies"].append((margin > 0).float().mean().item())
        notes["logps/chosen"].append(gathered(found.chosen.detach()).mean().item())
        notes["logps/rejected"].append(gathered(found.rejected.detach()).mean().item())
        notes["loss/pairs"].append(gathered(losses.detach()).mean().item())


class FollowedDPO(Watched, HardSampleDPO):
    """Ours, and what happens beside its steps."""

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Where no pair is held out there is no loss to show, but the model can still be judged."""
        if len(self.eval_dataset):
            found: dict[str, float] = super().evaluate(*args, **kwargs)
            return found
        self.model.eval()
        logs = {"eval_loss": float("nan")}
        self.log(logs)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, logs)
        self.model.train()
        return logs


def dpo_trainer(setting: Setting, *, beta: float, sft_weight: float, precompute: bool) -> FollowedDPO:
    """The reference is the model as it starts: its adapter off, a frozen copy, or its log-probabilities found beforehand.

    Beforehand always where a parent's adapter is trained on: trl keeps the reference as a second adapter, and with two of
    them transformers restores the wrong one from a checkpoint; so the second is gone before the first checkpoint.
    """
    adapted = hasattr(setting.model, "peft_config")
    precompute = precompute or adapted
    held = list(setting.rows.validation)
    judged = bool(held) or setting.watch.validation is not None
    own = {"beta": beta, "max_length": None, "precompute_ref_log_probs": precompute, "router_aux_loss_coef": 0.0}
    args = arguments(setting, DPOConfig, **own)
    args.eval_strategy = IntervalStrategy.EPOCH if judged else IntervalStrategy.NO
    copied = setting.peft is None and not precompute
    trainer = FollowedDPO(
        setting.model,
        deepcopy(setting.model).eval() if copied else None,
        args=args,
        train_dataset=Dataset.from_list(list(setting.rows.train)),
        eval_dataset=Dataset.from_list(held) if judged else None,
        data_collator=WeightedCollator(setting.tokenizer.pad_token_id),
        processing_class=setting.tokenizer,
        peft_config=setting.peft,
        sft_weight=sft_weight,
    )
    if adapted and "ref" in trainer.model.peft_config:
        trainer.model.delete_adapter("ref")
    return trainer
