"""A sample as a run folder holds it: the line of the samples file, and what was asked and answered, turn by turn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from guardeval.contracts import Finish, Turn
from guardeval.data import Judged, Outcome
from guardeval.runs import TaskRecord
from guardeval.sample_lines import judged_from_line

__all__ = ["Asked", "Recorded", "asked_of", "recorded_ids", "recorded_samples"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and its answer: the turns as they were sent, the answer, the reasoning that came apart from it."""

    turns: tuple[Turn, ...]
    answer: str
    thinking: str | None
    finish: Finish
    settings: Mapping[str, Any]  # lm-eval's generation arguments
    options: Mapping[str, Any] = field(default_factory=dict)  # of the model's chat template


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
        out = []
        for i, answer in enumerate(answers):
            turns, options = asked_of(str(arguments[f"gen_args_{i}"]["arg_0"]))
            thought = thinking[i] if i < len(thinking) else None
            ending = Finish(finish[i]) if i < len(finish) else Finish.STOP
            settings = arguments[f"gen_args_{i}"]["arg_1"]
            settings = settings if isinstance(settings, Mapping) else {}
            out.append(Asked(turns, str(answer[0]), thought, ending, settings, options))
        return out


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


def asked_of(text: str) -> tuple[tuple[Turn, ...], Mapping[str, Any]]:
    """The turns behind a prompt that was written down as one text (:meth:`Prompt.as_text`), and its chat template's options:
    several turns stand there as JSON messages, with options as an object that holds both."""
    if text.startswith(('[{"role":', '{"messages":')):
        try:
            found = json.loads(text)
            messages, options = (found, {}) if isinstance(found, list) else (found["messages"], found["chat_template_kwargs"])
            if isinstance(options, dict) and all(map(_is_message, messages)):
                return tuple(Turn(m["role"], m["content"]) for m in messages), options
        except (ValueError, AttributeError, KeyError, TypeError):
            pass  # a text that only looks like messages
    return (Turn("user", text),), {}


def _is_message(found: Mapping[str, Any]) -> bool:
    return found.keys() == {"role", "content"} and all(isinstance(v, str) for v in found.values())
