"""The loss of hard-sample DPO, as a function of log-probabilities (GuardReasoner, arXiv 2501.18492, equation 2).

For each pair i of a right and a wrong answer, with Δ the difference of their log-ratios to the reference:

    Δᵢ = (log π(right) − log π_ref(right)) − (log π(wrong) − log π_ref(wrong))
    lossᵢ = αᵢ · −log σ(β · Δᵢ) + s · −(log π(right) / tokens of the right answer)

The loss of a batch is the plain mean over its pairs. It is never divided by Σα: that would take the weights out again
wherever a batch holds one pair, and would make α mean something else in each batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["LogProbs", "margins", "pair_losses"]


@dataclass(frozen=True, slots=True)
class LogProbs:
    """Natural log-probabilities of whole answers, one a pair, shape (n,); ``tokens``: how many the right answer has."""

    chosen: Tensor
    rejected: Tensor
    ref_chosen: Tensor
    ref_rejected: Tensor
    tokens: Tensor


def margins(found: LogProbs, beta: float) -> Tensor:
    """β·Δ of each pair, (n,): by how much the model prefers the right answer more than the reference does."""
    return beta * ((found.chosen - found.ref_chosen) - (found.rejected - found.ref_rejected))


def pair_losses(found: LogProbs, alpha: Tensor, beta: float, sft_weight: float = 0.0) -> Tensor:
    """The loss of each pair, (n,). Its mean is the loss of the batch."""
    preference = alpha.to(found.chosen) * -logsigmoid(margins(found, beta))
    if not sft_weight:
        return preference
    return preference - sft_weight * found.chosen / torch.clamp(found.tokens, min=1)
