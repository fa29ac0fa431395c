"""The figures that GuardReasoner's paper prints, by benchmark and size of model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Benchmark", "Published", "PublishedGroup", "read_published"]

_FILE = Path(__file__).parent / "published" / "guardreasoner.yaml"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark: its task and name, the published F1 by size as a share in [0, 1], and the file its rows usually lie in."""

    task: str
    name: str  # as the paper and its recordings spell it
    f1: Mapping[str, float]
    file: str  # without .json, .jsonl and .gz, below the data folder


@dataclass(frozen=True, slots=True)
class PublishedGroup:
    """Benchmarks of one target, in the paper's order, and their published weighted average by size."""

    name: str
    table: str
    average: Mapping[str, float]
    benchmarks: tuple[Benchmark, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """``average``: of the three targets, by size."""

    source: str
    sizes: tuple[str, ...]
    groups: tuple[PublishedGroup, ...]
    average: Mapping[str, float]


def read_published() -> Published:
    """The package's own file."""
    import yaml

    found = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    sizes = tuple(found["sizes"])
    groups = tuple(_group(name, g, sizes) for name, g in found["groups"].items())
    return Published(found["source"], sizes, groups, _by_size(found["average"]["f1"], sizes))


def _group(name: str, given: Mapping[str, Any], sizes: Sequence[str]) -> PublishedGroup:
    benchmarks = tuple(
        Benchmark(task, b["name"], _by_size(b["f1"], sizes), b["file"]) for task, b in given["benchmarks"].items()
    )
    return PublishedGroup(name, given["table"], _by_size(given["average"], sizes), benchmarks)


def _by_size(percent: Sequence[float], sizes: Sequence[str]) -> dict[str, float]:
    return {size: value / 100 for size, value in zip(sizes, percent, strict=True)}
