"""The broker that settings ask for: which cache, how many connections, how much money is left."""

from __future__ import annotations

import sys
from pathlib import Path

from guardeval.broker import Broker, default_cache_path
from guardeval.settings import Settings

__all__ = ["broker_for", "cache_of", "money_left"]


def cache_of(settings: Settings) -> Path | None:
    """The file of answers, None where none is wanted."""
    if settings.no_cache:
        return None
    return Path(settings.cache) if settings.cache else default_cache_path()


def money_left(settings: Settings, spent: float) -> float | None:
    """US dollars, None for no limit; never 0, which would be no limit to some."""
    return None if settings.max_cost is None else max(settings.max_cost - spent, sys.float_info.min)


def broker_for(settings: Settings, dry: bool = False, spent: float = 0.0) -> Broker:
    """``spent``: US dollars that earlier models of the same command took."""
    left = money_left(settings, spent)
    return Broker(cache=cache_of(settings), max_connections=settings.max_connections, max_cost=left, dry=dry)
