"""From seeds to a file of verified variants.

Everything asked goes through the broker, in an order that only settings and answers decide: a killed synthesis that is given
again asks for nothing that was answered, and ends with the same rows.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from guardeval.broker import Counters
from guardeval.errors import DataError
from guardeval.pipeline import Progress, Silent
from guardeval.registry import Registry
from guardeval.synthesis.kept import write_apart, write_rows
from guardeval.synthesis.rounds import all_rounds
from guardeval.synthesis.seeds import Seeds, read_seeds
from guardeval.synthesis.settings import SynthesisSettings
from guardeval.synthesis.sifting import Sieve, tests_at_hand
from guardeval.synthesis.state import State, Tally
from guardeval.training_rows import Trace

__all__ = ["Synthesis", "synthesize"]


@dataclass(frozen=True, slots=True)
class Synthesis:
    """What came of it. ``status``: ``complete``, or ``stopped`` by the money limit. ``reasons``: why → how many left out."""

    path: Path
    apart_path: Path | None
    rows: int
    wanted: int
    rounds: int
    status: str
    by_kind: Mapping[str, Tally]
    reasons: Mapping[str, int]
    seeds: Seeds
    counters: Counters
    notes: tuple[str, ...] = ()
    never_heard: int = 0


def synthesize(settings: SynthesisSettings, registry: Registry | None = None, progress: Progress | None = None) -> Synthesis:
    """Write the file of rows, and beside it what was left out (``<output>.apart.jsonl``).

    Raises :class:`ConfigError` and :class:`DataError` for what is wrong before the first request, :class:`ModelUnusable` where
    nobody can be heard, and :class:`DataError` where no row is kept; what was left out, and why, is written then, too.
    """
    from guardeval.task import TaskIndex

    registry = registry or Registry()
    index = TaskIndex(settings.include_path, registry)
    state = State(settings, registry, read_seeds(settings.seeds, index, settings.task), progress or Silent())
    state.sieve = Sieve(state.seeds, tests_at_hand(settings, index), settings.similarity)
    asyncio.run(all_rounds(state))
    return _finish(state)


def _finish(state: State) -> Synthesis:
    settings = state.settings
    rows = _chosen(state)
    path = settings.output.expanduser()
    apart_path = path.with_name(f"{path.name.removesuffix('.gz').rpartition('.')[0]}.apart.jsonl")
    if state.apart:
        write_apart(apart_path, state.apart)
    else:
        apart_path.unlink(missing_ok=True)
    reasons = dict(Counter(a.reason for a in state.apart).most_common())
    if not rows:
        why = ", ".join(f"{n} {r}" for r, n in reasons.items()) or "nothing was asked before the money limit"
        raise DataError(f"no variant was kept, and {path} is not written: {why}; {apart_path} holds them")
    write_rows(path, rows)
    return Synthesis(
        path, apart_path if state.apart else None, len(rows), settings.n, state.rounds,
        "stopped" if state.stopped else "complete", state.tally, reasons, state.seeds, state.counters,
        tuple(_notes(state, len(rows))), state.failed,
    )  # fmt: skip


def _chosen(state: State) -> list[Trace]:
    """At most ``n`` rows, an even mixture as far as it goes: each kind's share, then what other kinds have beyond theirs."""
    left = {name: state.quota(name) for name in state.slots}
    within = []
    for slot, _ in state.kept:
        within.append(left[slot.kind.name] > 0)
        left[slot.kind.name] -= 1
    room = state.settings.n - sum(within)
    rows: list[Trace] = []
    for (slot, row), first in zip(state.kept, within, strict=True):
        if first or room > 0:
            rows.append(row)
            room -= not first
        else:
            state.tally[slot.kind.name].kept -= 1
            state.leave_out(slot, "more than -n asks for", row.sample.prompt)
    return rows


def _notes(state: State, rows: int) -> list[str]:
    settings, seeds = state.settings, state.seeds
    notes = []
    if rows < settings.n:
        why = "the money limit was reached" if state.stopped else f"{state.rounds} rounds are over; --rounds asks for more"
        notes.append(f"{rows} of {settings.n} rows: {why}")
    left_out = [f"{n} seeds left out: {why}" for why, n in seeds.left_out.items()]
    notes += left_out
    notes += [
        f"no seed suits {name}: its variants are labelled as their seeds are, and these have no label"
        for name in state.unsuited
    ]
    for task in seeds.tasks:
        notes.append(f"seeds are test rows of {task}: a model trained on these rows is marked as contaminated with it")
    tests = state.sieve.tests
    notes.append(f"no row is near a test row of: {', '.join(tests.tasks) or 'no task, for no test set is at hand'}")
    if tests.not_checked:
        missing = ", ".join(m.task for m in tests.not_checked)
        notes.append(f"not at hand, so not compared with (--against TASK=PATH, --data_dir): {missing}")
    if state.failed:
        notes.append(f"{state.failed} requests were never heard, the first with: {state.first_error[:200]}")
    return notes
