"""What a person watching a run sees: rate, running F1 and over-flagging, cost, time left; plain lines in a pipe."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TextIO

from guardeval.report.plain import clipped, width
from guardeval.tally import Tally

if TYPE_CHECKING:
    from guardeval.broker import Counters
    from guardeval.data import Judged
    from guardeval.pipeline import Progress

__all__ = ["progress_for"]

_EVERY = 10.0  # seconds between plain lines
_LIVE = 0.1  # seconds between two drawings of the live line
_LOOK = 64  # samples between two looks at the clock, where answers come from the cache
_BAR = 24  # columns, where there is room


def progress_for(quiet: bool, stream: TextIO | None = None) -> Progress:
    """A live line on a terminal, plain lines elsewhere and when quiet."""
    stream = stream or sys.stderr
    live = not quiet and stream is not None and stream.isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}
    return _Live(stream) if live else _Plain(stream)


class _Tally(Tally):
    """Counts with a clock: rate, running F1 and over-flagging, time left."""

    def __init__(self, counters: Counters, total: int | None) -> None:
        super().__init__()
        self.total = total or 0
        self.counters = counters
        self.began = time.monotonic()

    def count(self) -> str:
        return f"{self.n}/{self.total}" if self.total else str(self.n)

    def rate(self, now: float) -> float:
        return self.n / max(now - self.began, 1e-9)

    def quality(self, short: bool = False) -> list[str]:
        positives, negatives = 2 * self.tp + self.fp + self.fn, self.fp + self.tn
        f1 = f"{2 * self.tp / positives:.3f}" if positives else "n/a"
        over = f"{self.fp / negatives:.3f}" if negatives else "n/a"
        parts = [f"F1 {f1}", f"{'over' if short else 'over-flagging'} {over}"]
        if self.failed:
            parts.append(f"{self.failed} {'unheard' if short else 'never heard'}")
        if self.counters.cost:
            parts.append(f"US$ {self.counters.cost:.2f}")
        return parts

    def left(self, now: float) -> str:
        """Time left, at the rate so far; the time taken when all is done."""
        if self.n >= self.total:
            return f"in {_clock(now - self.began)}"
        return f"{_clock((self.total - self.n) / self.rate(now))} left" if self.n else ""


class _Watcher(ABC):
    """Counts samples, and speaks when it is time; a terminal that went away never stops a run."""

    every = _EVERY

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._task = ""
        self._tally: _Tally | None = None
        self._last = 0.0

    def start(self, task: str, total: int | None, counters: Counters) -> None:
        self._task, self._tally = task, _Tally(counters, total)
        self._last = time.monotonic()

    def sample(self, judged: Judged) -> None:
        tally = self._tally
        if tally is None:
            return
        tally.add(judged)
        if tally.n % _LOOK == 0 or not judged.usage.cached:
            self._look(tally)

    def samples(self, some: Tally) -> None:
        if self._tally is not None:
            self._tally.add_all(some)
            self._look(self._tally)

    def _look(self, tally: _Tally) -> None:
        """Speak, if it is time."""
        now = time.monotonic()
        if now - self._last >= self.every:
            self._last = now
            self.show(tally, now)

    def finish(self, task: str) -> None:
        if self._tally is not None and self._tally.n:  # a run that fails at once says so in one line, not in two
            self.show(self._tally, time.monotonic())
        self._tally = None

    @abstractmethod
    def show(self, tally: _Tally, now: float) -> None:
        """Say how far it is."""

    def write(self, text: str) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):  # closed: the run and its table matter, not this
                self._stream.write(text)
                self._stream.flush()


class _Plain(_Watcher):
    """A line every ten seconds."""

    def show(self, tally: _Tally, now: float) -> None:
        head = f"{self._task}: {tally.count()} samples  {tally.rate(now):.0f}/s"
        self.write("  ".join(filter(None, [head, *tally.quality(), tally.left(now)])) + "\n")


class _Live(_Watcher):
    """One line that redraws itself; where the terminal is narrow it says less, never the half of something."""

    every = _LIVE

    def start(self, task: str, total: int | None, counters: Counters) -> None:
        super().start(task, total, counters)
        if self._tally is not None:
            self.show(self._tally, time.monotonic())

    def show(self, tally: _Tally, now: float) -> None:
        self.write("\r\x1b[K" + live_line(self._task, tally, now, shutil.get_terminal_size().columns - 1))

    def finish(self, task: str) -> None:
        drawn = self._tally is not None
        super().finish(task)
        if drawn:
            self.write("\n")


def live_line(task: str, tally: _Tally, now: float, columns: int) -> str:
    """Task, bar, count, rate, running F1 and over-flagging, failures, cost, time left, in at most ``columns``."""
    rate, left = f"{tally.rate(now):.0f}/s" if tally.n else "", tally.left(now) if tally.n else ""
    choices = (
        [task, _bar(tally), tally.count(), rate, *tally.quality(), left],
        [task, tally.count(), rate, *tally.quality(), left],
        [task, tally.count(), rate, *tally.quality(short=True), left],
        [clipped(task, 12), tally.count(), *tally.quality(short=True), left],
        [tally.count(), *tally.quality(short=True), left],
        [tally.count(), *tally.quality(short=True)[:2], left],
        [tally.count(), left],
    )
    lines = ["  ".join(filter(None, parts)) for parts in choices]
    return next((line for line in lines if width(line) <= columns), clipped(lines[-1], columns))


def _bar(tally: _Tally) -> str:
    if not tally.total:
        return ""
    done = min(_BAR * tally.n // tally.total, _BAR)
    return "━" * done + "─" * (_BAR - done)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
