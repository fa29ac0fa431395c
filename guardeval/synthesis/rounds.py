"""Rounds of writing and verifying, until every kind has its rows or nothing more is to be tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from guardeval.broker import Bound
from guardeval.contracts import Completion
from guardeval.data import Outcome, Target, Verdict
from guardeval.errors import ModelError, ModelUnusable
from guardeval.synthesis.answers import read_requests
from guardeval.synthesis.asking import Heard, judged_by, written_by
from guardeval.synthesis.kept import Candidate, said_of, sample_of, trace_of
from guardeval.synthesis.kinds import Slot
from guardeval.synthesis.never import FORBIDDEN, is_flagged
from guardeval.synthesis.state import State, Tally, broker_of
from guardeval.synthesis.verifying import Opinion, Opinions

__all__ = ["all_rounds", "wanted"]

_MOST_GREEDY = 4.0  # how many times what is missing one round may ask for, however little was kept so far


async def all_rounds(state: State) -> None:
    async with broker_of(state.settings) as broker:
        state.counters = broker.counters
        generator = broker.bind(state.model, state.settings.model.name)
        verifiers = [broker.bind(m, n) for m, n in zip(state.verifiers, state.names, strict=True)]
        for bound in (generator, *verifiers):
            await bound.start()
        while state.rounds < state.settings.rounds and not state.stopped:
            slots = wanted(state)
            if not slots:
                return
            state.rounds += 1
            candidates = await _write(state, generator, slots)
            await _verify(state, verifiers, candidates)


def wanted(state: State) -> list[Slot]:
    """The next slots of every kind that lacks rows: as many as what was kept so far says that it takes."""
    out: list[Slot] = []
    for name, slots in state.slots.items():
        tally, missing = state.tally[name], state.missing(name)
        per_row = min(tally.asked / tally.kept if tally.kept else _MOST_GREEDY, _MOST_GREEDY) if tally.asked else 1.0
        for _ in range(math.ceil(missing * per_row / state.settings.each)):
            draw, place = divmod(state.next[name], len(slots))
            state.next[name] += 1
            one = slots[place]
            out.append(Slot(one.seed, one.kind, one.label, one.policies, draw))
    return out


async def _write(state: State, generator: Bound, slots: Sequence[Slot]) -> list[Candidate]:
    """Ask for variants; those that can be read, are new and are not of what is never generated."""
    task = f"round {state.rounds}: writing"
    state.progress.start(task, len(slots), state.counters)
    try:
        heard = await written_by(generator, slots, state.policies, state.settings, state.progress)
    finally:
        state.progress.finish(task)
    state.stopped = state.stopped or heard.stopped
    _check_heard(state, heard, generator.name)
    return [c for slot, said in zip(slots, heard.answers, strict=True) for c in _read(state, slot, said)]


def _check_heard(state: State, heard: Heard[Any], name: str) -> None:
    """Raises :class:`ModelUnusable` where a model failed on everything in the first round; later ones keep what they have."""
    said = [a for a in heard.answers if a is not None]
    errors = [e for e in map(_error, said) if e]
    state.failed += len(errors)
    state.first_error = state.first_error or next(iter(errors), "")
    if said and len(errors) == len(said) and state.rounds == 1:
        raise ModelUnusable(f"model {name!r} was never heard: all {len(said)} requests failed, the first with: {errors[0]}")


def _error(said: Any) -> str:
    if isinstance(said, ModelError):
        return str(said) or type(said).__name__
    return (said.raw or "failed") if isinstance(said, Verdict) and said.outcome is Outcome.FAILED else ""


def _read(state: State, slot: Slot, said: Completion | ModelError | None) -> list[Candidate]:
    if said is None:  # the money ended before it was asked
        return []
    tally = state.tally[slot.kind.name]
    tally.asked += state.settings.each
    if isinstance(said, ModelError):
        state.leave_out(slot, "the generator was not heard", about={"error": str(said)[:300]})
        return []
    answer = read_requests(said, state.settings.each)
    for problem in answer.problems:
        state.leave_out(slot, problem)
    return [Candidate(slot, text) for text in answer.requests if _passes(state, slot, text, tally)]


def _passes(state: State, slot: Slot, text: str, tally: Tally) -> bool:
    tally.readable += 1
    if is_flagged(text):
        state.leave_out(slot, FORBIDDEN)
        return False
    why = state.sieve.repeats(text)
    if why is None:
        return True
    tally.duplicates += 1
    state.leave_out(slot, why, None if "test row" in why else text)  # nobody's test rows are copied, however nearly
    return False


async def _verify(state: State, verifiers: Sequence[Bound], candidates: Sequence[Candidate]) -> None:
    samples = [sample_of(c) for c in candidates]
    heard: list[Heard[Verdict]] = []
    for bound in verifiers:
        task = f"round {state.rounds}: {bound.name}"
        state.progress.start(task, len(samples), state.counters)
        try:
            heard.append(await judged_by(bound, state.solver, samples, state.judging, state.progress))
        finally:
            state.progress.finish(task)
        _check_heard(state, heard[-1], bound.name)
        state.stopped = state.stopped or heard[-1].stopped
    for i, candidate in enumerate(candidates):
        verdicts = [h.answers[i] for h in heard]
        if None in verdicts:
            state.leave_out(candidate.slot, "not verified: the money limit was reached")
            continue
        said = zip(verifiers, verdicts, strict=True)
        opinions = tuple(Opinion(b.name, v, b.traits.classifies) for b, v in said if v is not None)
        _settle(state, candidate, Opinions(candidate.slot.label, opinions))


def _settle(state: State, candidate: Candidate, opinions: Opinions) -> None:
    """Keep a variant, or say why not."""
    slot, tally = candidate.slot, state.tally[candidate.slot.kind.name]
    if opinions.forbidden:
        state.leave_out(slot, FORBIDDEN)
        return
    why = opinions.refused(state.settings.agreement)
    if why is None:
        tally.verified += 1
        row = trace_of(candidate, opinions, state.solver, state.judging, state.settings.model.name)
        if row is not None:
            tally.kept += 1
            state.kept.append((slot, row))
            return
        why = "no verifier that agrees wrote reasoning that reads back"
    about = {"intended": Target.PROMPT.word(slot.label), "verifiers": said_of(opinions)}
    state.leave_out(slot, why, candidate.text, about)
