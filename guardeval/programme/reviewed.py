"""What people made of the samples that experiment 41 drew: read from the run they were drawn from, kept with its findings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any

from guardeval.report.tables import number

if TYPE_CHECKING:
    from pathlib import Path

    from guardeval.programme.findings import Findings
    from guardeval.programme.held import Held

__all__ = ["Reviewed", "add_reviews"]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Samples drawn and reviewed of one task; ``coherent``: share with coherent reasoning, nan where nobody judged any of
    the ``n``, with its 95 % interval.
    """

    task: str
    drawn: int
    reviewed: int
    coherent: float
    low: float
    high: float
    n: int

    @property
    def text(self) -> str:
        """``82.0 % [73.3, 88.3] n=100``."""
        if math.isnan(self.coherent):
            return f"n/a n={self.n}"
        interval = f"[{number(100 * self.low, 1)}, {number(100 * self.high, 1)}]"
        return f"{number(100 * self.coherent, 1)} % {interval} n={self.n}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; undefined numbers are None."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reviewed:
        """What :meth:`as_dict` gave."""
        own: dict[str, Any] = {k: math.nan if v is None else v for k, v in values.items()}
        return cls(**own)


def add_reviews(found: Findings, held: Held, drawn: Sequence[str], rows: Path) -> None:
    """Counts, categories and the share of coherent explanations among the samples drawn; what is missing where nobody has
    reviewed any of them, with the command.
    """
    if not drawn:
        return
    from guardeval.report.review_tables import review_tables
    from guardeval.review.summary import review_summaries

    summary = next((s for s in review_summaries(held.path, samples=frozenset(drawn)) if s.task == held.task), None)
    if summary is None or not summary.n:
        command = f"guardeval review {quote(str(held.path))} --samples {quote(str(rows))} --task {held.task}"
        found.lack(f"{held.task}: people have not reviewed: {command} shows them the {len(drawn)} samples drawn")
        return
    coherent = summary.coherent
    said = Reviewed(held.task, len(drawn), summary.n, coherent.value, coherent.low, coherent.high, coherent.n)
    found.reviewed.append(said)
    found.tables += review_tables(summary)
    found.note(
        f"{held.task}: people have reviewed {summary.n} of the {len(drawn)} samples drawn; of the explanations they judged, "
        f"coherent are {said.text} (misjudged samples only)"
    )
