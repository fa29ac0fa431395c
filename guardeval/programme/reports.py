"""The Markdown reports of the phases: expected beside measured, tests corrected over the phase, what is missing named."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from guardeval.errors import PluginError
from guardeval.programme.findings import Findings, Picture
from guardeval.programme.success import success_table
from guardeval.programme.verdicts import Measured
from guardeval.report.markdown import markdown_tables
from guardeval.report.tables import Table, number
from guardeval.runs import write_atomically
from guardeval.significance import holm

if TYPE_CHECKING:
    from guardeval.programme.ledger import Ledger
    from guardeval.programme.model_sets import ModelSet

__all__ = ["REPORTS", "measured_tables", "settled", "write_reports"]

REPORTS = {
    1: "PHASE_1_RESULTS",
    2: "PHASE_2_RESULTS",
    3: "PHASE_3_DATA_QUALITY",
    4: "PHASE_4_FINETUNING",
    5: "FINAL_GUARDREASONER_VALIDATION",
}
_TITLES = {
    1: "Phase 1: prompts only",
    2: "Phase 2: ensembles and hard samples",
    3: "Phase 3: training data and its quality",
    4: "Phase 4: fine-tuning",
    5: "Phase 5: analysis and validation",
}
_LEVEL = ("exp", "benchmark", "system", "expected accuracy %")
_DIFFERENCE = (
    "exp", "benchmark", "system", "against", "metric", "expected", "measured [95 %]", "n", "test", "p", "p adjusted",
    "expected and measured",
)  # fmt: skip


def write_reports(ledger: Ledger, models: ModelSet, phases: Sequence[int]) -> tuple[list[Path], list[str]]:
    """The report of each phase, of all its experiments in this folder; and why there are no plots, where there are none."""
    found = [Findings.from_dict(v) for _, v in sorted(ledger.experiments.items(), key=lambda kv: int(kv[0]))]
    written: list[Path] = []
    notices: list[str] = []
    for phase in phases:
        of_phase = [f for f in found if f.phase == phase]
        if of_phase:
            path, notice = _write(ledger, models, phase, of_phase, found)
            written.append(path)
            notices += [n for n in notice if n not in notices]
    return written, notices


def _write(
    ledger: Ledger, models: ModelSet, phase: int, found: Sequence[Findings], everything: Sequence[Findings]
) -> tuple[Path, list[str]]:
    path = ledger.folder / f"{REPORTS[phase]}.md"
    rows = settled(found)
    pictures, notices = _draw(ledger.folder / f"{REPORTS[phase]}_files", rows, found)
    levels, differences = measured_tables(rows)
    parts = [f"# {_TITLES[phase]}", "", markdown_tables((), [*_about(models, found), *notices])]
    if phase == 5:
        parts += ["## What counts as success", "", markdown_tables([success_table(everything, models)])]
    parts += ["## Expected beside measured", "", markdown_tables([t for t in (levels, differences) if t.rows]), _HOW, ""]
    parts += [f"![{title}]({name})\n" for title, name in pictures if name.endswith(("levels.svg", "differences.svg"))]
    for one in found:
        parts += _section(one, [(t, n) for t, n in pictures if Path(n).name.startswith(f"{one.experiment}_")])
    parts += ["## Requests", "", markdown_tables([_requests(ledger.counters)])]
    write_atomically(path, "\n".join(parts).encode("utf-8", "replace"))
    return path, notices


_HOW = """\
Metrics are `strict`: a missing verdict counts as wrong. *inside*, *above* and *below* are said only where the whole
interval is on that side of what was expected; else it is *not decided*. Differences are in percentage points, paired on
the samples that both judged; p is adjusted over all tests of this report (Holm 1979)."""


def _about(models: ModelSet, found: Sequence[Findings]) -> list[str]:
    """What must be known before a number is believed."""
    out = [f"model set {models.name}: {models.title}. {models.about}".strip()]
    if models.stand_ins:
        out.append(
            "the models are stand-ins: what the plan expects was said of other models, and stands beside for the form only"
        )
    data = {t: d for f in found for t, d in f.data.items() if d}
    out += [f"{task}: {about}" for task, about in data.items()]
    if any("sample rows" in d for d in data.values()):
        out.append("sample rows are written for this project and are not the benchmark: no number here is the programme's")
    elif any("subset" in d for d in data.values()):
        out.append("a subset: its numbers have wider intervals than the plan's 1554 samples, and are not the programme's")
    lacking = sorted({f.experiment for f in found if f.missing})
    if lacking:
        out.append(f"incomplete: something is missing in experiment{'s' * (len(lacking) > 1)} {', '.join(map(str, lacking))}")
    return out


def _section(found: Findings, pictures: Sequence[tuple[str, str]]) -> list[str]:
    lines = [f"## Experiment {found.experiment}: {found.title}", ""]
    lines += [f"- missing: {_plain(m)}" for m in found.missing]
    lines += [f"- {_plain(n)}" for n in found.notes]
    lines += [f"- written: `{f}`" for f in found.files]
    lines += [""] if found.missing or found.notes or found.files else []
    lines += [f"![{title}]({name})\n" for title, name in pictures]
    if found.tables:
        lines.append(markdown_tables(found.tables))
    return lines


def _plain(text: str) -> str:
    from guardeval.report.markdown import escaped

    return escaped(" ".join(text.split()))


# ---- numbers ----


def settled(found: Sequence[Findings]) -> list[Measured]:
    """All numbers of a report: a system that cannot differ from one above is said to, and p-values are adjusted together."""
    rows: list[Measured] = []
    seen: dict[tuple[str, ...], Measured] = {}
    for one in (m for f in found for m in f.measured):
        one = _once(one, seen)
        if one.is_difference or one.metric == "accuracy" or _stands(one):  # a system that is not applicable is so once
            rows.append(one)
    tested = [r.p if r.p is not None and _stands(r) else None for r in rows]
    given = iter(holm([p for p in tested if p is not None]))
    return [r if p is None else r.adjusted(next(given)) for r, p in zip(rows, tested, strict=True)]


def _once(one: Measured, seen: dict[tuple[str, ...], Measured]) -> Measured:
    """``not applicable`` in place of the numbers of a run that stands above already, where its prompt changes nothing."""
    first = seen.setdefault((one.task, one.metric, one.run, one.against_run), one)
    if first is one or not one.run or not one.fixed or one.about.startswith("not applicable"):
        return one
    where = f"the verdicts of {first.experiment} {first.system.partition(':')[0]}"
    blank = {"value": math.nan, "low": math.nan, "high": math.nan, "n": 0, "p": None, "test": ""}
    return replace(one, **blank, about=f"not applicable: {one.fixed} ({where})")  # type: ignore[arg-type]


def _stands(one: Measured) -> bool:
    return not one.about.startswith(("not applicable", "missing"))


def measured_tables(rows: Sequence[Measured], metrics: Sequence[str] | None = None) -> tuple[Table, Table]:
    """Numbers themselves, a row a system with all its metrics (or those named), and differences."""
    systems: dict[tuple[int, str, str], list[Measured]] = {}
    for row in rows:
        if not row.is_difference:
            systems.setdefault((row.experiment, row.task, row.system), []).append(row)
    names = [m for m in dict.fromkeys(r.metric for rs in systems.values() for r in rs) if metrics is None or m in metrics]
    levels = tuple(_level(of, names) for of in systems.values())
    differences = tuple(_difference(r) for r in rows if r.is_difference)
    tests = sum(r.p_adjusted is not None for r in rows)
    note = (f"p adjusted over {tests} tests",) if tests > 1 else ()
    heads = (*_LEVEL, *(m.replace("_", " ") for m in names), "n", "expected and measured")
    return Table("systems, % [95 %]", heads, levels), Table("differences, in points", _DIFFERENCE, differences, note)


def _level(of: Sequence[Measured], metrics: Sequence[str]) -> tuple[str, ...]:
    first = next((m for m in of if m.metric == "accuracy"), of[0])
    by_name = {m.metric: m for m in of}
    cells = [_value(by_name[m], "") if m in by_name else "" for m in metrics]
    return (str(first.experiment), first.task, first.system, _range(first, ""), *cells, _n(first), first.verdict)


def _difference(one: Measured) -> tuple[str, ...]:
    shown = (str(one.experiment), one.task, one.system, one.against, one.metric, _range(one, "+"), _value(one, "+"), _n(one))
    return (*shown, one.test, _p(one.p) if _stands(one) else "", _p(one.p_adjusted), one.verdict)


def _n(one: Measured) -> str:
    return str(one.n) if _stands(one) else ""


def _value(one: Measured, sign: str) -> str:
    if not _stands(one):
        return ""
    if math.isnan(one.value):
        return "n/a"
    text = number(100 * one.value, 1, sign)
    if one.metric == "majority_rate":  # a fact about the rows
        return text
    return text if math.isnan(one.low) else f"{text} [{number(100 * one.low, 1, sign)}, {number(100 * one.high, 1, sign)}]"


def _range(one: Measured, sign: str) -> str:
    low, high = (None if v is None else f"{100 * v:{sign}g}" for v in (one.expected_low, one.expected_high))
    if low is None and high is None:
        return ""
    if high is None:
        return f"{low} or more"
    return f"{low} to {high}" if low is not None else f"{high} or less"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    if math.isnan(value):
        return "n/a"
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _requests(counters: Mapping[str, float]) -> Table:
    names = ("asked", "sent", "answered", "cached", "joined", "failed", "distinct")
    row = tuple(f"{counters.get(n, 0):,}" for n in names)
    sent, distinct = counters.get("sent", 0), counters.get("distinct", 0)
    said = (
        "nothing was asked twice"
        if sent == distinct
        else f"{abs(sent - distinct)} more {'sent' if sent > distinct else 'distinct'}"
    )
    why = "" if sent == distinct else ": others were answered before this folder was begun, or had to be asked again"
    return Table("all runs of this folder", names, (row,), (f"requests sent {sent:,}, distinct {distinct:,}: {said}{why}",))


# ---- pictures ----


def _draw(folder: Path, rows: Sequence[Measured], found: Sequence[Findings]) -> tuple[list[tuple[str, str]], list[str]]:
    """Title and relative name of each picture, drawn as a file; without the extra, none and how to get it."""
    try:
        drawn = [
            *_intervals(rows),
            *((f"{f.experiment}_{_slug(p.name)}", p.title, _heat(p)) for f in found for p in f.pictures),
        ]
    except PluginError as e:
        return [], [f"no plots: {e}"]
    if drawn:
        folder.mkdir(parents=True, exist_ok=True)
    for name, _, svg in drawn:
        write_atomically(folder / f"{name}.svg", svg.encode("utf-8"))
    return [(title, f"{folder.name}/{name}.svg") for name, title, _ in drawn], []


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", name)


def _intervals(rows: Sequence[Measured]) -> list[tuple[str, str, str]]:
    """Accuracies with what was expected of them, and differences in accuracy."""
    from guardeval.report.charts import interval_chart

    out = []
    for name, title, kept in (
        ("levels", "accuracy, grey: expected", [r for r in rows if not r.is_difference and r.metric == "accuracy"]),
        (
            "differences",
            "difference in accuracy, grey: expected",
            [r for r in rows if r.is_difference and r.metric == "accuracy"],
        ),
    ):
        shown = [r for r in kept if _stands(r) and not math.isnan(r.value)]
        if shown:
            values = [(_short(r), r.value, r.low, r.high) for r in shown]
            bands = [_band(r) for r in shown]
            out.append((name, title, interval_chart(values, bands, label=title, standalone=True)))
    return out


def _short(one: Measured) -> str:
    if one.is_difference:
        return f"{one.experiment} {one.system.partition(':')[0]} - {one.against.split(', ')[0]}, {one.task}"
    arm, _, system = one.system.partition(": ")
    shown = arm if system.startswith("ensemble") else f"{arm}, {system}"
    return f"{one.experiment} {shown}, {one.task}"


def _band(one: Measured) -> tuple[float, float] | None:
    """An open end is drawn as far as the interval reaches."""
    if one.expected_low is None and one.expected_high is None:
        return None
    low = one.expected_low if one.expected_low is not None else min(one.low, one.expected_high or one.low)
    high = one.expected_high if one.expected_high is not None else max(one.high, low)
    return low, high


def _heat(picture: Picture) -> str:
    from guardeval.report.charts import heat_chart

    values = [[math.nan if v is None else v for v in row] for row in picture.values]
    return heat_chart(picture.rows, picture.columns, values, label=picture.title, standalone=True)
