"""What an experiment found: numbers, tables, pictures and what is missing, as values that ``programme.json`` keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from guardeval.programme.reviewed import Reviewed
from guardeval.programme.verdicts import Measured
from guardeval.report.tables import Table

__all__ = ["Findings", "Picture", "table_from_dict"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart to be drawn: ``kind`` is ``heat``; nan (None in the file) is a blank."""

    name: str
    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass
class Findings:
    """Filled by the steps of an experiment. ``missing``: what could not be had, each once."""

    experiment: int
    title: str
    phase: int
    measured: list[Measured] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    reviewed: list[Reviewed] = field(default_factory=list)
    data: dict[str, str] = field(default_factory=dict)  # task → what its rows are, with what must be said about them

    def lack(self, what: str) -> None:
        if what not in self.missing:
            self.missing.append(what)

    @property
    def lacks_systems(self) -> bool:
        """Something could not be measured; that people have not reviewed anything yet is no such lack."""
        return any(m.about == "missing" for m in self.measured) or self.status == "missing"

    def note(self, what: str) -> None:
        if what not in self.notes:
            self.notes.append(what)

    @property
    def status(self) -> str:
        """``done``, ``partly missing``, ``missing`` (nothing was measured)."""
        if not self.missing:
            return "done"
        some = any(m.value == m.value for m in self.measured) or self.tables or self.files
        return "partly missing" if some else "missing"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "experiment": self.experiment,
            "title": self.title,
            "phase": self.phase,
            "status": self.status,
            "measured": [m.as_dict() for m in self.measured],
            "tables": [asdict(t) for t in self.tables],
            "pictures": [asdict(p) for p in self.pictures],
            **{k: list(getattr(self, k)) for k in ("missing", "notes", "files")},
            "reviewed": [r.as_dict() for r in self.reviewed],
            "data": dict(self.data),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Findings:
        """What :meth:`as_dict` gave."""
        return cls(
            int(values["experiment"]),
            str(values["title"]),
            int(values["phase"]),
            [Measured.from_dict(dict(m)) for m in values["measured"]],
            [table_from_dict(t) for t in values["tables"]],
            [_picture(p) for p in values["pictures"]],
            list(values["missing"]),
            list(values["notes"]),
            list(values["files"]),
            [Reviewed.from_dict(r) for r in values.get("reviewed", ())],
            dict(values["data"]),
        )


def table_from_dict(values: Mapping[str, Any]) -> Table:
    """What ``asdict`` made of a table, also after JSON."""
    rows = tuple(tuple(r) for r in values["rows"])
    return Table(values["title"], tuple(values["columns"]), rows, tuple(values["notes"]))


def _picture(values: Mapping[str, Any]) -> Picture:
    rows, columns = tuple(values["rows"]), tuple(values["columns"])
    return Picture(values["name"], values["title"], rows, columns, tuple(tuple(v) for v in values["values"]))
