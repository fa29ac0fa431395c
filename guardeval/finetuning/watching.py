"""What happens beside the steps of a training: the order of rows written down, progress told, the best epoch kept."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guardeval.errors import needs_extra
from guardeval.finetuning.history import best_entry
from guardeval.finetuning.processes import is_main
from guardeval.finetuning.workspace import Workspace
from guardeval.report.tables import number

with needs_extra("train"):  # this module is imported where a training starts, never by a command that only plans
    from transformers import TrainerCallback

if TYPE_CHECKING:
    from guardeval.finetuning.validating import Validation

__all__ = ["Watch", "Watched"]

_EVERY = 5.0  # seconds between two progress lines


@dataclass
class Watch(TrainerCallback):
    """Callback and notebook of one training. ``names``: of the training rows, by number."""

    work: Workspace
    names: Sequence[str]
    tokenizer: Any
    validation: Validation | None = None
    patience: int = 0
    met: list[int] = field(default_factory=list)  # rows since the last step
    before: dict[str, Any] | None = None  # the evaluation of the base
    stopped: str | None = None  # why the training ended early
    _began: tuple[float, int] | None = None
    _told: float = -math.inf

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The evaluation before the first step belongs to the history."""
        if self.before is not None and not any(e["step"] == 0 for e in state.log_history):
            state.log_history.insert(0, self.before)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        rows, self.met = self.met, []
        if is_main():
            self.work.add_order(state.global_step, [self.names[i] for i in rows])

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if is_main():
            self.work.mark_whole(state.global_step)
            best = best_entry(state.log_history)
            for folder in self.work.folder.glob("best-*"):
                if best is not None and folder.name != f"best-{best['step']}":
                    shutil.rmtree(folder, ignore_errors=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        if not is_main() or not logs or "loss" not in logs:
            return
        now = time.monotonic()
        if self._began is None:
            self._began = (now, state.global_step)
        if now - self._told < _EVERY and state.global_step < state.max_steps:
            return
        self._told = now
        _say(self._line(state, float(logs["loss"]), now))

    def _line(self, state: Any, loss: float, now: float) -> str:
        began, first = self._began or (now, state.global_step)
        done = state.global_step - first
        parts = [f"step {state.global_step}/{state.max_steps}", f"epoch {state.epoch:.2f}", f"loss {loss:.4f}"]
        if done and now > began:
            pace = done / (now - began)
            parts += [f"{pace:.2f} steps/s", f"{_clock((state.max_steps - state.global_step) / pace)} left"]
        return " · ".join(parts)

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        entry = next((e for e in reversed(state.log_history) if "eval_validation" in e), None)
        if entry is None:
            return
        if is_main():
            _say(_evaluation_line(entry))
        best = best_entry(state.log_history)
        if best is None:
            return
        if best is entry and is_main():
            self._keep(given["model"], state.global_step)
        if self.is_over(state.log_history):
            control.should_training_stop = control.should_save = True

    def is_over(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether patience has run out; ``stopped`` then says why."""
        best = best_entry(history)
        if best is None or not self.patience:
            return False
        since = len([e for e in history if "eval_validation" in e and e["step"] > best["step"]])
        if since >= self.patience:
            self.stopped = f"no better F1 for {since} epoch{'s' if since > 1 else ''} after step {best['step']}"
        return self.stopped is not None

    def _keep(self, model: Any, step: int) -> None:
        """The weights as they are now, whole or not at all."""
        folder = self.work.folder / f"best-{step}"
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(part)
        part.replace(folder)


class Watched:
    """Put before a trl trainer's class: notes which rows each step takes, and validates as runs do."""

    watch: Watch

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        trainer: Any = self
        self.watch.met += trainer.accelerator.gather(inputs.pop("row")).tolist()
        return super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        inputs.pop("row", None)
        return super().prediction_step(model, inputs, *args, **kwargs)  # type: ignore[misc]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """An evaluation is logged with what the scorer says, so that it survives in the checkpoint's history."""
        if "eval_loss" in logs and self.watch.validation is not None:
            trainer: Any = self
            logs.update(_validated(trainer, self.watch.validation))
        super().log(logs, *args, **kwargs)  # type: ignore[misc]


def _validated(trainer: Any, validation: Validation) -> dict[str, Any]:
    from accelerate.utils import gather_object

    model = trainer.accelerator.unwrap_model(trainer.model)
    model = model.get_base_model() if hasattr(model, "peft_config") else model
    process, processes = trainer.accelerator.process_index, trainer.accelerator.num_processes
    mine = validation.judged(model, trainer.watch.tokenizer, (process, processes))
    parts = gather_object([mine]) if processes > 1 else [mine]
    whole = {target: {k: v for part in parts for k, v in part[target].items()} for target in mine}
    scores = validation.scores(whole)
    f1s = [each["f1"]["value"] for each in scores.values()]
    return {"eval_validation": scores, "eval_f1": math.nan if any(map(math.isnan, f1s)) else sum(f1s) / len(f1s)}


def _evaluation_line(entry: Mapping[str, Any]) -> str:
    parts = [f"validation at step {entry['step']}"]
    if "eval_loss" in entry:
        parts.append(f"loss {entry['eval_loss']:.4f}")
    for target, each in entry["eval_validation"].items():
        said = ", ".join(f"{name.replace('_', ' ')} {_estimate(each[name])}" for name in ("parse_rate", "accuracy", "f1"))
        parts.append(f"{target}: {said} (n {each['parse_rate']['n']})")
    return " · ".join(parts)


def _estimate(found: Mapping[str, float]) -> str:
    return f"{number(found['value'])} [{number(found['low'])}, {number(found['high'])}]"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
