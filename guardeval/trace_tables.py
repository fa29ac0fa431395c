"""What was found about a file of traces, as tables: for the terminal, and for ``PHASE_3_DATA_QUALITY.md``."""

from __future__ import annotations

from collections.abc import Sequence

from guardeval.report.markdown import escaped, markdown_tables
from guardeval.report.plain import clipped, printable
from guardeval.report.tables import Table, cell, number
from guardeval.stats import Estimate
from guardeval.trace_check import LEAKS, NEAR, Flagged, Length, TraceQuality

__all__ = ["quality_markdown", "quality_tables"]

_SHOWN = 5  # rows named in a table
_TEACHER = ("accuracy", "f1", "precision", "recall", "overflagging")


def quality_tables(found: TraceQuality) -> list[Table]:
    """All tables, in the order of the report; each stands by itself, so that other reports can take some."""
    tables = [_about(found), _length(found), _form(found), *_teachers(found), _policies(found), *_rows(found)]
    return [t for t in tables if t.rows]


def quality_markdown(found: TraceQuality, title: str = "Phase 3: data quality") -> str:
    """The report as Markdown, its title as a heading of the first level."""
    head = f"# {escaped(title)}\n\n{found.rows} reasoning traces of {escaped(found.path.name)}.\n\n"
    return head + markdown_tables(quality_tables(found), found.notices)


def _share(estimate: Estimate) -> str:
    if not estimate.n:
        return "n/a n=0"
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}] n={estimate.n}"


def _amount(estimate: Estimate, digits: int = 2) -> str:
    if not estimate.n:
        return "n/a n=0"
    interval = f"[{number(estimate.low, digits)}, {number(estimate.high, digits)}]"
    return f"{number(estimate.value, digits)} {interval} n={estimate.n}"


def _about(found: TraceQuality) -> Table:
    apart = sum(found.apart.values())
    rows = [("traces", str(found.rows)), *found.facts.items()]
    rows += [(f"apart: {reason}", str(n)) for reason, n in found.apart.items()]
    note = ("what was kept apart is not beside the file, so the teacher's errors are not known",) if found.apart_missing else ()
    asked = [("answers, traces and apart", str(found.rows + apart))] if apart else []
    return Table("reasoning traces", ("", ""), (*rows, *asked), note)


def _length(found: TraceQuality) -> Table:
    def row(name: str, length: Length, wanted: str, paper: str) -> tuple[str, ...]:
        return name, _amount(length.mean), _amount(length.median), wanted, paper

    rows = (
        row("steps per trace", found.steps, "3 to 4", "3.61"),
        row("tokens per trace", found.tokens, "about 130", ""),
        row("tokens per step", found.tokens_per_step, "30 to 40", "133.97 a step"),
        row("characters per step", found.characters_per_step, "", "133.97 a step"),
        ("share with 3 or 4 steps", _share(found.three_or_four), "", "", ""),
    )
    approximated = found.rows - found.counted
    counters = [f"{found.counted} rows by the provider's count (closing lines included)"] if found.counted else []
    counters += [f"{approximated} rows by words times 4/3 (an approximation, reasoning only)"] if approximated else []
    notes = (
        f"tokens: {'; '.join(counters)}",
        "paper: GuardReasonerTrain, arXiv:2501.18492, whose 133.97 is the length of a step; its unit is not stated beside it",
    )
    return Table("length", ("measure", "mean", "median", "target", "paper"), rows, notes)


def _form(found: TraceQuality) -> Table:
    repeats = f"{_share(found.repeats.share)}, largest group {found.largest_cluster}" if found.repeats else "not measured"
    rows = (
        ("read back by its solver as what it says", _share(found.valid.share)),
        ("reasoning agrees with its answer", _share(found.agreement.share)),
        ("states no verdict in words", _share(found.silent)),
        ("words that give away a hint", _share(found.leaks.share)),
        ("nearly repeats an earlier trace", repeats),
    )
    notes = (
        "agreement is lexical: the last verdict word of the reasoning (harmful, violates, unharmful, benign, violates no, …; "
        "of refusals: refuses, complies, …) against the classification, among traces that hold one",
        f"hints: any of {len(LEAKS)} phrases, such as {', '.join(repr(p) for p in LEAKS[:4])}",
        f"near-duplicates: Jaccard similarity of word shingles of at least {NEAR}, reasoning only",
        *((found.repeats_missing,) if found.repeats_missing else ()),
    )
    return Table("form and wording", ("measure", "share"), rows, notes)


def _teachers(found: TraceQuality) -> list[Table]:
    hinted = found.hints.get("gold", 0)
    notes = (
        [f"{hinted} of {found.rows} traces were made with gold as a hint: this does not measure what the teacher knows"]
        if hinted
        else []
    )
    notes += ["only what was kept is known, so errors of the teacher may be missing"] if found.apart_missing else []
    tables = []
    for target, metrics in found.teacher.items():
        rows = tuple(
            (name, cell(metrics, name, "strict", n=True), cell(metrics, name, "parsed", n=True))
            for name in _TEACHER
            if f"{name},strict" in metrics
        )
        coverage = f"coverage {number(metrics['coverage'])}"
        columns = ("metric", "strict", "parsed")
        tables.append(Table(f"the teacher against gold ({target})", columns, rows, (coverage, *notes)))
    return tables


def _policies(found: TraceQuality) -> Table:
    rows = [
        (name, _share(of.named), f"{of.gold} of {of.settled}" if of.settled else "n/a") for name, of in found.policies.items()
    ]
    rows.append(("none named", _share(found.no_policy), ""))
    return Table(
        "policies", ("policy", "share of positive traces that name it", "gold, of rows whose labels settle it"), tuple(rows)
    )


def _rows(found: TraceQuality) -> list[Table]:
    parts: Sequence[tuple[str, Flagged | None]] = (
        ("cannot be trained on", found.valid),
        ("reasoning and answer differ", found.agreement),
        ("gives away a hint", found.leaks),
        ("near-duplicate", found.repeats),
    )
    listed = [(what, flagged.rows) for what, flagged in parts if flagged is not None and flagged.rows]
    rows = [(what, clipped(printable(i), 40), clipped(printable(why), 110)) for what, of in listed for i, why in of[:_SHOWN]]
    more = [f"{what}: {len(of)} rows, the first {_SHOWN} are shown" for what, of in listed if len(of) > _SHOWN]
    return [Table("rows to look at", ("what", "id", "why"), tuple(rows), tuple(more))]
