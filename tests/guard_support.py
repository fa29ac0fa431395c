"""Small linear guards and benchmarks made on the spot, on rows that a test chooses."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from guardeval.data import Sample, Target

BAD = ["steal", "attack", "forge", "threaten", "smuggle", "bully"]
GOOD = ["bake", "plant", "paint", "repair", "knit", "hike"]
THINGS = "bread garden wall bicycle scarf mountain letter neighbour passport window river kitchen".split()

Rows = list[tuple[str, bool]]


def made_up(n: int, seed: int = 7) -> Rows:
    """Prompts in which a verb tells the label, all different."""
    draw = random.Random(seed)
    verbs = {True: BAD, False: GOOD}
    return [
        (f"{draw.choice(verbs[bool(i % 2)])} {' '.join(draw.choices(THINGS, k=4))} {draw.randrange(10**6)}", bool(i % 2))
        for i in range(n)
    ]


def train_guard(rows: Rows, out: Path) -> Path:
    """A model folder that has seen these rows."""
    from guardeval.trainers.linear import Linear

    samples = [Sample(str(i), i, text, labels={Target.PROMPT: label}) for i, (text, label) in enumerate(rows)]
    return Linear(sources=(), bits=12, folds=3).train(samples, out)


def write_task(folder: Path, rows: Rows, name: str = "mine", responses: bool = False) -> dict[str, Any]:
    """A task over these rows; what ``guardeval.run`` must be told to run it."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(
        f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {name}.jsonl}}}}\ntest_split: test\n"
        "metadata:\n  version: 1.0\n  target: prompt_harmfulness\n  fields: {prompt: text}\n"
        "  label: {column: label, positive: 1, negative: 0}\n"
    )
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps({"text": text, "label": int(label)}) + "\n" for text, label in rows))
    return {"task": name, "include_path": str(folder), "data": str(data)}
