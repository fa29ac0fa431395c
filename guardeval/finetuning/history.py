"""What a training logged, entry by entry, and which of its evaluations is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["best_entry", "standing"]


def standing(entry: Mapping[str, Any]) -> tuple[float, float]:
    """How good an evaluation is: mean F1 over the targets (undefined: below any), then a low validation loss."""
    f1 = entry.get("eval_f1", math.nan)
    loss = entry.get("eval_loss", math.nan)
    return (-1.0 if math.isnan(f1) else f1, -math.inf if math.isnan(loss) else -loss)


def best_entry(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The best evaluation after training began, the first of equals."""
    judged = [e for e in history if "eval_validation" in e and e["step"] > 0]
    return max(judged, key=standing, default=None)
