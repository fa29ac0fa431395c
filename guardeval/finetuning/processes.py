"""Which of the processes that ``accelerate launch`` started this one is. Imports nothing heavy."""

from __future__ import annotations

import os

from guardeval.errors import ConfigError

__all__ = ["is_main", "process_count"]


def process_count() -> int:
    """Processes that train together, 1 without a launcher."""
    return max(1, _number("WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this process is the one that writes and speaks."""
    return _number("RANK", 0) == 0


def _number(name: str, usual: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return usual
    if not text.isdigit():
        raise ConfigError(f"{name}={text!r} in the environment: a number is wanted; a launcher sets it, or nobody")
    return int(text)
