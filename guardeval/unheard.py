"""A guard that was never heard is a FAILED verdict of its own; a model that cannot be used ends the run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from guardeval.data import Outcome, Target, Verdict
from guardeval.errors import ModelError, ModelUnusable
from guardeval.plugin_exit import exited

__all__ = ["at_once", "each_heard", "heard"]

T = TypeVar("T")

Asked = Coroutine[Any, Any, Verdict]


async def heard(asked: Asked, target: Target) -> Verdict:
    """The verdict, or FAILED with the error that kept us from hearing it. Raises :class:`ModelUnusable`, and whatever is no
    :class:`ModelError`; of a solver that calls ``sys.exit`` a :class:`~guardeval.errors.PluginError`.
    """
    try:
        return await asked
    except ModelUnusable:
        raise
    except ModelError as e:
        return Verdict(target, Outcome.FAILED, raw=str(e))
    except SystemExit as e:
        raise exited("a solver", e) from e


async def each_heard(asked: Sequence[Asked], target: Target) -> list[Verdict]:
    """Several questions at once, in their order: those that were not heard keep nobody from the others."""
    return await at_once([heard(one, target) for one in asked])


async def at_once(asked: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them come to, in their order; where one raises, the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in asked]
    try:
        return list(await asyncio.gather(*tasks))
    finally:  # when one question ends the run, the others must not go on unheard
        for task in tasks:
            task.cancel()
