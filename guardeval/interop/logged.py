"""Another tool's finished log as values: what was asked and answered, sample by sample, and what the log says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guardeval.contracts import Token
from guardeval.data import Judged, Usage
from guardeval.interop.recorded import Asked

__all__ = ["Asker", "Log", "Logged", "LoggedTask", "clean"]


@dataclass(frozen=True, slots=True)
class Logged:
    """One sample. ``texts`` may be what was judged: the input's turns, the document's columns. ``line`` is the line that
    guardeval left of its own run, ``told`` what its scorer said of the sample inside the other tool."""

    id: str
    texts: tuple[str, ...]
    asked: tuple[Asked, ...] = ()
    tokens: tuple[Token, ...] = ()  # of the last answer
    usage: Usage = field(default_factory=Usage)
    doc: Mapping[str, Any] = field(default_factory=dict)
    doc_hash: str | None = None
    error: str | None = None  # why nothing was heard
    cancelled: bool = False  # the evaluation was called off while it was under way
    line: Mapping[str, Any] | None = None
    told: Judged | None = None
    extra: int = 0  # further answers to the same question, which are not read
    to_block: bool = False  # an answer ends at its closing block, whatever the model went on to write


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked in a task that guardeval exported: whose samples, by which solver, under which policies."""

    task: str
    solver: str
    solver_args: Mapping[str, Any]
    policies: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedTask:
    """One task of a log. ``count``: samples that it was run on, before any limit, where the log says so."""

    name: str
    version: str
    samples: Callable[[], Iterator[Logged]]
    count: int | None = None
    asker: Asker | None = None


@dataclass(frozen=True)
class Log:
    """A log. ``origin`` is what a guardeval run left in it when it was exported: its name and its ``run.yaml``.

    ``left_out``: the tasks of the log that cannot be read, each with the reason.
    """

    tool: str  # inspect or lm_eval
    path: Path
    model: str
    solver: str
    started: str
    ended: str
    tasks: tuple[LoggedTask, ...]
    files: tuple[Path, ...]
    status: str = "complete"
    remarks: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, Any] | None = None
    ours: Mapping[str, Any] | None = None  # what our task, run inside the other tool, says of its rows


def clean(text: str) -> str:
    """Text that UTF-8 can hold: a lone surrogate, which no file of ours may have, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
