"""``training_report.md`` of a model folder: what was trained, how the loss went, how well it does on validation rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guardeval.errors import PluginError
from guardeval.finetuning.history import best_entry
from guardeval.finetuning.workspace import TRAINING, Workspace
from guardeval.model_folder import ModelCard
from guardeval.report.markdown import escaped, markdown_table
from guardeval.report.tables import Table, number
from guardeval.runs import write_atomically

if TYPE_CHECKING:
    from guardeval.finetuning.tuning import Outcome

__all__ = ["REPORT", "loss_chart", "loss_table", "validation_table", "write_report"]

REPORT = "training_report.md"
_ROWS = 20  # of the loss table at most
_CURVE = "loss.svg"


def write_report(work: Workspace, card: ModelCard, outcome: Outcome) -> None:
    """The report, and the curve beside the training's log where matplotlib is installed."""
    try:
        write_atomically(work.folder / _CURVE, loss_chart(outcome.history).encode())
        curve = f"![loss by step]({TRAINING}/{_CURVE})\n"
    except PluginError as e:
        curve = f"No curve is drawn: {escaped(str(e))}\n"
    facts = Table("", ("", ""), tuple((k, _text(v)) for k, v in {**card.parameters, "command": card.command}.items()))
    left = Table("", ("left out", "rows"), tuple((why, str(n)) for why, n in outcome.left_out.counts.items()))
    parts = [
        f"# Training of a {escaped(card.kind)} model from {escaped(str(card.base_model))}\n",
        *(f"> {escaped(notice)}\n" for notice in card.notices),
        markdown_table(facts),
        "## Loss\n",
        curve,
        markdown_table(loss_table(outcome.history)),
        "## Validation\n",
        _validation(outcome),
        *(["## Rows that were not trained on\n", markdown_table(left)] if left.rows else []),
    ]
    write_atomically(work.out / REPORT, "\n".join(parts).encode())


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def loss_points(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """Step and mean training loss of the rows it took."""
    return [(int(e["step"]), float(e["loss"])) for e in history if "loss" in e]


def loss_table(history: Sequence[Mapping[str, Any]]) -> Table:
    """The training loss averaged over as many spans of steps as there is room for, and the validation loss in each."""
    points, held = loss_points(history), {int(e["step"]): float(e["eval_loss"]) for e in history if "eval_loss" in e}
    span = max(1, math.ceil(len(points) / _ROWS))
    rows = []
    for at in range(0, len(points), span):
        part = points[at : at + span]
        first, last = part[0][0], part[-1][0]
        seen = [loss for step, loss in held.items() if first <= step <= last]
        steps = str(first) if first == last else f"{first}-{last}"
        rows.append((steps, number(sum(p[1] for p in part) / len(part), 4), number(seen[-1], 4) if seen else ""))
    return Table("", ("steps", "training loss", "validation loss"), tuple(rows))


def _validation(outcome: Outcome) -> str:
    table = validation_table(outcome.history)
    if not table.rows:
        return "There was no labelled validation row, so nothing is known of the model's quality.\n"
    why = f"The result is step {outcome.best_step}, the best by F1{_beside_base(outcome)}."
    stopped = f" Training ended early: {escaped(outcome.stopped)}." if outcome.stopped else ""
    return markdown_table(table) + f"\n{why}{stopped} An unreadable answer counts as wrong; intervals are 95 %.\n"


def _beside_base(outcome: Outcome) -> str:
    """Said where training did not help: the base is never the result, so a reader has to know."""
    best = best_entry(outcome.history)
    before = next((e for e in outcome.history if "eval_f1" in e and e["step"] == 0), None)
    worse = best is not None and before is not None and best["eval_f1"] < before["eval_f1"]
    return "; the base itself, step 0, does better" if worse else ""


def validation_table(history: Sequence[Mapping[str, Any]]) -> Table:
    """One row an evaluation and target, each number with its interval and n."""
    rows = []
    for entry in history:
        for target, each in (entry.get("eval_validation") or {}).items():
            cells = (_estimate(each[name]) for name in ("parse_rate", "accuracy", "f1"))
            rows.append((str(entry["step"]), target, *cells, str(each["parse_rate"]["n"])))
    return Table("", ("step", "target", "parse rate", "accuracy", "F1", "n"), tuple(rows))


def _estimate(found: Mapping[str, float]) -> str:
    return f"{number(found['value'])} [{number(found['low'])}, {number(found['high'])}]"


def loss_chart(history: Sequence[Mapping[str, Any]]) -> str:
    """Training loss by step as a line, validation loss as points: SVG. Raises :class:`PluginError` without matplotlib."""
    from guardeval.report.canvas import MARKERS, PANEL, SERIES, drawing, svg

    points = loss_points(history)
    held = [(int(e["step"]), float(e["eval_loss"])) for e in history if "eval_loss" in e]
    with drawing(720, 300) as (figure, (axes,)):
        if points:
            axes.plot([s for s, _ in points], [v for _, v in points], color=SERIES[0], label="training")
        if held:
            xs, ys = [s for s, _ in held], [v for _, v in held]
            axes.plot(xs, ys, MARKERS[1], color=SERIES[1], markeredgecolor=PANEL, markersize=8, label="validation")
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        if points or held:
            axes.legend()
        ends = f"training loss from {points[0][1]:.4g} to {points[-1][1]:.4g}" if points else "no step"
        return svg(figure, "loss by step", ends, standalone=True)
