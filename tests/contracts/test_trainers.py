"""Every trainer of ours keeps the contract of trainers; the language models in a few steps, from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from guardeval.testing.suites import TrainerSuite
from guardeval.trainers.distillation import Distillation
from guardeval.trainers.hs_dpo_trainer import HSDPO
from guardeval.trainers.linear import Linear
from guardeval.trainers.r_sft_trainer import RSFT

STEPS = {
    "model": "scratch=32x1",
    "solver": "direct",
    "solver_args": {"max_tokens": 24},
    "batch": 4,
    "max_steps": 2,
    "validation_limit": 1,
}


class TestLinear(TrainerSuite):
    plugin = Linear
    options = {"sources": (), "bits": 12, "folds": 3}
    refused = ({"variant": "words"}, {"bits": 30}, {"folds": 1})
    learns = 0.8


class Tuned(TrainerSuite):
    """What the trainers of language models share: short policies and one thread."""

    @pytest.fixture(autouse=True)
    def _small(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        pytest.importorskip("trl")
        import torch

        torch.set_num_threads(1)
        cls = type(self)
        if "policies" not in cls.__dict__:
            cls.policies = tmp_path_factory.mktemp("policies")
            (cls.policies / "illegal.txt").write_text("Breaking the law.")
            (cls.policies / "violence.txt").write_text("Hurting people.")

    def make(self, **options: Any) -> Any:
        return self.plugin(**{**STEPS, "policies": str(self.policies), **self.options, **options})


@pytest.mark.slow
class TestRSFT(Tuned):
    plugin = RSFT
    repeats = False  # the slow ones train twice, by the same code
    refused = ({"lr": 0.0}, {"batch": 0})


@pytest.mark.slow
class TestDistillation(Tuned):
    plugin = Distillation
    refused = ({"logits": "true"}, {"beta": 2.0}, {"held_out": 1.0})


@pytest.mark.slow
class TestHSDPO(Tuned):
    plugin = HSDPO
    refused = ({"beta": 0.0}, {"k": 1}, {"gamma": 1.0})

    def rows(self, kind: str, place: Path) -> Any:
        return super().rows("pairs", place)
