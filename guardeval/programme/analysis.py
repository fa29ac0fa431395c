"""Phase 5: failure modes, F1 by policy, what each step of the reasoning is worth, other benchmarks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from guardeval.programme.definitions import Experiment, Reference
from guardeval.programme.findings import Findings, Picture
from guardeval.programme.held import Held
from guardeval.programme.measuring import measured_of, paired, text_of
from guardeval.programme.reviewed import add_reviews
from guardeval.programme.verdicts import Measured
from guardeval.programme.workbench import Missing, Workbench
from guardeval.report.tables import Table, number

__all__ = ["ablation", "failures", "generalisation", "policies"]


# ---- 41: failure modes ----


def failures(experiment: Experiment, bench: Workbench, found: Findings, task: str) -> None:
    from guardeval.error_sample import draw_errors, review_rows
    from guardeval.failures import mode_shares
    from guardeval.runs import write_atomically

    wanted = experiment.failures
    assert wanted is not None  # noqa: S101  # the caller looked
    held = bench.held(wanted.of, task)
    rows = tuple(
        (
            str(s.mode),
            str(s.count),
            _interval(s.share.value, s.share.low, s.share.high),
            s.whole,
            str(s.share.n),
            str(s.misjudged),
        )
        for s in mode_shares(held.judged)
    )
    columns = ("mode", "samples", "share", "of", "n", "misjudged")
    found.tables.append(Table(f"{task}: failure modes of {held.name}", columns, rows))
    drawn = draw_errors(held.judged, wanted.n, bench.seed)
    path = bench.folder / wanted.output.replace("{task}", task)
    write_atomically(path, b"".join(review_rows(held.judged, drawn, task)))
    found.files.append(path.name)
    of = tuple((str(m.mode), str(m.there), str(m.drawn)) for m in drawn.modes)
    note = f"{len(drawn.places)} of {drawn.there} misjudged samples; {path.name}: `guardeval review` shows them to people"
    found.tables.append(Table(f"{task}: drawn for review", ("mode", "there are", "drawn"), of, (note,)))
    add_reviews(found, held, [held.judged.ids[i] for i in drawn.places], path)


def _interval(value: float, low: float, high: float) -> str:
    return "n/a" if math.isnan(value) else f"{number(value)} [{number(low)}, {number(high)}]"


# ---- 42: policies ----


def policies(experiment: Experiment, bench: Workbench, found: Findings, task: str) -> None:
    wanted = experiment.policies_of
    assert wanted is not None  # noqa: S101  # the caller looked
    held = [(r, bench.held(r, task)) for r in wanted.systems]
    names = [f"{r}: {h.name}" for r, h in held]
    names_of = [p for p in held[0][1].judged.policy_names if any(f"{p}/f1,strict" in h.metrics for _, h in held)]
    if not names_of:
        raise Missing(f"{task}: its rows settle no policy, so there is no F1 by policy")
    cells = [[measured_of(h, 0, n, f"{p}/f1") for n, (_, h) in zip(names, held, strict=True)] for p in names_of]
    rows = tuple(
        (p, *map(text_of, row), _gain(row), _reaches(row[-1], wanted.least)) for p, row in zip(names_of, cells, strict=True)
    )
    columns = ("policy", *names, "last minus first", f"last above {100 * wanted.least:g} %")
    notes = list(dict.fromkeys(n for _, h in held for n in h.results["config"].get("model_notices") or ()))
    found.tables.append(Table(f"{task}: F1 by policy, one against the rest", columns, rows, tuple(notes)))
    values = tuple(tuple(_plain(one) for one in row) for row in cells)
    found.pictures.append(Picture(f"policies_{task}", f"{task}: F1 by policy", tuple(names_of), tuple(names), values))


def _plain(one: Measured | None) -> float | None:
    return None if one is None or math.isnan(one.value) else one.value


def _gain(row: Sequence[Measured | None]) -> str:
    first, last = _plain(row[0]), _plain(row[-1])
    return "n/a" if first is None or last is None else number(last - first, sign="+")


def _reaches(one: Measured | None, least: float) -> str:
    """Computed from the interval: yes or no only where all of it is on one side."""
    if one is None or math.isnan(one.value) or math.isnan(one.low):
        return "n/a"
    return "yes" if one.low > least else "no" if one.high < least else "not decided"


# ---- 43: ablation ----


def ablation(experiment: Experiment, bench: Workbench, found: Findings, task: str) -> None:

    wanted = experiment.ablation
    assert wanted is not None  # noqa: S101  # the caller looked
    full = bench.held(wanted.full, task)
    costs = [("nothing", full)]
    for step, reference in wanted.without.items():
        try:
            held = bench.held(reference, task)
        except Missing as e:
            found.lack(str(e))
            continue
        system, against = f"without {step}: {held.name}", full.name
        if held.key == full.key:
            about = f"not applicable: {held.fixed or 'the same run'}"
            found.measured.append(
                Measured(experiment.number, task, system, "accuracy", against=against, run=held.key, about=about)
            )
            continue
        comparison = paired(full, [held], ("accuracy", "f1", "overflagging", "underflagging"), ("accuracy",))
        (pair,) = comparison.pairs
        for d in pair.differences:
            row = Measured(experiment.number, task, system, d.metric, d.difference, d.low, d.high, d.n, against=against)
            row = replace(row, test=d.test or "", p=d.p_value, run=held.key, against_run=full.key)
            found.measured.append(row)
        flips = tuple((f.gold, f.before, f.after, _word(f.right_before, f.right_after), str(f.n)) for f in pair.flips)
        note = ", ".join(f"{k} {v}" for k, v in pair.matrix.items())
        title = f"{task}: flips from the full prompt to the one without {step}"
        found.tables.append(Table(title, ("gold", "full", f"without {step}", "", "samples"), flips, (note,)))
        costs.append((step, held))
    if len(costs) > 1:
        found.tables.append(_costs(task, costs))


def _word(before_right: bool, after_right: bool) -> str:
    if before_right == after_right:
        return "" if after_right else "wrong in both"
    return "gained" if after_right else "lost"


_COSTS = ("requests_mean", "tokens_in_mean", "tokens_out_mean", "latency_p50", "cost_total")


def _costs(task: str, costs: Sequence[tuple[str, Held]]) -> Table:
    from guardeval.report.tables import amount

    def cells(held: Held) -> list[str]:
        known = [m for m in _COSTS if number(held.metrics.get(f"{m},none")) != "n/a"]
        return [amount(held.metrics, m) if m in known else "n/a" for m in _COSTS]

    rows = tuple((step, *cells(held)) for step, held in costs)
    return Table(f"{task}: what each prompt costs a sample", ("without", *_COSTS), rows)


# ---- 44: generalisation ----


def generalisation(experiment: Experiment, bench: Workbench, found: Findings, tasks: Sequence[str]) -> None:
    wanted = experiment.generalisation
    assert wanted is not None  # noqa: S101  # the caller looked
    held: dict[tuple[str, Reference], Held] = {}
    for task in tasks:
        for reference in wanted.systems:
            try:
                held[task, reference] = bench.held(reference, task)
            except Missing as e:
                found.lack(str(e))
    names = {r: next((held[t, r].name for t in tasks if (t, r) in held), str(r)) for r in wanted.systems}
    for metric in wanted.metrics:
        cells = {at: measured_of(h, experiment.number, names[at[1]], metric) for at, h in held.items()}
        values = tuple(tuple(_plain(cells.get((t, r))) for r in wanted.systems) for t in tasks)
        found.pictures.append(
            Picture(f"generalisation_{metric}", f"{metric} by benchmark", tuple(tasks), tuple(names.values()), values)
        )
        rows = tuple((t, *(text_of(cells[t, r]) if (t, r) in cells else "missing" for r in wanted.systems)) for t in tasks)
        found.tables.append(Table(f"{metric} by benchmark", ("benchmark", *names.values()), rows))
        gaps = tuple(
            (t, *(_gap(cells.get((t, r)), cells.get((wanted.home, r))) for r in wanted.systems))
            for t in tasks
            if t != wanted.home
        )
        note = "different samples, so not paired: the intervals of both are combined (MOVER, Zou & Donner 2008)"
        found.tables.append(Table(f"{metric}: gap to {wanted.home}", ("benchmark", *names.values()), gaps, (note,)))
    for task in tasks:
        marks = {m for (t, _), h in held.items() if t == task for m in h.results["configs"][task].get("marks") or ()}
        if marks:
            found.note(f"{task}: {', '.join(sorted(marks))}")


def _gap(one: Measured | None, home: Measured | None) -> str:
    """The benchmark's value minus home's, with an interval for independent samples."""
    if one is None or home is None:
        return "missing"
    if math.isnan(one.value) or math.isnan(home.value):
        return "n/a"
    gap = one.value - home.value
    low = gap - math.hypot(one.value - one.low, home.high - home.value)
    high = gap + math.hypot(one.high - one.value, home.value - home.low)
    return f"{number(gap, sign='+')} [{number(low, sign='+')}, {number(high, sign='+')}]"
