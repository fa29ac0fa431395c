"""plugins/dummy.py - a model that always says the same: for trying pipelines out and measuring them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from guardeval.contracts import Completion, Judgement, Request, Traits
from guardeval.data import Target

__all__ = ["Dummy"]

_CERTAIN = Judgement(0.0, label=False)
_DEFAULT = {target: Completion(f"Decision: {target.negative}\nPolicies: none", judgement=_CERTAIN) for target in Target}


@dataclass(frozen=True)
class Dummy:
    """Answers every request with ``text``; without one, that nothing is harmful, and nothing a refusal."""

    model: str = "dummy"
    text: str | None = None
    latency: float = 0.0  # seconds a batch takes

    not_in_identity: ClassVar[tuple[str, ...]] = ("latency",)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"backend": "dummy", "model": self.model, "text": self.text}

    @property
    def traits(self) -> Traits:
        """Without a text of its own it answers the case's target, whatever the prompt says."""
        return Traits(classifies=self.text is None, literal=True, raw=True, forced=True, batch=64, instant=not self.latency)

    def generate_batch(self, requests: Sequence[Request]) -> Sequence[Completion]:
        if self.latency:
            time.sleep(self.latency)
        if self.text is not None:
            return [Completion(self.text)] * len(requests)
        return [_DEFAULT[request.case.target] for request in requests]
