"""One reviewer going through one set: what may be seen and said, and what is done already. No web in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from guardeval.errors import DataError
from guardeval.review.marks import Category, Field, Marks, checked
from guardeval.review.page_data import marks_view, member_names, sample_view
from guardeval.review.selection import ReviewSet
from guardeval.review.store import Store

__all__ = ["Refused", "Session"]

_NOTHING = Marks()
_WHILE_HIDDEN = (Field.LABEL, Field.COMMENT)


class Refused(DataError):
    """A mark that may not be set now; the message tells the reviewer why."""


@dataclass(frozen=True, slots=True)
class Session:
    """``blind``: gold label, verdict, votes and reasoning of a sample are withheld until the reviewer has given a label of
    their own and asks to see them, which is recorded; from then on that label stays.
    """

    store: Store
    samples: ReviewSet
    run: str
    reviewer: str
    blind: bool = False

    def state(self) -> dict[str, Any]:
        """What does not depend on the sample shown, and which samples are done."""
        target = self.samples.task.target
        return {
            "run": self.run,
            "task": self.samples.task.name,
            "target": target,
            "words": {"positive": target.positive, "negative": target.negative},
            "categories": list(Category),
            "reviewer": self.reviewer,
            "blind": self.blind,
            "progress": self.progress(),
        }

    def progress(self) -> list[bool]:
        """Sample by sample: it is reviewed."""
        said = self.store.marks(self.samples.task.name, self.reviewer)
        return [said.get((j.sample.id, self.reviewer), _NOTHING).reviewed for j in self.samples.samples]

    def sample(self, position: int) -> dict[str, Any]:
        """One sample with the reviewer's marks. Raises :class:`IndexError` beyond the set."""
        if not 0 <= position < len(self.samples.samples):
            raise IndexError(position)
        judged = self.samples.samples[position]
        marks = self._marks(judged.sample.id)
        return {"sample": sample_view(judged, position, self._hidden(marks)), "marks": marks_view(marks)}

    def mark(self, position: int, field: Field, value: Any, member: str = "") -> dict[str, Any]:
        """Keep one mark and return the sample as it stands then. Raises :class:`Refused` or :class:`DataError`."""
        if not 0 <= position < len(self.samples.samples):
            raise IndexError(position)
        judged = self.samples.samples[position]
        marks, target = self._marks(judged.sample.id), self.samples.task.target
        self._allow(field, marks)
        if member and (field is not Field.COHERENT or member not in member_names(judged.verdict.votes)):
            raise DataError(f"{member[:40]!r} is no member whose {field} can be marked")
        if field is Field.MARK and value is not None and judged.sample.labels.get(judged.verdict.target) is None:
            raise Refused("this sample has no gold label to agree with; give a label of your own")
        kept = "yes" if field is Field.REVEAL else checked(field, value, target)
        blind = self._hidden(marks)
        self.store.say(self.samples.task.name, judged.sample.id, self.reviewer, field, kept, member=member, blind=blind)
        return self.sample(position) | {"progress": self.progress()}

    def undo(self) -> dict[str, Any]:
        """Take back the last mark of this reviewer in this set; ``position`` None when there is none."""
        undone = self.store.undo(self.samples.number, self.reviewer)
        if undone is None:
            return {"position": None}
        ids = [j.sample.id for j in self.samples.samples]
        position = ids.index(undone.id)
        return self.sample(position) | {"position": position, "field": undone.field, "progress": self.progress()}

    def _marks(self, sample: str) -> Marks:
        return self.store.marks(self.samples.task.name, self.reviewer, sample).get((sample, self.reviewer), _NOTHING)

    def _hidden(self, marks: Marks) -> bool:
        return self.blind and not marks.revealed

    def _allow(self, field: Field, marks: Marks) -> None:
        if field is Field.REVEAL:
            if not self._hidden(marks):
                raise Refused("nothing of this sample is hidden")
            if marks.label is None:
                raise Refused("first give a label of your own; gold label and verdict can be shown after it")
        elif self._hidden(marks) and field not in _WHILE_HIDDEN:
            raise Refused("a blind review begins with a label of your own; this can be marked once the answer is shown")
        elif field is Field.LABEL and marks.revealed:
            raise Refused("your label was given before the answer was shown; it stays")
