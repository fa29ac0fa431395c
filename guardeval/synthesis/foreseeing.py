"""``--dry_run``: what a first round would send, without sending it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from guardeval.broker import Estimate
from guardeval.contracts import Case, Completion
from guardeval.data import Sample, Target
from guardeval.errors import ModelError
from guardeval.pipeline import Silent
from guardeval.registry import Registry
from guardeval.synthesis.answers import read_requests
from guardeval.synthesis.asking import written_by
from guardeval.synthesis.kept import Candidate, sample_of
from guardeval.synthesis.kinds import Slot
from guardeval.synthesis.never import is_flagged
from guardeval.synthesis.rounds import wanted
from guardeval.synthesis.seeds import Seeds, read_seeds
from guardeval.synthesis.settings import SynthesisSettings
from guardeval.synthesis.state import State, broker_of

__all__ = ["Foreseen", "foresee"]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a first round would send, by model; variants that are not written yet are stood for by their seeds."""

    estimates: Mapping[str, Estimate]
    seeds: Seeds
    variants: int


def foresee(settings: SynthesisSettings, registry: Registry | None = None) -> Foreseen:
    """What the first round would send, without sending it."""
    from guardeval.task import TaskIndex

    registry = registry or Registry()
    seeds = read_seeds(settings.seeds, TaskIndex(settings.include_path, registry), settings.task)
    return asyncio.run(_foresee(State(settings, registry, seeds, Silent())))


async def _foresee(state: State) -> Foreseen:
    settings = state.settings
    slots = wanted(state)
    estimates: dict[str, Estimate] = {}
    async with broker_of(settings, dry=True) as broker:
        generator = broker.bind(state.model, settings.model.name)
        written = await written_by(generator, slots, state.policies, settings, state.progress)
        samples = [s for slot, said in zip(slots, written.answers, strict=True) for s in _stand_ins(slot, said, settings.each)]
        estimates[settings.model.name] = generator.estimate
        for model, name in zip(state.verifiers, state.names, strict=True):
            bound = broker.bind(model, name)
            for sample in samples:
                with suppress(ModelError):
                    await state.solver.solve(Case(sample, Target.PROMPT, state.judging), bound.asker())
            estimates[name] = bound.estimate
    return Foreseen(estimates, state.seeds, len(samples))


def _stand_ins(slot: Slot, said: Completion | ModelError | None, each: int) -> list[Sample]:
    """The variants where the cache has them; else the seed's text, numbered, for each."""
    known = read_requests(said, each).requests if isinstance(said, Completion) else ()
    if known:
        return [sample_of(Candidate(slot, t)) for t in known if not is_flagged(t)]
    text = slot.seed.sample.prompt
    return [sample_of(Candidate(slot, f"{text} ({slot.kind.name} {slot.draw} {i})")) for i in range(each)]
