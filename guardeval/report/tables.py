"""A results file as tables of text: what the terminal and Markdown reports both print.

Every number stands with its interval and n; what is undefined reads ``n/a``, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guardeval.accounting import ACCOUNTINGS
from guardeval.metrics import METRICS
from guardeval.run_names import model_text

__all__ = ["CLEAN", "Table", "amount", "cell", "facts", "heading", "number", "task_tables"]

_HEADLINE = (
    "accuracy", "majority_rate", "balanced_accuracy", "f1", "precision", "recall", "overflagging", "underflagging", "mcc",
    "policy_exact_match",
)  # fmt: skip
_NUMBER = re.compile(r"[-+]?[\d.]|< ?\d|n/a")
CLEAN = "clean subset"
_SCORES = ("auroc", "auprc", "recall_at_5_overflagging", "ece", "brier")


@dataclass(frozen=True, slots=True)
class Table:
    """A title, column heads and rows of cells, notes under it, all text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def numeric(self) -> tuple[bool, ...]:
        """Column by column: it holds numbers, and stands right. The first never does."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        return (False, *(any(_NUMBER.match(c) for c in column) or not any(column) for column in columns[1:]))


def number(value: Any, digits: int = 3, sign: str = "") -> str:
    """``0.815``; ``n/a`` for what is undefined. ``sign="+"`` writes one before positive numbers, too."""
    if not isinstance(value, (int, float)) or value != value:
        return "n/a"
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"  # + 0.0: what rounds to nothing has no sign


def cell(metrics: Mapping[str, Any], metric: str, accounting: str, n: bool = False) -> str:
    """``0.815 [0.795, 0.834]``, with ``n=…`` on request; ``n/a`` where undefined, empty where not reported."""
    key = f"{metric},{accounting}"
    if key not in metrics:
        return ""
    text = number(metrics[key])
    if text != "n/a":
        text += _interval(metrics, metric, accounting, number)
    return text + (_n(metrics, metric, accounting) if n else "")


def _interval(metrics: Mapping[str, Any], metric: str, accounting: str, write: Any) -> str:
    interval = metrics.get(f"{metric}_ci,{accounting}")
    if not interval or not all(isinstance(v, (int, float)) and v == v for v in interval):
        return ""
    return f" [{write(interval[0])}, {write(interval[1])}]"


def _n(metrics: Mapping[str, Any], metric: str, accounting: str) -> str:
    count = metrics.get(f"{metric}_n,{accounting}")
    return f" n={int(count)}" if isinstance(count, (int, float)) and count == count else ""


def heading(results: Mapping[str, Any], task: str) -> str:
    """What was asked of which rows: ``wildguard (prompt_harmfulness)``."""
    return f"{task} ({results['configs'][task]['target']})"


def facts(results: Mapping[str, Any], task: str) -> str:
    """One line that says what was measured on what, and how far it may be believed."""
    config, about, counts = results["config"], results["configs"][task], results["n-samples"][task]
    subset = f" of {counts['original']}" if about.get("subset") or counts["original"] != counts["effective"] else ""
    marks = about.get("marks") or ()
    return " · ".join(
        (
            config.get("solver_label") or config["solver"],
            model_text(config),
            f"policies {config['policies']}",
            f"{counts['effective']}{subset} samples, {counts['positive']} positive",
            f"data: {about['data']['source']}",
            *((f"marked: {', '.join(marks)}",) if marks else ()),
        )
    )


def task_tables(results: Mapping[str, Any], task: str) -> list[Table]:
    """All tables of one task: accountings side by side, outcomes, policies, probabilities, effort."""
    metrics = results["results"][task]
    tables = [
        _headline(metrics),
        _outcomes(metrics),
        _policies(metrics, results["config"].get("model_notices") or ()),
        _scores(metrics),
        _effort(metrics),
        _stages(metrics, results["config"].get("members") or ()),
        _failures(metrics),
        _failures_by_category(metrics),
        _others(metrics),
    ]
    return [t for t in tables if t is not None and t.rows]


def _headline(metrics: Mapping[str, Any]) -> Table:
    present = [a for a in ACCOUNTINGS if any(f"{m},{a}" in metrics for m in _HEADLINE)]
    shown = _distinct(metrics, present)
    clean = (metrics.get("contamination") or {}).get("clean")
    columns = [(metrics, a) for a in shown]
    if clean is not None:
        columns.insert(1, (clean, shown[0] if shown else ""))
    rows = [(m, *(cell(of, m, a) for of, a in columns)) for m in _HEADLINE if any(f"{m},{a}" in metrics for a in shown)]
    if rows:
        rows.append(("n", *(_samples(of, a) for of, a in columns)))
    same = [a for a in present if a not in shown] if metrics["coverage"] == 1 else []
    notes = (f"{', '.join(same)}: the same as {shown[0]}, for every sample has a verdict",) if same else ()
    failed = metrics["outcomes"].get("failed")
    heads = [f"{a} (provisional)" if a == "strict" and failed else a for a in shown]
    if clean is not None:
        heads.insert(1, f"{CLEAN} ({shown[0]})" if shown else CLEAN)
    return Table("", ("metric", *heads), tuple(rows), (*notes, *_seen(metrics)))


def _seen(metrics: Mapping[str, Any]) -> Iterator[str]:
    """How much of the samples a model knew from training."""
    if told := metrics.get("contamination"):
        seen = f"{told['samples']} of {metrics['sample_len']} samples ({number(told['share'])})"
        yield f"contaminated: {seen} were seen in training; {CLEAN}: {told['clean']['sample_len']}"


def _distinct(metrics: Mapping[str, Any], accountings: Sequence[str]) -> list[str]:
    """Accountings to show: one column where no verdict is missing, for then all agree."""

    def values(accounting: str) -> list[Any]:
        found = [metrics.get(f"{m},{accounting}") for m in _HEADLINE if m != "policy_exact_match"]
        return ["n/a" if v is None or v != v else v for v in found]

    if not accountings or any(values(a) != values(accountings[0]) for a in accountings):
        return list(accountings)
    return [accountings[0]]


def _samples(metrics: Mapping[str, Any], accounting: str) -> str:
    value = metrics.get(f"accuracy_n,{accounting}", metrics.get(f"f1_n,{accounting}"))
    return f"{value:.0f}" if isinstance(value, (int, float)) else ""


def _outcomes(metrics: Mapping[str, Any]) -> Table:
    outcomes = metrics["outcomes"]
    note = ("provisional: samples that were never heard count as wrong under strict",) if outcomes.get("failed") else ()
    row = (number(metrics["coverage"]), *(str(outcomes[o]) for o in outcomes))
    return Table("verdicts", ("coverage", *outcomes), (row,), note)


def _policies(metrics: Mapping[str, Any], model_notices: Sequence[str]) -> Table | None:
    kinds = ("precision", "recall", "f1", "f1_known")
    parts = [k.partition(",")[0].rpartition("/") for k in metrics]
    names = list(dict.fromkeys(name for name, slash, metric in parts if slash and metric in kinds))
    if not names:
        return None
    rows = []
    for name in names:
        positives = metrics.get(f"{name}/recall_n,strict")
        count = f"{positives:.0f}" if isinstance(positives, (int, float)) else ""
        rows.append((name, count, *(cell(metrics, f"{name}/{kind}", "strict") for kind in kinds)))
    for label, stem in (("macro", "policy_macro"), ("micro", "policy_micro")):
        rows.append((label, "", "", "", cell(metrics, f"{stem}_f1", "strict"), cell(metrics, f"{stem}_f1_known", "strict")))
    notes = list(model_notices)  # a guard whose policies are weak says so wherever they are shown
    scored = metrics.get("policies_scored,strict")
    if isinstance(scored, (int, float)):
        notes.append(f"macro and micro over the {scored:g} policies that have known positives")
    return Table("policies, one against the rest (strict)", ("policy", "positives", *kinds), tuple(rows), tuple(notes))


def _scores(metrics: Mapping[str, Any]) -> Table | None:
    rows: list[tuple[str, ...]] = [(m, cell(metrics, m, "parsed", n=True)) for m in _SCORES if f"{m},parsed" in metrics]
    if all(text.startswith("n/a") for _, text in rows):
        return None  # the backend gives no probabilities: nothing to say
    if (told := metrics.get("contamination")) is not None:
        rows = [(*row, cell(told["clean"], row[0], "parsed", n=True)) for row in rows]
        return Table("probabilities (parsed only)", ("metric", "value", CLEAN), tuple(rows))
    return Table("probabilities (parsed only)", ("metric", "value"), tuple(rows))


_EFFORT = (
    "latency_p50", "latency_p95", "latency_p99", "tokens_in_mean", "tokens_out_mean", "tokens_per_second", "cost_total",
    "cost_per_1000", "requests_mean", "cached_share", "reasoning_steps", "reasoning_tokens", "tokens_per_step",
    "tokens_in_total", "tokens_out_total",
)  # fmt: skip
_MONEY = " US$"
_UNITS = {"latency_p50": " s", "latency_p95": " s", "latency_p99": " s", "cost_total": _MONEY, "cost_per_1000": _MONEY}


def _effort(metrics: Mapping[str, Any]) -> Table | None:
    rows = [(m, amount(metrics, m)) for m in _EFFORT if number(metrics.get(f"{m},none")) != "n/a"]
    return Table("effort", ("measure", "value"), tuple(rows)) if rows else None


def amount(metrics: Mapping[str, Any], metric: str) -> str:
    """A quantity with its unit, interval and n: ``0.103 [0.102, 0.105] s n=300``."""
    write = _dollars if _UNITS.get(metric) == _MONEY else _digits
    value = write(metrics[f"{metric},none"])
    return value + _interval(metrics, metric, "none", write) + _UNITS.get(metric, "") + _n(metrics, metric, "none")


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _dollars(value: float) -> str:
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"


def _stages(metrics: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> Table | None:
    """Stages of a cascade: who was asked how often, who had the last word, what each took."""
    rows: list[tuple[str, ...]] = []
    while (name := f"stage{len(rows) + 1}") and f"{name}/asked_share,none" in metrics:
        member = str(members[len(rows)]["name"]) if len(rows) < len(members) else name
        shares = (cell(metrics, f"{name}/{m}", "none") for m in ("asked_share", "settled_share"))
        took = (metrics.get(f"{name}/{m},none") for m in ("stage_latency_mean", "stage_cost_per_1000"))
        rows.append((member, *shares, *(_digits(v) if isinstance(v, float) and v == v else "n/a" for v in took)))
    columns = ("stage", "asked", "settled", "latency s", "US$ per 1,000")
    note = "latency and cost per sample of the run, so that the stages add up"
    return Table("stages", columns, tuple(rows), (note,)) if rows else None


_FAILURES = (
    "failure_overflagged", "failure_missed", "failure_policy_confusion", "failure_unreadable", "failure_edge",
)  # fmt: skip
_IN_CATEGORY = "overflagging["


def _failures(metrics: Mapping[str, Any]) -> Table | None:
    there = [m for m in _FAILURES if f"{m},none" in metrics]
    rows = tuple((m, METRICS[m].meaning, cell(metrics, m, "none", n=True)) for m in there)
    return Table("modes of failure", ("metric", "meaning", "value"), rows) if rows else None


def _failures_by_category(metrics: Mapping[str, Any]) -> Table | None:
    named = [k.removesuffix(",parsed") for k in metrics if k.startswith(_IN_CATEGORY) and k.endswith(",parsed")]
    there = [m for m in named if not _accompanies(m, "parsed", metrics)]
    rows = tuple((m.removeprefix(_IN_CATEGORY).replace("]", "", 1), cell(metrics, m, "parsed", n=True)) for m in there)
    return Table("over-flagging by category (parsed only)", ("category", "value"), rows) if rows else None


def _others(metrics: Mapping[str, Any]) -> Table | None:
    """What further scorers found."""
    rows = []
    for key in metrics:
        metric, comma, accounting = key.partition(",")
        known = metric in {*_HEADLINE, *_SCORES, *_EFFORT, *_FAILURES} or "/" in metric
        known = known or metric.startswith(("policy_", _IN_CATEGORY))
        if not comma or known or _accompanies(metric, accounting, metrics) or metric == "policies_scored":
            continue
        counted = metric in METRICS and METRICS[metric].unit in ("samples", "policies") and number(metrics[key]) != "n/a"
        text = f"{metrics[key]:,.0f}" if counted else cell(metrics, metric, accounting, n=True)
        rows.append((metric, accounting, text))
    return Table("further metrics", ("metric", "accounting", "value"), tuple(rows)) if rows else None


def _accompanies(metric: str, accounting: str, metrics: Mapping[str, Any]) -> bool:
    """The interval or the n of another metric."""
    stem = metric.removesuffix("_ci").removesuffix("_n")
    return stem != metric and f"{stem},{accounting}" in metrics
