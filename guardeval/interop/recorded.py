"""A sample as a run folder holds it: the line of the samples file, and what was asked and answered, turn by turn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from guardeval.contracts import Finish, Turn
from guardeval.data import Judged, Outcome
from guardeval.runs import TaskRecord
from guardeval.sample_lines import judged_from_line

__all__ = ["Asked", "Recorded", "recorded_ids", "recorded_samples", "turns_of"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and its answer: the turns as they were sent, the answer, the reasoning that came apart from it."""

    turns: tuple[Turn, ...]
    answer: str
    thinking: str | None
    finish: Finish
    settings: Mapping[str, Any]  # lm-eval's generation arguments


@dataclass(frozen=True, slots=True)
class Recorded:
    """One line of a samples file: as JSON, and what it says."""

    record: Mapping[str, Any]
    judged: Judged
    cluster: int

    def asked(self) -> list[Asked]:
        """What was asked and answered, in order; empty of a redacted run, and of one that no model was asked for."""
        arguments, answers = self.record["arguments"], self.record["resps"]
        own = self.record["guardeval"]
        thinking, finish = own.get("thinking") or [], own.get("finish") or _endings(len(answers), own["outcome"])
        return [
            Asked(
                turns_of(str(arguments[f"gen_args_{i}"]["arg_0"])),
                str(answer[0]),
                thinking[i] if i < len(thinking) else None,
                Finish(finish[i]) if i < len(finish) else Finish.STOP,
                arguments[f"gen_args_{i}"]["arg_1"],
            )
            for i, answer in enumerate(answers)
        ]


def _endings(n: int, outcome: str) -> list[Finish]:
    """Where a line does not say how answers ended: all well, the last of a truncated sample apart."""
    return [Finish.STOP] * (n - 1) + [Finish.LENGTH if outcome == Outcome.TRUNCATED else Finish.STOP]


def recorded_samples(task: TaskRecord) -> Iterator[Recorded]:
    """The samples of one task of a run, in source order, streaming. Raises :class:`DataError` that names a broken line."""
    with task.samples.open("rb") as f:
        for number, line in enumerate(f, 1):
            judged, cluster = judged_from_line(line, lambda number=number: f"{task.samples}:{number}")  # type: ignore[misc]
            yield Recorded(orjson.loads(line), judged, cluster)


def recorded_ids(task: TaskRecord) -> Iterator[str]:
    """The samples' ids alone, in source order."""
    return (found.judged.sample.id for found in recorded_samples(task))


def turns_of(text: str) -> tuple[Turn, ...]:
    """The turns behind a prompt that was written down as one text: several stand there as JSON messages."""
    if text.startswith('[{"role":'):
        try:
            messages = json.loads(text)
            if all(m.keys() == {"role", "content"} and all(isinstance(v, str) for v in m.values()) for m in messages):
                return tuple(Turn(m["role"], m["content"]) for m in messages)
        except (ValueError, AttributeError):
            pass  # a text that only looks like messages
    return (Turn("user", text),)
