"""Judged samples as the compact JSON that the sample browser reads: every text once, rows as lists.

``strings`` holds the texts, clipped to one length that keeps the page small; rows refer to them by place. The order of a
row's fields is that of :data:`FIELDS`, which the page's script reads from the JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from guardeval.contamination import SEEN
from guardeval.data import Judged, Step, Vote
from guardeval.judged import OUTCOMES
from guardeval.report.html.apart import disagreements
from guardeval.report.html.changes import MOST_CELLS, Cell, Changes
from guardeval.report.html.choice import chosen, is_error
from guardeval.report.html.material import Material, Part
from guardeval.report.html.reviews import PageReviews, Said
from guardeval.report.html.visible import script_json, visible

__all__ = ["FIELDS", "Browser", "browser"]

FIELDS = (
    "run", "task", "id", "prompt", "response", "category", "gold", "label", "outcome", "score", "apart", "policies",
    "goldPolicies", "latency", "raw", "steps", "votes", "notes", "codes", "modes", "cell", "reviews",
)  # fmt: skip
_LONGEST = 4000  # characters of a text that are ever kept
_LENGTHS = (_LONGEST, 3000, 2000, 1400, 1000, 700, 500, 350, 250, 160)
_ROOM = 1_600_000  # bytes for all texts,
_ROOM_A_ROW = 600  # or so many a row where that is more
_MOST_ID = 120


@dataclass(frozen=True, slots=True)
class Browser:
    """``json`` may stand in a script element. ``shown`` of ``total`` samples are in it, with ``errors`` of ``all_errors``."""

    json: str
    shown: int
    total: int
    errors: int
    all_errors: int
    clip: int | None  # characters that a text is cut to; None where none was
    redacted: tuple[str, ...]  # runs without texts


def browser(
    material: Material, most: int, seed: int = 0, changes: Changes | None = None, reviews: PageReviews | None = None
) -> Browser:
    """The samples of all runs and tasks, or ``most`` of them: errors and what people reviewed first."""
    parts = [p.judged for p in material.parts]
    reviews = reviews or PageReviews()
    rows = chosen(parts, most, seed, [_reviewed(p, reviews) for p in material.parts])
    made = _Rows(material, changes or Changes(), reviews)
    apart = disagreements(material)
    for part, at, values in zip(material.parts, rows, apart, strict=True):
        made.add(part, at, values)
    clip = made.strings.fitting(max(_ROOM, _ROOM_A_ROW * len(made.rows)))
    data = {**made.head(), "fields": FIELDS, "rows": made.rows, "strings": made.strings.cut(clip)}
    errors = [is_error(p) for p in parts]
    return Browser(
        script_json(orjson.dumps(data)),
        len(made.rows),
        sum(map(len, parts)),
        sum(int(e[at].sum()) for e, at in zip(errors, rows, strict=True)),
        sum(int(e.sum()) for e in errors),
        clip if made.strings.longest > clip else None,
        tuple(name for i, name in enumerate(material.names) if material.redacted(i)),
    )


def _reviewed(part: Part, reviews: PageReviews) -> NDArray[np.bool_]:
    marks = reviews.marks.get((part.run, part.task), {})
    return np.array([i in marks for i in part.judged.ids] if marks else np.zeros(len(part.judged)), bool)


class _Strings:
    """Texts by number, each once."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._texts: list[tuple[str, int]] = []  # as kept, and its whole length
        self.longest = 0

    def number(self, text: str | None) -> int:
        """-1 for none."""
        if not text:
            return -1
        found = self._at.get(text)
        if found is None:
            found = self._at[text] = len(self._texts)
            self._texts.append((text[:_LONGEST], len(text)))
            self.longest = max(self.longest, len(text))
        return found

    def fitting(self, room: int) -> int:
        """The longest clip under which all texts take at most ``room`` bytes; the shortest one where none does."""
        cost = np.array([len(script_json(orjson.dumps(visible(t)))) for t, _ in self._texts], float)
        length = np.array([max(len(t), 1) for t, _ in self._texts], float)
        return next((n for n in _LENGTHS if (cost * np.minimum(1.0, n / length)).sum() <= room), _LENGTHS[-1])

    def cut(self, clip: int) -> list[str]:
        return [_cut(text, length, clip) for text, length in self._texts]


def _cut(text: str, length: int, clip: int) -> str:
    kept = visible(text[:clip])
    return f"{kept} … [{length - clip:,} more characters]" if length > clip else kept


class _Rows:
    def __init__(self, material: Material, changes: Changes, reviews: PageReviews) -> None:
        self.material = material
        self.changes, self.reviews = changes, reviews
        self.strings = _Strings()
        self.rows: list[list[Any]] = []
        self._policies = _Names(p for part in material.parts for p in part.judged.policy_names)
        self._categories = _Names()
        self._modes = _Names()
        self._targets = {p.task: p.judged.target for p in material.parts}

    def head(self) -> dict[str, Any]:
        """What the numbers in the rows stand for."""
        tasks = [
            {"name": visible(t), "positive": self._targets[t].positive, "negative": self._targets[t].negative}
            for t in self.material.tasks
        ]
        return {
            "runs": [visible(n) for n in self.material.names],
            "tasks": tasks,
            "outcomes": [str(o) for o in OUTCOMES],
            "policies": self._policies.listed(),
            "categories": self._categories.listed(),
            "modes": self._modes.listed(),
            "listCells": len(self.changes.cells) <= MOST_CELLS,
            "cells": [self._cell(c) for c in self.changes.cells],
        }

    def add(self, part: Part, at: NDArray[np.int64], apart: NDArray[np.float64]) -> None:
        wanted = iter(at.tolist())
        modes = _modes_of(part)
        task = self.material.tasks.index(part.task)
        cells = self.changes.cell_of.get((part.run, part.task), {})
        reviews = self.reviews.marks.get((part.run, part.task), {})
        following = next(wanted, None)
        for i, one in enumerate(part.judged):
            if i == following:
                marks = [self._modes.number(name) for name, mask in modes.items() if mask[i]]
                said = [self._said(s) for s in reviews.get(one.sample.id, ())]
                cell = cells.get(one.sample.id, -1)
                self.rows.append([part.run, task, *self._row(one, _shown(float(apart[i]))), marks, cell, said])
                following = next(wanted, None)

    def _row(self, one: Judged, apart: float | None) -> list[Any]:
        sample, verdict, number = one.sample, one.verdict, self.strings.number
        gold = sample.labels.get(verdict.target)
        return [
            visible(sample.id, _MOST_ID),
            number(sample.prompt),
            number(sample.response),
            -1 if sample.category is None else self._categories.number(sample.category),
            -1 if gold is None else int(gold),
            -1 if verdict.label is None else int(verdict.label),
            OUTCOMES.index(verdict.outcome),
            _shown(verdict.score),
            apart,
            self._numbers(verdict.policies),
            self._numbers(sample.policies),
            _shown(one.usage.latency),
            -1 if verdict.steps else number(verdict.raw),  # the steps are the answer, taken apart
            self._steps(verdict.steps),
            [self._vote(v) for v in verdict.votes],
            [number(n) for n in (*verdict.notes, *((SEEN,) if one.seen else ()))],
            [number(code) for code in verdict.codes],
        ]

    def _cell(self, cell: Cell) -> list[Any]:
        """Run, task, kind, gold label, first run's word and this one's, number of samples."""
        flip = cell.flip
        return [cell.run, self.material.tasks.index(cell.task), cell.kind, flip.gold, flip.before, flip.after, flip.n]

    def _said(self, said: Said) -> list[Any]:
        """As the fields of :class:`Said` stand there; the comment by number."""
        members = [[visible(name, _MOST_ID), value] for name, value in said.members]
        own = [said.mark, said.label, said.blind, said.category, said.coherent]
        return [visible(said.reviewer, _MOST_ID), *own, self.strings.number(said.comment), members]

    def _numbers(self, policies: Iterable[str]) -> list[int]:
        return sorted(map(self._policies.number, policies))

    def _steps(self, steps: Sequence[Step]) -> list[list[Any]]:
        return [[visible(s.name, _MOST_ID), self.strings.number(s.text)] for s in steps]

    def _vote(self, vote: Vote) -> list[Any]:
        return [
            visible(vote.member, _MOST_ID),
            OUTCOMES.index(vote.outcome),
            -1 if vote.label is None else int(vote.label),
            _shown(vote.score),
            _shown(vote.weight),
            self._numbers(vote.policies),
            -1 if vote.steps else self.strings.number(vote.raw),
            self._steps(vote.steps),
        ]


class _Names:
    """Names by number, in the order in which they came."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._at = {name: i for i, name in enumerate(dict.fromkeys(names))}

    def number(self, name: str) -> int:
        return self._at.setdefault(name, len(self._at))

    def listed(self) -> list[str]:
        return [visible(name, _MOST_ID) for name in self._at]


def _shown(value: float | None) -> float | None:
    """Four significant digits; None for what is not there."""
    return None if value is None or math.isnan(value) else float(f"{value:.4g}")


def _modes_of(part: Part) -> Mapping[str, NDArray[np.bool_]]:
    """Failure modes that the verdict alone does not tell."""
    from guardeval.failures import modes

    return {str(mode): mask for mode, mask in modes(part.judged).items()}
