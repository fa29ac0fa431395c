"""A training from start to end: ``tune(method, rows, out)`` makes the model folder, or goes on making it.

A method is a trainer plugin: options (:class:`~guardeval.finetuning.options.FineTuning`), the rows it can use as tokens,
and the trl trainer that they are given to.
"""

from __future__ import annotations

import logging
import sys
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from guardeval.data import Sample, Target
from guardeval.errors import DataError, needs_extra
from guardeval.exposure import Exposure
from guardeval.finetuning.base import Base, find_base
from guardeval.finetuning.history import best_entry
from guardeval.finetuning.loading import Placed, load_base, load_tokenizer, lora_config, place
from guardeval.finetuning.memory import advised
from guardeval.finetuning.options import FineTuning
from guardeval.finetuning.processes import is_main
from guardeval.finetuning.scratch import NOTICE, make_scratch
from guardeval.finetuning.token_rows import LeftOut, Tokens
from guardeval.finetuning.validating import Validation, validation_samples
from guardeval.finetuning.workspace import Workspace
from guardeval.registry import configuration
from guardeval.training_rows import Split, TrainingFile

if TYPE_CHECKING:
    from guardeval.finetuning.watching import Watch

__all__ = ["Encoded", "Method", "Setting", "arguments", "train_in", "tune"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows ready for a trl trainer: columns of its own, among them ``row`` (their number); ``names`` by number.

    ``longest``: tokens of the longest row.
    """

    train: Sequence[Mapping[str, Any]]
    names: Sequence[str]
    longest: int
    validation: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """All that a method needs to build its trl trainer."""

    options: FineTuning
    base: Base
    placed: Placed
    work: Workspace
    model: Any
    tokenizer: Any
    rows: Encoded
    watch: Watch
    peft: Any  # settings of a new adapter; None where there is one already, or everything is trained


@dataclass(frozen=True)
class Method(FineTuning):
    """A trainer of language models: inherit, add options, and say the four things below."""

    kind: ClassVar[str] = ""  # of the model card
    registered: ClassVar[str] = ""  # the trainer's name on the command line

    @abstractmethod
    def texts(self, rows: TrainingFile) -> Iterator[str]:
        """The texts that the rows make, for the tokenizer of a model from nothing."""

    @abstractmethod
    def encoded(self, rows: TrainingFile, tokens: Tokens, left_out: LeftOut) -> Encoded:
        """Rows as tokens; what cannot be trained on is added to ``left_out``."""

    @abstractmethod
    def trainer(self, setting: Setting) -> Any:
        """The trl trainer, its class behind :class:`~guardeval.finetuning.watching.Watched`."""

    def validation_cases(self, rows: TrainingFile) -> list[tuple[Target, Sample]]:
        """What is judged after each epoch: gold, else what the reasoning ends in."""
        return [(row.target, _labelled(row)) for row in rows.of(Split.VALIDATION)]

    def scratch_tokenizer(self) -> Any:
        """The tokenizer of a model from nothing; None: one learned from the rows' texts."""
        return None

    def exposure(self, rows: TrainingFile) -> Exposure:
        """What the rows make the model see, without what its base has seen."""
        return rows.exposure

    def notices(self, rows: TrainingFile) -> tuple[str, ...]:
        """What every table must say of the model, beside what holds of all."""
        return ()

    def facts(self) -> dict[str, Any]:
        """More for the card's parameters."""
        return {}

    def shown(self) -> dict[str, Any]:
        """Options as the card shows them, where their values are paths of this machine."""
        return {}


@dataclass(slots=True)
class Outcome:
    """What came of a training, for card and report."""

    history: list[dict[str, Any]]
    last_step: int
    best_step: int | None
    stopped: str | None
    left_out: LeftOut = field(default_factory=LeftOut)


def tune(method: Method, rows: TrainingFile, out: Path) -> Path:
    """The model folder. Raises :class:`ConfigError`, :class:`DataError` and ``OutOfMemory`` with the remedy."""
    with needs_extra("train"), quieted():
        import accelerate
        import trl  # noqa: F401  named here, so that a missing package is told as such
    if not rows.of(Split.TRAIN):
        raise DataError(f"{rows.path or 'the rows'}: none of {len(rows)} is marked as training row (`split: train`)")
    _ = method.policy_set  # refuses what is none before anything is made
    work, placed = Workspace(out), place(method)
    accelerate.PartialState(cpu=placed.on_cpu)
    with quieted(), work.alone() if is_main() else nullcontext():
        return train_in(method, rows, work, placed)


def train_in(method: Method, rows: TrainingFile, work: Workspace, placed: Placed) -> Path:
    """As :func:`tune`, on the device and in the precision named."""
    import accelerate

    base = None if method.scratch else find_base(method)
    with accelerate.PartialState().main_process_first():
        finished = work.open(_identity(method, rows, base), method.fresh and is_main())
        if not finished and base is None:
            base = _from_scratch(method, rows, work)
    if finished or base is None:
        _note(f"{work.out}: this training is finished; --fresh true does it again")
        return work.out
    tokenizer = load_tokenizer(base, method)
    left_out = LeftOut()
    encoded = method.encoded(rows, Tokens(tokenizer), left_out)
    for line in left_out.lines():
        _note(line)
    with advised(method, placed, encoded.longest, work):
        outcome = _trained(method, rows, work, placed, base, tokenizer, encoded)
    outcome.left_out = left_out
    if is_main():
        from guardeval.finetuning.results import publish

        publish(method, rows, work, placed, base, tokenizer, encoded, outcome)
    accelerate.PartialState().wait_for_everyone()
    return work.out


def _trained(
    method: Method, rows: TrainingFile, work: Workspace, placed: Placed, base: Base, tokenizer: Any, encoded: Encoded
) -> Outcome:
    from guardeval.finetuning.watching import Watch

    watch = Watch(work, encoded.names, tokenizer, _validation(method, rows), method.patience)
    if watch.validation is None:
        _note("no labelled validation row: no early stop, and the last step is the result")
    model = load_base(base, method, placed)
    new = not method.full and not base.adapter and not method.scratch
    setting = Setting(method, base, placed, work, model, tokenizer, encoded, watch, lora_config(method) if new else None)
    trainer = method.trainer(setting)
    _prepare(trainer, watch, method)
    checkpoint = work.last_checkpoint()
    state = None if checkpoint is None else work.trainer_state(checkpoint)
    if state is None or not watch.is_over(state["log_history"]):
        _begin(trainer, watch, checkpoint)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        state = {"log_history": trainer.state.log_history, "global_step": trainer.state.global_step}
    best = best_entry(state["log_history"])
    if best is None and is_main():
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(work.folder / "last")
    return Outcome(state["log_history"], state["global_step"], None if best is None else best["step"], watch.stopped)


def _prepare(trainer: Any, watch: Watch, method: Method) -> None:
    from transformers import PrinterCallback, ProgressCallback

    trainer.watch = watch
    trainer.add_callback(watch)
    for usual in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(usual)


def _begin(trainer: Any, watch: Watch, checkpoint: Path | None) -> None:
    """Say where the training starts; before the first step, see how good the base is."""
    import accelerate

    if is_main():
        watch.work.forget_after(0 if checkpoint is None else _step(checkpoint))
        if checkpoint is not None:
            watch.work.allow_batch(checkpoint, trainer.args.train_batch_size)
            _note(f"going on after step {_step(checkpoint)}")
    accelerate.PartialState().wait_for_everyone()
    if checkpoint is None and trainer.eval_dataset is not None and watch.validation is not None:
        trainer.evaluate()
        watch.before = trainer.state.log_history[-1]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _validation(method: Method, rows: TrainingFile) -> Validation | None:
    samples = validation_samples(method.validation_cases(rows), method.validation_limit, method.seed)
    if not samples:
        return None
    return Validation(samples, method.solver_object, method.policy_set, method.validation_batch)


def _labelled(row: Any) -> Sample:
    return next(iter(TrainingFile([row]).samples()))


def _identity(method: Method, rows: TrainingFile, base: Base | None) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    options = {k: v for k, v in configuration(method).items() if k not in method.free and k not in ("model", "policies")}
    options |= {k: v for k, v in method.shown().items() if k in options}
    return {
        "trainer": method.registered,
        "method": method.facts(),
        "options": options,
        "base": {"model": method.model} if base is None else base.identity,
        "policies": {p.name: p.text for p in method.policy_set.policies},
        "data": {"rows": len(rows), "sha256": rows.digest},
    }


def _from_scratch(method: Method, rows: TrainingFile, work: Workspace) -> Base:
    from guardeval.causal.source import Source

    width, depth = method.scratch or (0, 0)
    folder = work.folder / "base"
    if not (folder / "tokenizer_config.json").is_file():
        context, own = max(4096, method.max_length), method.scratch_tokenizer()
        make_scratch(folder, method.texts(rows), width, depth, context, method.seed, own)
    return Base(Source(str(folder)), f"scratch={width}x{depth}", str(folder), notices=(NOTICE,), scratch=True)


def arguments(setting: Setting, config: type, **own: Any) -> Any:
    """The trl configuration of a training, ``own`` settings of the method added. Raises ``TypeError`` for unknown ones."""
    options, placed, batching = setting.options, setting.placed, setting.options.batching
    judged = bool(setting.rows.validation)
    every = "steps" if options.save_steps else "epoch"
    return config(
        output_dir=str(setting.work.folder),
        per_device_train_batch_size=batching.per_device,
        per_device_eval_batch_size=batching.per_device,
        gradient_accumulation_steps=batching.accumulation,
        num_train_epochs=options.epochs,
        max_steps=options.max_steps or -1,
        learning_rate=options.lr,
        lr_scheduler_type=options.scheduler,
        warmup_steps=options.warmup_steps,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        gradient_checkpointing=options.gradient_checkpointing,
        bf16=placed.dtype == "bfloat16",
        fp16=placed.dtype == "float16",
        use_cpu=placed.on_cpu,
        seed=options.seed,
        data_seed=options.seed,
        save_strategy=every,
        save_steps=options.save_steps or 500,
        save_total_limit=2,
        eval_strategy="epoch" if judged else "no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=not placed.on_cpu,
        **own,
    )


def _note(text: str) -> None:
    if is_main():
        print(f"note: {text}", file=sys.stderr, flush=True)


@contextmanager
def quieted() -> Iterator[None]:
    """The libraries' small talk off, their warnings on."""
    chatty = logging.getLogger("bitsandbytes.backends.cpu.ops")  # names kernels that a CPU does without
    before = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="(trl|peft|transformers|accelerate|torch).*")
            warnings.filterwarnings("ignore", message="mtime may not be reliable")  # checkpoints are numbered
            warnings.filterwarnings("ignore", message="Could not find a config file in")  # base is a folder
            yield
    finally:
        chatty.setLevel(before)
