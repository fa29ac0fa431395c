"""Run folders that tests of pages look at: real guards on rows that ship, or on rows of one's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import guardeval

__all__ = ["page_json", "run_on", "run_on_rows"]

_TASK = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
metadata:
  version: 1.0
  target: prompt_harmfulness
  fields: {prompt: text}
  label: {column: label, positive: 1, negative: 0}
"""


def run_on(out: Path, task: str = "wildguard", model: str = "embedded/word", **settings: Any) -> Path:
    """A finished run; sample rows unless ``data`` says otherwise. In a thread, for the browser's driver holds this one's loop."""
    settings = {"data": "sample", "solver": "multistep", "output_path": str(out), "no_cache": True} | settings
    with ThreadPoolExecutor(1) as thread:
        return Path(thread.submit(guardeval.run, task=task, model=model, **settings).result().path)


def run_on_rows(out: Path, texts: Sequence[str], model: str = "embedded/word", **settings: Any) -> Path:
    """A run on prompts of one's own, every other one labelled positive."""
    folder = out / "tasks"
    folder.mkdir(exist_ok=True)
    (folder / "mine.yaml").write_text(_TASK)
    rows = [{"text": text, "label": i % 2} for i, text in enumerate(texts)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return run_on(out, "mine", model, data=str(folder / "rows.jsonl"), include_path=[str(folder)], **settings)


def page_json(page: str) -> dict[str, Any]:
    """What the sample browser of a page reads."""
    text = page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    return dict(json.loads(text))
