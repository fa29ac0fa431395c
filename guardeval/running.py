"""A run under way: what executors fill. It outlives them, so that an interrupted run keeps what was heard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from guardeval.asking import Heard
from guardeval.broker import Counters
from guardeval.errors import GuardevalError
from guardeval.runs import RunFolder, SampleLog

if TYPE_CHECKING:
    from guardeval.data import Judged
    from guardeval.party import Party
    from guardeval.pipeline import Plan
    from guardeval.tally import Tally
    from guardeval.task import Task

__all__ = ["Progress", "Running", "Silent"]


class Progress(Protocol):
    """What a run tells whoever watches it: samples one by one, or some at once."""

    def start(self, task: str, total: int | None, counters: Counters) -> None: ...

    def sample(self, judged: Judged) -> None: ...

    def samples(self, some: Tally) -> None: ...

    def finish(self, task: str) -> None: ...


class Silent:
    """Watches and tells nobody."""

    def start(self, task: str, total: int | None, counters: Counters) -> None:
        return

    def sample(self, judged: Judged) -> None:
        return

    def samples(self, some: Tally) -> None:
        return

    def finish(self, task: str) -> None:
        return


@dataclass
class Running:
    """What is asked, where it goes, and what has been heard so far."""

    plan: Plan
    party: Party
    folder: RunFolder
    progress: Progress
    spent: float = 0.0  # US dollars, by earlier models of the same command
    logs: dict[str, SampleLog] = field(default_factory=dict)
    heard: dict[str, Heard] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    status: str = "complete"
    problem: GuardevalError | None = None  # what ended it early, once what was heard is written
    executor: dict[str, Any] = field(default_factory=dict)  # what the results file says of where it was done

    @contextmanager
    def task(self, task: Task) -> Iterator[tuple[SampleLog, Heard]]:
        """Begin a task, and say so when it is over."""
        settings = self.plan.settings
        log = self.folder.samples(task.name, task.target, self.plan.policies.names, settings.redact)
        self.logs[task.name] = log
        heard = self.heard[task.name] = Heard(self.party.marker(task.name))
        self.progress.start(task.name, self.plan.rows[task.name].count(), self.counters)
        try:
            yield log, heard
        finally:
            self.progress.finish(task.name)

    @property
    def first_error(self) -> str:
        return next((h.first_error for h in self.heard.values() if h.first_error), "")

    def abandon(self) -> None:
        for log in self.logs.values():
            log.abandon()
        self.folder.discard()
