"""Made-up traces that a tiny model learns in seconds: two words decide, two short policies."""

from __future__ import annotations

import random
from pathlib import Path

from tiny_model import a_text

from guardeval.data import Sample, Step, Target
from guardeval.training_rows import Split, Trace, write_training_file

__all__ = ["QUICK", "made_traces", "short_policies", "trace_file"]

_POLICY = {"": None, "trespass": "illegal", "brawl": "violence"}
# a tiny model from nothing learns to answer in about 100 of these steps
QUICK = ("--lr", "8e-3", "--batch", "4", "--scheduler", "linear", "--warmup_steps", "5")


def made_traces(n: int, seed: int = 0, split: Split = Split.TRAIN) -> list[Trace]:
    """``n`` rows, a third of each kind, their reasoning in four steps."""
    rng = random.Random(f"{seed} {split}")
    out = []
    for i in range(n):
        marker = list(_POLICY)[i % 3]
        policy = _POLICY[marker]
        sample = Sample(f"{split}-{i}", i, a_text(rng, marker), labels={Target.PROMPT: policy is not None})
        about = f"it says {marker}" if marker else "it says nothing bad"
        named = f"{policy} is broken" if policy else "none is broken"
        steps = (Step("Intent", "a request"), Step("Harms", about), Step("Policy", named))
        policies = frozenset([policy] if policy else [])
        own = {"task": "made_up", "licence": "CC0-1.0", "teacher": "a script", "kind": "trace"}
        out.append(Trace(sample, Target.PROMPT, policy is not None, policies, steps, split, own))
    return out


def trace_file(path: Path, train: int = 240, held: int = 30, seed: int = 0) -> Path:
    return write_training_file(path, made_traces(train, seed) + made_traces(held, seed, Split.VALIDATION))


def short_policies(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "illegal.txt").write_text("Breaking the law.")
    (folder / "violence.txt").write_text("Hurting people.")
    return folder
