"""Which samples changed from the first run to each other one: the cells of the flip matrices, and the cell of each sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from guardeval.compare import Flip
from guardeval.compare_runs import RunsComparison, compare_runs
from guardeval.errors import ConfigError, DataError
from guardeval.report.html.material import Material

__all__ = ["GAINED", "LOST", "MOST_CELLS", "OTHER", "Cell", "Changes", "changes_of"]

MOST_CELLS = 40  # that a filter lists one by one; of more, only gained and lost
GAINED, LOST, OTHER = "gained", "lost", "changed"  # wrong → right, right → wrong, wrong in both but not alike


@dataclass(frozen=True, slots=True)
class Cell:
    """Samples on which the first run and ``run`` (an index) differ in one way."""

    run: int
    task: str
    flip: Flip

    @property
    def kind(self) -> str:
        if self.flip.right_before == self.flip.right_after:
            return OTHER
        return GAINED if self.flip.right_after else LOST


@dataclass(frozen=True, slots=True)
class Changes:
    """``cells`` in the order of the comparison; ``cell_of``: (run, task) → sample id → index into ``cells``.

    ``comparison`` is None for one run, and where runs cannot be compared, which ``why`` then says.
    """

    comparison: RunsComparison | None = None
    why: str = ""
    cells: tuple[Cell, ...] = ()
    cell_of: Mapping[tuple[int, str], Mapping[str, int]] = field(default_factory=dict)

    def numbers(self, run: int, task: str, kind: str | None = None) -> list[int]:
        """Indices of the cells of one run and task (of one kind)."""
        return [i for i, c in enumerate(self.cells) if (c.run, c.task) == (run, task) and (kind is None or c.kind == kind)]


def changes_of(material: Material) -> Changes:
    """Every other run against the first; runs that cannot be compared still have a page."""
    if len(material.runs) < 2:
        return Changes()
    try:
        found = compare_runs(material.folders)
    except (DataError, ConfigError) as e:
        return Changes(why=str(e))
    cells: list[Cell] = []
    cell_of: dict[tuple[int, str], dict[str, int]] = {}
    for one in found.tasks:
        for pair in one.comparison.pairs if one.comparison else ():
            run = found.names.index(pair.name)
            of = cell_of.setdefault((run, one.task), {})
            for flip in pair.flips:
                if flip.ids:
                    of.update(dict.fromkeys(flip.ids, len(cells)))
                    cells.append(Cell(run, one.task, flip))
    return Changes(found, "", tuple(cells), cell_of)
