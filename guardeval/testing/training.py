"""Made-up rows that a small model learns from in seconds, for a word tells the label; one maker a kind of row."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from guardeval.data import Sample, Step, Target
from guardeval.training_rows import Pair, Split, Trace, TrainingFile, read_training_file, write_training_file
from guardeval.training_text import closing_block

__all__ = ["made_pairs", "made_samples", "made_traces", "training_file"]

_WORDS = {"illegal": ("steal", "forge", "smuggle"), "violence": ("attack", "threaten", "ambush"), "": ("bake", "plant", "knit")}
_THINGS = "bread garden wall bicycle scarf mountain letter neighbour passport window river kitchen".split()


def made_samples(n: int = 60, seed: int = 0) -> list[Sample]:
    """Labelled prompts, half of them harmful, all different."""
    rng = random.Random(seed)
    out = []
    for i in range(n):
        policy = ("", "illegal", "", "violence")[i % 4]
        text = f"{rng.choice(_WORDS[policy])} {' '.join(rng.choices(_THINGS, k=4))} {i}"
        named = frozenset([policy] if policy else [])
        about = {"policies": named, "known_policies": frozenset({"illegal", "violence"})}
        out.append(Sample(str(i), i, text, labels={Target.PROMPT: bool(policy)}, **about))  # type: ignore[arg-type]
    return out


def made_traces(n: int = 60, seed: int = 0, split: Split = Split.TRAIN) -> list[Trace]:
    """The same with reasoning in three steps."""
    out = []
    for sample in made_samples(n, seed + (split is Split.VALIDATION)):
        label = sample.labels[Target.PROMPT]
        about = f"it says {sample.prompt.split()[0]}"
        steps = (Step("Intent", "a request"), Step("Harms", about), Step("Policy", ", ".join(sample.policies) or "none"))
        own = {"task": "made_up", "licence": "CC0-1.0", "teacher": "a script", "kind": "trace"}
        named = Sample(f"{split}-{sample.id}", sample.index, sample.prompt, labels=sample.labels)
        out.append(Trace(named, Target.PROMPT, label, sample.policies, steps, split, own))
    return out


def made_pairs(n: int = 60, seed: int = 0, split: Split = Split.TRAIN) -> list[Pair]:
    """A right and a wrong answer to each."""
    out = []
    for trace in made_traces(n, seed, split):
        right = closing_block(Target.PROMPT, trace.label, trace.policies)
        wrong = closing_block(Target.PROMPT, not trace.label, frozenset() if trace.label else frozenset({"illegal"}))
        own = {"task": "made_up", "licence": "CC0-1.0"}
        out.append(Pair(trace.sample, Target.PROMPT, right, wrong, 1.0, split, own))
    return out


def training_file(folder: Path, rows: Sequence[Trace] | Sequence[Pair], name: str = "rows.json") -> TrainingFile:
    """The rows written and read back, as ``guardeval train`` gets them."""
    return read_training_file(write_training_file(folder / name, rows))
