"""What ``guardeval prepare`` did, counted: ``prepare.json`` and tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from guardeval.candidate_rows import CHECKS, REASONS, Row
from guardeval.preparing import Prepared
from guardeval.report.tables import Table
from guardeval.training_rows import Split, Trace

__all__ = ["licence_concern", "overlap_table", "summary", "tables"]

_NOT_KNOWN = {"", "none", "null", "unknown", "unstated", "other", "n/a"}
_FORBIDS = {"non-commercial": r"\bnc\b|non-?commercial", "no derivatives": r"\bnd\b|no-?deriv", "gated terms": r"\bgated\b"}


def licence_concern(licence: Any) -> str | None:
    """What a reader must know of a licence before he uses or passes on the rows: not known, or what it forbids; else None."""
    text = str(licence or "").strip().lower()
    if text in _NOT_KNOWN:
        return "not known"
    found = [what for what, pattern in _FORBIDS.items() if re.search(pattern, text.replace("_", "-"))]
    return ", ".join(found) or None


def summary(done: Prepared) -> dict[str, Any]:
    """Everything that was counted, as JSON."""
    kept = done.kept
    return {
        "settings": dict(done.settings),
        "files": [
            {"name": path.name, "rows": sum(r.kind == kind for r in kept)}
            for path, kind in zip(done.files, _kinds(kept), strict=True)
        ],
        "sources": [
            {
                "name": name,
                "sha256": _file_digest(name),
                "rows": n,
                "written": sum(r.source == name for r in kept),
                "left_out": dict(Counter(r.left_out for r in done.rows if r.source == name and r.left_out)),
            }
            for name, n in done.sources.items()
        ],
        "counts": {kind: _counts([r for r in kept if r.kind == kind]) for kind in _kinds(kept)},
        "left_out": dict(Counter(r.left_out for r in done.rows if r.left_out)),
        "left_out_means": REASONS,
        "licences": [
            {"licence": licence, "rows": n, "concern": licence_concern(licence)} for licence, n in _licences(kept).items()
        ],
        "overlap": {
            "checked": [{"task": s.name, "rows": len(s.rows), "source": s.source} for s in done.benchmarks.sets],
            "not_checked": [{"task": m.task, "why": m.why} for m in done.benchmarks.not_checked],
            "rows": {task: dict(counts) for task, counts in done.overlap.items()},
            "contaminated_rows_written": sum(bool(r.overlaps) for r in kept),
        },
        "notes": list(done.notes),
    }  # fmt: skip


def _kinds(rows: Iterable[Row]) -> list[str]:
    found = {r.kind for r in rows}
    return [k for k in ("traces", "pairs") if k in found]


def _file_digest(path: str) -> str:
    from pathlib import Path

    from guardeval.task_rows import sha256_of

    return sha256_of(Path(path).expanduser())


def _counts(rows: Sequence[Row]) -> dict[str, Any]:
    by = {
        "split": lambda r: [str(r.split)],
        "label": lambda r: [label_word(r)],
        "policy": lambda r: sorted(r.row.policies if isinstance(r.row, Trace) else r.row.sample.policies) or ["none"],
        "kind": lambda r: [str(r.row.about.get("kind") or r.kind.removesuffix("s"))],
        "task": lambda r: [str(r.row.about.get("task") or "unknown")],
        "source": lambda r: [r.source],
    }  # fmt: skip
    clusters = {str(split): len({r.cluster for r in rows if r.split is split}) for split in Split}
    return {"rows": len(rows), "clusters": clusters, **{name: _split_counts(rows, of) for name, of in by.items()}}


def _split_counts(rows: Sequence[Row], of: Callable[[Row], list[str]]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in rows:
        for name in of(row):
            found.setdefault(name, Counter())[str(row.split)] += 1
    return {name: {str(s): counts[str(s)] for s in Split} for name, counts in sorted(found.items())}


def label_word(row: Row) -> str:
    return "unlabelled" if row.label is None else row.row.target.word(row.label)


def _licences(rows: Iterable[Row]) -> dict[str, int]:
    counts = Counter(str(r.row.about.get("licence") or "unknown") for r in rows)
    return dict(sorted(counts.items()))


# ---- tables ----


def tables(done: Prepared) -> list[Table]:
    """For the terminal: what was written by label, policy and source; what was left out; licences; test sets."""
    kept = done.kept
    found = [_written(done, kind) for kind in _kinds(kept)]
    found.append(_sources(done))
    found.append(_licence_table(kept))
    found.append(_checked(done))
    return found


def _written(done: Prepared, kind: str) -> Table:
    counts = _counts([r for r in done.kept if r.kind == kind])
    rows = [("rows", "all", *_cells(_sum(counts["split"]))), ("clusters", "all", *_cells(counts["clusters"]))]
    for name in ("label", "policy", "kind", "task"):
        rows += [(name, what, *_cells(n)) for what, n in counts[name].items()]
    path = next(p for p, k in zip(done.files, _kinds(done.kept), strict=True) if k == kind)
    return Table(f"{counts['rows']} {kind}: {path}", ("", "", "train", "validation", "together"), tuple(rows), done.notes)


def _sum(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {str(s): sum(c[str(s)] for c in counts.values()) for s in Split}


def _cells(counts: Mapping[str, int]) -> tuple[str, str, str]:
    train, held = counts["train"], counts["validation"]
    return str(train), str(held), str(train + held)


def _sources(done: Prepared) -> Table:
    reasons = [r for r in REASONS if any(row.left_out == r for row in done.rows)]
    rows = []
    for name, n in done.sources.items():
        mine = [r for r in done.rows if r.source == name]
        out = Counter(r.left_out for r in mine)
        of_kind = sum(not r.left_out and r.kind == mine[0].kind for r in done.rows)
        share = f"{100 * out[''] / of_kind:.1f} %" if of_kind else "n/a"
        rows.append((name, str(n), str(out[""]), share, *(str(out[r]) for r in reasons)))
    notes = tuple(f"{r}: {REASONS[r]}" for r in reasons)
    return Table("sources", ("file", "rows", "written", "share of the mix", *reasons), tuple(rows), notes)


def _licence_table(rows: Sequence[Row]) -> Table:
    found = _licences(rows)
    cells = tuple((licence, str(n), licence_concern(licence) or "") for licence, n in found.items())
    notes = ("each row keeps its own licence; look at those marked before you pass rows, or a model made of them, on",)
    return Table("licences", ("licence", "rows", "mind"), cells, notes if any(c[2] for c in cells) else ())


def _checked(done: Prepared) -> Table:
    table = overlap_table(done.overlap, [s.name for s in done.benchmarks.sets])
    left = done.benchmarks.not_checked
    notes = [f"not checked, rows not at hand: {', '.join(m.task for m in left)} ({left[0].why})"] if left else []
    if not done.benchmarks.sets:
        notes.append("no test set was at hand: name them with --against TASK=PATH, or the rows may repeat any of them")
    if any(r.overlaps for r in done.kept):
        notes.append("rows that repeat test sets were written and marked: a model trained on them is contaminated with these")
    return Table(table.title, table.columns, table.rows, (*table.notes, *notes))


def overlap_table(counts: Mapping[str, Mapping[str, int]], checked: Sequence[str]) -> Table:
    """Rows that repeat a test set, by task and how."""
    rows = tuple((task, *(str(counts[task].get(kind, 0)) for kind in ("any", *CHECKS))) for task in counts)
    clean = [name for name in checked if name not in counts]
    notes = (f"checked, no row repeats them: {', '.join(clean)}",) if clean else ()
    inherited = ("inherited: made from a prompt of the test, or marked so in the file",) if any(
        c.get("inherited") for c in counts.values()
    ) else ()  # fmt: skip
    return Table("rows that repeat test sets", ("task", "rows", *CHECKS), rows, (*inherited, *notes))
