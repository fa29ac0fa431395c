"""Fine-tuning of causal language models: what the trainers share. Extra: ``train``.

A trainer says which loss its rows make (:class:`~guardeval.finetuning.tuning.Method`); the rest is here: the base model with
LoRA, 4 bits or in full, rows as tokens, checkpoints that survive a kill, progress, validation by guardeval's own
scorer, early stop, advice when memory runs out, and the model folder.
"""

from __future__ import annotations
