"""Overlap of sets of prompts as tables: for the terminal, Markdown, or JSON with the ids of the rows."""

from __future__ import annotations

from pathlib import Path

from guardeval.errors import ConfigError
from guardeval.leakage import Leakage, Overlap
from guardeval.report.tables import Table

__all__ = ["check_output", "leakage_tables", "print_leakage", "write_leakage"]

_WIDEST = 12  # sets that a matrix shows side by side
_LINES = 60  # of the list, in a terminal


def leakage_tables(found: Leakage, lines: int | None = None) -> list[Table]:
    """The matrix of the widest kind, where it can be shown, and every pair of sets that shares rows, both directions."""
    matrix = [_matrix(found)] if len(found.sets) <= _WIDEST else []
    return [*matrix, _list(found, lines)]


def print_leakage(found: Leakage) -> None:
    from guardeval.report.terminal import print_table

    for table in leakage_tables(found, _LINES):
        print_table(table)


def write_leakage(found: Leakage, path: Path) -> Path:
    """By the name: ``.json`` with ids, ``.md``. Raises :class:`ConfigError` for any other."""
    import orjson

    from guardeval.report.markdown import markdown_tables
    from guardeval.runs import write_atomically

    path = check_output(path)
    if path.suffix == ".json":
        write_atomically(path, orjson.dumps(found.to_json(), option=orjson.OPT_INDENT_2) + b"\n")
    else:
        write_atomically(path, markdown_tables(leakage_tables(found)).encode("utf-8", "replace"))
    return path


def check_output(path: Path) -> Path:
    """The path, its ``~`` spelt out. Raises :class:`ConfigError` for a name that says no format."""
    if path.suffix not in (".json", ".md"):
        raise ConfigError(f"{path}: a file in .json or .md is wanted")
    return path.expanduser()


def _matrix(found: Leakage) -> Table:
    kind = found.kinds[-1]
    marks = {s.name: f"[{i}]" for i, s in enumerate(found.sets, 1)}
    cells = {(o.rows_of, o.partner_in): str(o.count(kind)) for o in found.overlaps}
    rows = []
    for a in found.sets:
        partners = ["–" if a is b else cells.get((a.name, b.name), "") for b in found.sets]
        rows.append((f"{marks[a.name]} {_named(a.name, a.training)}", str(len(a.rows)), *partners))
    title = f"rows of the set on the left with a partner in the set above: {_word(kind, found)}"
    empty = any(cell == "" for row in rows for cell in row)
    notes = ("empty: two sets that were both given to compare with",) if empty else ()
    return Table(title, ("set", "rows", *marks.values()), tuple(rows), notes)


def _list(found: Leakage, most: int | None) -> Table:
    sharing = [o for o in found.overlaps if any(o.ids.values())]
    shown = sharing if most is None else sharing[:most]
    rows = tuple((o.rows_of, o.partner_in, str(o.of), *_counts(o, found.kinds)) for o in shown)
    columns = ("rows of", "with a partner in", "of", *(_word(k, found) for k in found.kinds))
    return Table("sets that share rows", columns, rows, tuple(_notes(found, len(sharing), len(shown))))


def _counts(overlap: Overlap, kinds: tuple[str, ...]) -> list[str]:
    return [str(overlap.count(k)) for k in kinds]


def _word(kind: str, found: Leakage) -> str:
    return {"ngram": f"{found.ngram} words in a row", "near": f"near ({found.threshold:g})"}.get(kind, kind)


def _named(name: str, training: bool) -> str:
    return f"{name} (training)" if training else name


def _notes(found: Leakage, sharing: int, shown: int) -> list[str]:
    notes = [f"the other {len(found.overlaps) - sharing} of {len(found.overlaps)} directions share nothing"]
    if shown < sharing:
        notes.append(f"{sharing - shown} more lines: -o FILE.md or FILE.json has them all")
    if found.not_checked:
        first = found.not_checked[0]
        tasks = ", ".join(m.task for m in found.not_checked)
        notes.append(f"not checked, rows not at hand: {tasks} ({first.task}: {first.why}); TASK=PATH names rows of yours")
    return notes
