"""The pages of the documentation, taken apart: fenced blocks, commands, sections, tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["LOOPBACK", "PAGES", "ROOT", "Block", "blocks", "commands", "names", "page_text", "prose", "section", "table"]

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/tasks.md",
    "docs/add_a_benchmark.md",
    "docs/plugins.md",
    "docs/plugins/task.md",
    "docs/plugins/solver.md",
    "docs/plugins/scorer.md",
    "docs/plugins/model.md",
    "docs/plugins/trainer.md",
    "docs/plugins/optimizer.md",
    "docs/accounting.md",
    "docs/solvers.md",
    "docs/native.md",
    "docs/ensembles.md",
    "docs/models.md",
    "docs/runs.md",
    "docs/reports.md",
    "docs/experiments.md",
    "docs/analysis.md",
    "docs/mining.md",
    "docs/traces.md",
    "docs/training_data.md",
    "docs/synthesize.md",
    "docs/optimizing.md",
    "docs/training.md",
    "docs/training_dpo.md",
    "docs/review.md",
    "docs/bench.md",
    "docs/lm_eval.md",
    "docs/scale.md",
    "docs/inspect.md",
    "docs/testing.md",
    "docs/inspect_logs.md",
    "docs/gate.md",
    "docs/gate_ci.md",
)
LOOPBACK = "http://127.0.0.1:8000/v1"  # the address that stands for a server in the pages


class Block(NamedTuple):
    """A fenced block: ``info`` holds the ``key=value`` words after its language."""

    line: int
    language: str
    info: Mapping[str, str]
    text: str


@cache
def page_text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def blocks(page: str) -> tuple[Block, ...]:
    out = []
    for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", page_text(page), re.MULTILINE | re.DOTALL):
        language, *words = match[1].split() or [""]
        line = page_text(page)[: match.start()].count("\n") + 1
        out.append(Block(line, language, dict(w.split("=", 1) for w in words), match[2]))
    return tuple(out)


def commands(block: Block) -> Iterator[list[str]]:
    """The command lines of a block as words; patterns become the files that they match, as in a shell."""
    for line in block.text.replace("\\\n", " ").split("\n"):
        words = shlex.split(line, comments=True)
        if words:
            yield [name for word in words for name in _matching(word)]


def _matching(word: str) -> list[str]:
    return (sorted(map(str, Path().glob(word))) if "*" in word else []) or [word]


def prose(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", page_text(page), flags=re.MULTILINE | re.DOTALL)


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next of its level or above."""
    level = re.match(r"#+", heading)[0]
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", page_text(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {heading!r}"
    return found[1]


def table(text: str, first: str) -> list[list[str]]:
    """Rows of the table whose first column is headed ``first``, cells stripped."""
    found = re.search(rf"^\| {re.escape(first)} \|.*\n\|[ :|-]+\|\n((?:\|.*\n)*)", text, re.MULTILINE)
    assert found, f"no table that begins with {first!r}"
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line.strip("|"))] for line in found[1].splitlines()]


def names(cell_text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell_text)
