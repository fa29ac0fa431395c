"""``guardeval train rsft``: reasoning traces → a guard that reasons (R-SFT), by trl's supervised fine-tuning. Extra: ``train``.

Liu et al. (2025), GuardReasoner, arXiv:2501.18492, section 4.2. The loss is the mean negative log likelihood of the answer's
tokens; the prompt's have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from guardeval.finetuning.options import FineTuning
from guardeval.finetuning.supervised import Supervised
from guardeval.finetuning.tuning import Setting, tune
from guardeval.training_rows import TrainingFile

__all__ = ["RSFT"]


@dataclass(frozen=True)
class RSFT(Supervised):
    __doc__ = f"Learns the answers that traces make, each checked to be read as its label.\n\n    {FineTuning.__doc__}"

    takes: ClassVar[tuple[str, ...]] = ("traces",)
    kind: ClassVar[str] = "rsft"
    registered: ClassVar[str] = "rsft"

    def train(self, rows: TrainingFile, out: Path) -> Path:
        """The model folder; goes on where a killed training of the same command was."""
        return tune(self, rows, out)

    def trainer(self, setting: Setting) -> Any:
        from guardeval.finetuning.sft_trainer import sft_trainer

        return sft_trainer(setting)
