"""How much memory a training takes on each device, foreseen from the model's shape.

Weights, adapter, gradients and the optimizer's states are exact. Activations are what autograd keeps of a decoder of the
Llama kind (RMSNorm, rotary positions, grouped keys, gated feed-forward) with attention that keeps its mask and no scores;
with b bytes a number, hidden h, queries q, feed-forward f (of all experts visited), heads a, rows of s tokens, a layer keeps
for each token

    8h + b(4q + 3f + s) + 4a + 8    its norms in float32, attention, feed-forward
    + b(4h + f)                     full: inputs of the weights that are trained
    + b(2h + f)                     LoRA, float32 weights, no dropout: inputs of the adapted layers, shared
    or 4i (+ 4i with dropout)       LoRA otherwise: each adapted layer's input i again, in float32, and its mask
    + 4r                            LoRA: of each adapted layer

and with checkpointing only b·h, and one layer's whole while it is worked at. Experts that are adapted as tensors are kept
once more each, changed (peft adds the change up as a whole). What the allocator and kernels take beside is
not foreseen: leave a tenth of the device free, and 1 GB for CUDA.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from guardeval.finetuning.architecture import Shape

__all__ = ["NF4", "Load", "Memory", "foresee", "kept_by_layers"]

NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes a number: 4 bits, a scale a 64 in 8 bits, and one in float32 a 256 scales
_FLOAT32 = 4
_TILE = (4096, 32768)  # tokens and vocabulary of the piece of logits that trl's loss holds at once


@dataclass(frozen=True, slots=True)
class Load:
    """What a device carries: ``sequences`` at a time of ``length`` tokens, padding included.

    ``width``: bytes a number of the weights; ``trained_width``: of what is trained; ``nf4``: linear layers in 4 bits.
    ``reference``: a frozen copy beside the model. ``whole_logits``: the loss needs all of them at once.
    """

    sequences: int
    length: int
    width: int = 2
    trained_width: int = 4
    nf4: bool = False
    full: bool = False
    dropout: float = 0.0
    checkpointing: bool = False
    reference: bool = False
    whole_logits: bool = False

    @property
    def tokens(self) -> int:
        return self.sequences * self.length


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes."""

    weights: int
    reference: int
    adapter: int
    gradients: int
    optimizer: int
    experts: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return sum(getattr(self, f.name) for f in fields(self))


def foresee(shape: Shape, load: Load) -> Memory:
    """Of a step of AdamW."""
    small = shape.linear if load.nf4 else 0
    weights = round((shape.parameters - small) * load.width + small * NF4)
    trained = shape.trained * load.trained_width
    return Memory(
        weights=weights,
        reference=weights if load.reference else 0,
        adapter=0 if load.full else trained,
        gradients=trained,
        optimizer=2 * trained,
        experts=shape.expanded * load.width,
        activations=kept_by_layers(shape, load),
        logits=_logits(shape, load),
    )


def _logits(shape: Shape, load: Load) -> int:
    if load.whole_logits:
        return load.tokens * shape.vocabulary * (load.width + 2 * _FLOAT32)
    return min(load.tokens, _TILE[0]) * min(shape.vocabulary, _TILE[1]) * (load.width + _FLOAT32)


def kept_by_layers(shape: Shape, load: Load) -> int:
    """What all layers keep for the backward pass."""
    whole = _a_token(shape, load) * load.tokens
    if not load.checkpointing:
        return whole
    return shape.layers * load.tokens * load.width * shape.hidden + whole // shape.layers


def _a_token(shape: Shape, load: Load) -> int:
    h, q, f, b = shape.hidden, shape.queries, shape.feedforward, load.width
    layer = 8 * h + b * (4 * q + 3 * f + load.length) + _FLOAT32 * shape.heads + 8
    if load.full:
        return shape.layers * (layer + b * (4 * h + f))
    ranks = _FLOAT32 * shape.rank * shape.adapters
    if b == _FLOAT32 and not load.dropout:
        return shape.layers * (layer + b * (2 * h + f)) + ranks
    return shape.layers * layer + shape.adapted * _FLOAT32 * (2 if load.dropout else 1) + ranks
