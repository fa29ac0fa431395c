"""executors/local.py - this process: one event loop, one broker, rows streamed through it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardeval.asking import Asking, Heard, Keep, ask, few_collections
from guardeval.brokers import broker_for

if TYPE_CHECKING:
    from guardeval.contracts import Exchange
    from guardeval.data import Judged
    from guardeval.executors import Hands
    from guardeval.pipeline import Plan
    from guardeval.running import Progress, Running
    from guardeval.runs import SampleLog

__all__ = ["Local"]


@dataclass(frozen=True)
class Local:
    """Takes no options."""

    @contextmanager
    def open(self, plan: Plan) -> Iterator[Hands]:
        yield _Loop()


class _Loop:
    def ask_all(self, run: Running) -> None:
        with few_collections():
            asyncio.run(_ask_all(run))


async def _ask_all(run: Running) -> None:
    plan, party = run.plan, run.party
    async with broker_for(plan.settings, spent=run.spent) as broker:
        run.counters = broker.counters
        bound = party.bind(broker)
        for task in plan.selection.tasks:
            with run.task(task) as (log, heard):
                asking = Asking(task.target, plan.policies, party.solver, bound)
                kept = _keeping(log, heard, run.progress)
                if not await ask(asking, iter(plan.rows[task.name]), heard.marker, kept):
                    run.status = "stopped"
                    return


def _keeping(log: SampleLog, heard: Heard, progress: Progress) -> Keep:
    def keep(judged: Judged, exchanges: Sequence[Exchange]) -> None:
        heard.look(judged.verdict)
        log.add(judged, exchanges)
        progress.sample(judged)

    return keep
