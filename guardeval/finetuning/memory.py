"""Running out of memory becomes advice: which option to lower, and that nothing done so far is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from guardeval.errors import ConfigError, GuardevalError
from guardeval.finetuning.loading import Placed
from guardeval.finetuning.options import FineTuning
from guardeval.finetuning.workspace import Workspace

__all__ = ["OutOfMemory", "advice", "advised"]


class OutOfMemory(ConfigError, MemoryError):
    """The training does not fit; the message names the options that make it smaller."""


def advice(options: FineTuning, placed: Placed, longest: int) -> list[str]:
    """What to change, most effective first; each is a flag as it would be given. ``longest``: tokens of the longest row."""
    out = []
    if options.batching.per_device > 1:
        out.append(f"--per_device {options.batching.per_device // 2} (the same batch, fewer rows at once)")
    if not options.gradient_checkpointing:
        out.append("--gradient_checkpointing (slower, far fewer activations)")
    if options.full and not options.scratch:
        out.append("LoRA instead of --full")
    elif not placed.four_bits and not placed.on_cpu and not options.scratch:
        out.append("--qlora true (the base in 4 bits)")
    if longest > 64:
        out.append(f"--max_length {max(64, longest // 2)} (the longest row has {longest} tokens; longer ones are left out)")
    return [*out, "a smaller --model"]


@contextmanager
def advised(options: FineTuning, placed: Placed, longest: int, work: Workspace) -> Iterator[None]:
    """Turn torch's and Python's ways to run out of memory into :class:`OutOfMemory`."""
    from guardeval.causal.loading import is_out_of_memory

    try:
        yield
    except GuardevalError:
        raise
    except Exception as e:  # looked at: only running out of memory is dealt with here
        if not is_out_of_memory(e):
            raise
        kept = work.last_checkpoint()
        where = "no checkpoint was written yet" if kept is None else f"checkpoint {kept.name.rpartition('-')[2]} is kept"
        raise OutOfMemory(
            f"out of memory on {placed.device} with {options.batching.per_device} rows of up to {longest} tokens at once. "
            f"Change one of these, in this order: {'; '.join(advice(options, placed, longest))}. "
            f"{where[0].upper() + where[1:]}; --per_device and --gradient_checkpointing go on from there, the others start "
            "over (--fresh true)"
        ) from e
