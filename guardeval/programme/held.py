"""A system of the programme as it was measured: a finished run, a combination of runs, or either on a part of the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.judged import Judgements
from guardeval.runs import open_run

if TYPE_CHECKING:
    from guardeval.registry import Registry

__all__ = ["Held"]


@dataclass(frozen=True)
class Held:
    """``name`` as reports show it; ``key`` is equal for equal runs; ``fixed`` says why prompts cannot change it, if so."""

    name: str
    task: str
    path: Path
    key: str
    fixed: str = ""
    part: Judgements | None = None
    part_metrics: Mapping[str, Any] | None = None
    about_part: str = ""

    @cached_property
    def judged(self) -> Judgements:
        if self.part is not None:
            return self.part
        return next(t for t in open_run(self.path).tasks if t.name == self.task).judgements()

    @cached_property
    def results(self) -> Mapping[str, Any]:
        return open_run(self.path, samples=False).results()

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """Of the results file, or of the part."""
        if self.part_metrics is not None:
            return self.part_metrics
        found: Mapping[str, Any] = self.results["results"][self.task]
        return found

    def on(self, positions: Sequence[int], about: str, registry: Registry) -> Held:
        """The same system on some of its samples, scored anew."""
        from guardeval.scoring import score_task

        part = self.judged.take(positions)
        scorers = {n: registry.build("scorers", n) for n in ("classification", "per_policy")}
        metrics, _ = score_task(part, scorers)
        return Held(self.name, self.task, self.path, f"{self.key}:{about}", self.fixed, part, metrics, about)
