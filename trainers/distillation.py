"""``guardeval train distill``: a student from what a teacher says, and where it can be seen, how surely. Extra: ``train``.

Sequence level after Kim & Rush (2016), arXiv:1606.07947: the student learns the teacher's answers. With logits, the
generalised divergence of Agarwal et al. (2024), arXiv:2306.13649, on the same answers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from guardeval.contracts import BatchModel, Model
from guardeval.data import Sample, Target
from guardeval.errors import ConfigError
from guardeval.exposure import Exposure
from guardeval.finetuning.base import Base, find_base
from guardeval.finetuning.loading import Placed, load_base, load_tokenizer
from guardeval.finetuning.options import FineTuning
from guardeval.finetuning.outline import RowCount
from guardeval.finetuning.processes import is_main
from guardeval.finetuning.supervised import Supervised
from guardeval.finetuning.teacher import TaughtFile, questions_of, teacher_traces
from guardeval.finetuning.token_rows import tokens_differ
from guardeval.finetuning.tuning import Setting, tune
from guardeval.model_folder import exposure_of, notices_of, parent_of
from guardeval.models import MODEL_FILE, ModelSpec, build_model
from guardeval.registry import Registry
from guardeval.training_rows import Split, TrainingFile

__all__ = ["Distillation"]


@dataclass(frozen=True)
class Distillation(Supervised):
    __doc__ = f"""A student of a teacher's answers.

    ``teacher``: a model as ``--model`` names it (a model folder, ``hf/NAME``, ``openai/NAME`` …), with its options in
    ``teacher_args``; none where the file of traces is all there is of it. ``answers=auto``: the teacher's own, where one is
    named, asked once through the cache; ``given``: those of the file. ``keep=right`` learns no answer that contradicts gold.
    ``logits=auto`` learns the teacher's distributions, too, where it runs here and has the student's tokenizer; the loss is
    ``(1 - logits_weight) * NLL + logits_weight * JSD_beta``. A student from ``scratch`` takes the teacher's tokenizer.
    ``target`` and ``held_out`` (share for validation) are for rows of a task.

    {FineTuning.__doc__}"""

    teacher: str | None = None
    teacher_args: Mapping[str, Any] = field(default_factory=dict)
    answers: Literal["auto", "given", "own"] = "auto"
    keep: Literal["right", "parsed"] = "right"
    logits: Literal["auto", "true", "false"] = "auto"
    logits_weight: float = 0.5
    beta: float = 0.5
    temperature: float = 1.0
    target: Target = Target.PROMPT
    held_out: float = 0.2
    cache: str | None = None

    takes: ClassVar[tuple[str, ...]] = ("traces", "samples")
    kind: ClassVar[str] = "distilled"
    registered: ClassVar[str] = "distill"
    free: ClassVar[frozenset[str]] = FineTuning.free | {"cache"}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("logits_weight", "beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: a share from 0 to 1 is wanted")
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"temperature={self.temperature}: a number above 0 is wanted")
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out={self.held_out}: a share from 0 to below 1 is wanted")
        if self.teacher is None and (self.logits == "true" or self.answers == "own"):
            wanted = "logits=true" if self.logits == "true" else "answers=own"
            raise ConfigError(f"{wanted}: name the model with --teacher")

    def train(self, rows: TrainingFile | Iterable[Sample], out: Path) -> Path:
        """The model folder; goes on where a killed training of the same command was, without asking the teacher again."""
        return tune(self, self._traces(rows, out), out)

    def _traces(self, rows: TrainingFile | Iterable[Sample], out: Path) -> TrainingFile:
        if not self._asks and isinstance(rows, TrainingFile):
            return rows
        if not self._asks:
            raise ConfigError("these rows hold no reasoning: name the model that is to judge them with --teacher")
        from guardeval.broker import default_cache_path

        questions = questions_of(rows, self.target, self.held_out, self.seed)
        cache = default_cache_path() if self.cache is None else Path(self.cache).expanduser()
        asked = (self._asked(), self._teacher_name, self.solver_object, self.policy_set, self.keep, out, cache)
        traces, apart = teacher_traces(questions, *asked)
        if is_main():
            why = "".join(f", {n} {reason}" for reason, n in apart.items())
            print(f"note: {self._teacher_name} answered {len(questions)}: {len(traces)} to learn from{why}", file=sys.stderr)
        origin = rows.path.name if isinstance(rows, TrainingFile) and rows.path else None
        return TaughtFile(traces, questions, origin)

    def validation_cases(self, rows: TrainingFile) -> list[tuple[Target, Sample]]:
        return rows.cases if isinstance(rows, TaughtFile) else super().validation_cases(rows)

    def plan(self, rows: TrainingFile | Iterable[Sample] | RowCount) -> Mapping[str, Any]:
        """What ``--dry_run`` prints; answers that are not there yet are taken to be all usable."""
        if isinstance(rows, RowCount) or (isinstance(rows, TrainingFile) and not self._asks):
            return super().plan(rows)
        questions = questions_of(rows, self.target, self.held_out, self.seed)
        train = sum(q.split is Split.TRAIN for q in questions)
        asked = f"{self._teacher_name}: {len(questions):,} questions, {train:,} of them to learn from"
        return {"teacher": asked, **super().plan(RowCount(train))}

    @property
    def _asks(self) -> bool:
        return self.teacher is not None and self.answers != "given"

    def scratch_tokenizer(self) -> Any:
        """The teacher's, where it has one at hand: then its distributions can be learned."""
        if self.teacher is None or self.logits == "false" or not (self._folder or self.teacher.startswith("hf/")):
            return None
        return load_tokenizer(find_base(self._of_teacher), self._of_teacher)

    def trainer(self, setting: Setting) -> Any:
        from guardeval.finetuning.sft_trainer import sft_trainer

        teacher = self._base_with_logits(setting.tokenizer)
        if teacher is None:
            return sft_trainer(setting)
        from guardeval.finetuning.logits_trainer import Divergence, logits_trainer

        placed = Placed(setting.placed.device, setting.placed.dtype, False)
        model = load_base(teacher, self._of_teacher, placed)
        return logits_trainer(setting, model, Divergence(self.logits_weight, self.beta, self.temperature))

    # ---- the teacher ----

    def _asked(self) -> Model | BatchModel:
        name = str(self.teacher)
        own = {} if self._folder is None or self.device is None else {"device": self.device}
        return build_model(ModelSpec(name, {**own, **self.teacher_args}), Registry())

    @property
    def _folder(self) -> Path | None:
        """The teacher's model folder, where it has one."""
        folder = None if self.teacher is None else Path(self.teacher).expanduser()
        return folder if folder is not None and (folder / MODEL_FILE).is_file() else None

    @property
    def _teacher_name(self) -> str:
        """Without a path."""
        return self._folder.resolve().name if self._folder else str(self.teacher)

    @property
    def _of_teacher(self) -> FineTuning:
        """How the teacher is loaded to give its logits."""
        name = str(self.teacher).removeprefix("hf/")
        return FineTuning(model=name, dtype=self.dtype, device=self.device, trust_remote_code=self.trust_remote_code)

    def _base_with_logits(self, tokenizer: Any) -> Base | None:
        """The teacher whose distributions are learned, too; None where it is not. Raises :class:`ConfigError` if it must be."""
        if self.teacher is None or self.logits == "false":
            return None
        why = None
        if self._folder is None and not self.teacher.startswith("hf/"):
            why = f"{self.teacher} is no transformers model in this process, so its distributions are not known"
        else:
            base = find_base(self._of_teacher)
            why = tokens_differ(tokenizer, load_tokenizer(base, self._of_teacher))
        if why is None:
            return base
        if self.logits == "true":
            raise ConfigError(f"logits=true: {why}; leave it out, and the student learns the teacher's answers alone")
        if is_main():
            print(f"note: learned without the teacher's logits: {why}", file=sys.stderr)
        return None

    # ---- what the card says ----

    def exposure(self, rows: TrainingFile) -> Exposure:
        """The rows, and all that the teacher has seen."""
        seen = None if self._folder is None else exposure_of(self._folder)
        return rows.exposure if seen is None else rows.exposure.joined(seen)

    def notices(self, rows: TrainingFile) -> tuple[str, ...]:
        if self.teacher is None:
            return ()
        if self._folder is None:
            return (f"what the teacher {self.teacher} has seen in training is not known",)
        inherited = tuple(f"of its teacher: {notice}" for notice in notices_of(self._folder))
        unknown = exposure_of(self._folder) is None
        return (*inherited, *([f"what the teacher {self._teacher_name} has seen is not known"] if unknown else []))

    def facts(self) -> dict[str, Any]:
        if self.teacher is None:
            return {"distilled": "answers of the file"}
        about = parent_of(self._folder) if self._folder else {"name": self.teacher}
        learned = "answers" if self.logits == "false" else f"answers; logits={self.logits}"
        return {"teacher": about, "distilled": learned}

    def shown(self) -> dict[str, Any]:
        return {} if self.teacher is None else {"teacher": self._teacher_name}
