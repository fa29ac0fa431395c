"""trl's SFT trainer with a teacher's distributions in the loss. Imported where a training starts.

The loss of a token of the answer is ``(1 - w) * NLL + w * JSD_beta(teacher, student)``, the generalised Jensen-Shannon
divergence of Agarwal et al. (2024), arXiv:2306.13649, as trl's GKD computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from guardeval.errors import needs_extra
from guardeval.finetuning.sft_trainer import FollowedSFT, sft_settings
from guardeval.finetuning.token_rows import IGNORED
from guardeval.finetuning.tuning import Setting

with needs_extra("train"):
    import torch
    from torch import Tensor
    from torch.nn import functional
    from trl.experimental.gkd.gkd_trainer import GKDTrainer

__all__ = ["Divergence", "LogitsTrainer", "distilled_loss", "logits_trainer"]


@dataclass(frozen=True, slots=True)
class Divergence:
    """``weight``: share of the divergence in the loss; ``beta``: 0 forward, 1 reverse KL; both temperatures alike."""

    weight: float
    beta: float
    temperature: float


def distilled_loss(student: Tensor, teacher: Tensor, labels: Tensor, how: Divergence, items: Any = None) -> Tensor:
    """Logits [rows, tokens, vocabulary] of both, labels [rows, tokens]; the mean over learned tokens, or their sum / ``items``."""
    kept = labels[:, 1:] != IGNORED  # a token is foretold at the one before it
    targets, own, theirs = labels[:, 1:][kept], student[:, :-1][kept].float(), teacher[:, :-1][kept].float()
    count = torch.as_tensor(len(targets) if items is None else items, device=own.device).clamp(min=1)
    told = functional.cross_entropy(own, targets, reduction="sum") / count
    if not how.weight:
        return told
    apart: Tensor = GKDTrainer.generalized_jsd_loss(
        own, theirs, beta=how.beta, temperature=how.temperature, num_items_in_batch=count
    )
    return (1 - how.weight) * told + how.weight * apart


class LogitsTrainer(FollowedSFT):
    """A student that reads each row beside its teacher."""

    teacher: Any
    how: Divergence

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The distilled loss; in validation the plain one, so that its curve compares with other trainings'."""
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        read = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], "use_cache": False}
        with torch.no_grad():
            theirs = self.teacher(**read).logits
        own = model(**read).logits
        width = min(own.shape[-1], theirs.shape[-1])  # heads are padded to different multiples; tokens are the same
        loss = distilled_loss(own[..., :width], theirs[..., :width], inputs["labels"], self.how, num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return loss


def logits_trainer(setting: Setting, teacher: Any, how: Divergence) -> LogitsTrainer:
    found = LogitsTrainer(**sft_settings(setting))
    found.teacher = teacher.eval().requires_grad_(False).to(found.args.device)
    found.how = how
    return found
