"""The model in training judged by guardeval's own pipeline: parse rate, accuracy and F1 with intervals."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guardeval.contracts import Completion, Request, Solver, Traits
from guardeval.data import Judged, Outcome, Sample, Target
from guardeval.judged import Judgements
from guardeval.policies import PolicySet
from guardeval.registry import Registry
from guardeval.stats import rate

__all__ = ["InMemory", "Validation", "validation_samples"]

_METRICS = ("accuracy", "f1")
_ACCOUNTING = "strict"  # an unreadable answer is a wrong one: a model must not gain by silence


class InMemory:
    """A causal model that is loaded already, as guardeval asks models."""

    def __init__(self, model: Any, tokenizer: Any, batch: int, max_length: int | None = None) -> None:
        from guardeval.causal.engine import Engine
        from guardeval.causal.loading import ready

        self._batch = batch
        self._engine = Engine(ready(model, tokenizer, max_length), batch=batch, share=True, thinking=None)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"backend": "training"}

    @property
    def traits(self) -> Traits:
        return Traits(chat=True, raw=True, forced=True, batch=self._batch)

    def generate_batch(self, requests: Sequence[Request]) -> Sequence[Completion]:
        return self._engine.answer(requests)


Cases = Mapping[Target, Sequence[Sample]]


def validation_samples(cases: Iterable[tuple[Target, Sample]], limit: int, seed: int) -> dict[Target, list[Sample]]:
    """Each labelled sample once, by target; a seeded choice of ``limit`` where there are more (0: all)."""
    once: dict[tuple[Target, str, str | None], Sample] = {}
    for target, sample in cases:
        if target in sample.labels:
            once.setdefault((target, sample.prompt, sample.response), sample)
    keys = list(once)
    if limit and len(keys) > limit:
        keys = [keys[i] for i in sorted(random.Random(seed).sample(range(len(keys)), limit))]
    out: dict[Target, list[Sample]] = {}
    for key in keys:
        out.setdefault(key[0], []).append(once[key])
    return out


@dataclass(frozen=True)
class Validation:
    """Samples, by target, and how they are asked."""

    samples: Cases
    solver: Solver
    policies: PolicySet
    batch: int

    def __len__(self) -> int:
        return sum(map(len, self.samples.values()))

    def judged(self, model: Any, tokenizer: Any, share: tuple[int, int] = (0, 1)) -> dict[Target, dict[int, Judged]]:
        """Verdicts on every ``share[1]``-th sample from ``share[0]`` on, by place; the model is left as it was found."""
        from guardeval.judging import judge

        training, settings = model.training, model.generation_config
        model.eval()
        try:
            asked = InMemory(model, tokenizer, self.batch)
            out: dict[Target, dict[int, Judged]] = {}
            for target, samples in self.samples.items():
                mine = list(range(share[0], len(samples), share[1]))
                found: list[Judged] = list(
                    judge([samples[i] for i in mine], target, self.policies, self.solver, asked, "training")
                )
                out[target] = dict(zip(mine, found, strict=True))
            return out
        finally:
            model.generation_config = settings
            model.train(training)

    def scores(self, judged: Mapping[Target, Mapping[int, Judged]]) -> dict[str, Any]:
        """``parse_rate``, ``accuracy`` and ``f1`` by target, each ``{value, low, high, n}``; nan where undefined."""
        scorer = Registry().build("scorers", "classification")
        out: dict[str, Any] = {}
        for target, found in judged.items():
            columns = Judgements.of([found[i] for i in sorted(found)], target, self.policies.names)
            scored = scorer.score(columns)
            parsed = rate(sum(j.verdict.outcome is Outcome.PARSED for j in found.values()), len(found))
            each = {"parse_rate": {"value": parsed.value, "low": parsed.low, "high": parsed.high, "n": len(found)}}
            for name in _METRICS:
                low, high = scored[f"{name}_ci,{_ACCOUNTING}"]
                value, n = scored[f"{name},{_ACCOUNTING}"], scored[f"{name}_n,{_ACCOUNTING}"]
                each[name] = {"value": float(value), "low": float(low), "high": float(high), "n": int(n)}
            out[str(target)] = each
        return out
