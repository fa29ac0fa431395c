"""The samples behind the cells of a flip matrix: what two runs said about each, read back when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from guardeval.compare import Flip
from guardeval.data import Judged
from guardeval.errors import DataError
from guardeval.judged import Judgements

__all__ = ["FlippedSamples"]


@dataclass(frozen=True)
class FlippedSamples:
    """Two runs of one task, ready to show what is behind a :class:`~guardeval.compare.Flip` of theirs."""

    before: Judgements
    after: Judgements

    def of(self, flip: Flip, most: int | None = None) -> Iterator[tuple[Judged, Judged]]:
        """The samples of a cell as the first run and as the second judged them, in the first's order, ``most`` at most.

        Each is read from both run folders when its turn comes; a cell in which both said the same holds none. Raises
        :class:`DataError` for a flip of other runs.
        """
        for id_ in islice(flip.ids, most):
            if id_ not in self._before or id_ not in self._after:
                raise DataError(f"sample {id_!r} of the flip is not in both runs: compare the runs that it was found in")
            yield self.before[self._before[id_]], self.after[self._after[id_]]

    @cached_property
    def _before(self) -> Mapping[str, int]:
        return {id_: i for i, id_ in enumerate(self.before.ids)}

    @cached_property
    def _after(self) -> Mapping[str, int]:
        return {id_: i for i, id_ in enumerate(self.after.ids)}
