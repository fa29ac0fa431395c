"""``guardeval train hs_dpo``: hard samples → a guard that prefers its right answers (HS-DPO), by trl's DPO. Extra: ``train``.

Liu et al. (2025), GuardReasoner, arXiv:2501.18492, section 3.3: the model answers each sample several times, and where right
and wrong answers mix, the right one is preferred to the wrong one, weighted by how hard the sample is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from guardeval.data import Sample, Target
from guardeval.errors import ConfigError, DataError
from guardeval.finetuning.dpo_draws import Drawing
from guardeval.finetuning.outline import RowCount, Training
from guardeval.finetuning.plan import plan
from guardeval.finetuning.tuning import Encoded, Method, Setting, tune
from guardeval.models import MODEL_FILE, ModelSpec, build_model
from guardeval.registry import Registry
from guardeval.training_rows import Split, TrainingFile

if TYPE_CHECKING:
    from guardeval.contracts import BatchModel, Model
    from guardeval.finetuning.token_rows import LeftOut, Tokens

__all__ = ["HSDPO"]


@dataclass(frozen=True)
class HSDPO(Method):
    __doc__ = (Method.__doc__ or "") + (
        """
    Pairs of a file are trained on as they are. Of traces and samples, ``k`` answers are drawn at ``temperature`` and ``top_p``;
    of those with right and wrong answers one of each is taken (``pair``: the longest, as the paper's code, or random, as its
    text) with weight α in [1 − ``gamma``, 1 + ``gamma``]. ``target``: what plain samples are judged for; ``held_out`` of them
    validate. The loss is mean(α · −log σ(``beta`` · Δ)) plus ``sft_weight`` times the mean negative log likelihood a token of
    the right answers. ``precompute`` finds the reference's log-probabilities once, beforehand. ``cache``: file of answers
    already drawn (the one that runs use)."""
    )

    takes: ClassVar[tuple[str, ...]] = ("pairs", "traces", "samples")
    kind: ClassVar[str] = "hs_dpo"
    registered: ClassVar[str] = "hs_dpo"
    free: ClassVar[frozenset[str]] = Method.free | {"precompute", "cache", "draw_batch"}

    epochs: float = 2.0
    lr: float = 5e-6
    beta: float = 0.01
    sft_weight: float = 2.0
    precompute: bool = False
    k: int = 4
    temperature: float = 0.7
    top_p: float = 0.95
    pair: Literal["longest", "random"] = "longest"
    gamma: float = 0.2
    target: Target = Target.PROMPT
    held_out: float = 0.1
    draw_batch: int = 32
    cache: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.beta < float("inf"):
            raise ConfigError(f"beta={self.beta}: a number above 0 is wanted, e.g. 0.01")
        if not 0 <= self.sft_weight < float("inf"):
            raise ConfigError(f"sft_weight={self.sft_weight}: 0 or more is wanted")
        if self.k < 2:
            raise ConfigError(f"k={self.k}: at least 2 draws are wanted, for one alone is never mixed")
        if not 0 <= self.gamma < 1:
            raise ConfigError(f"gamma={self.gamma}: a number from 0 to below 1 is wanted")
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out={self.held_out}: a share from 0 to below 1 is wanted")
        _ = self.drawing.redraw  # refuses impossible sampling

    @property
    def drawing(self) -> Drawing:
        return Drawing(self.k, self.temperature, self.top_p, self.seed, self.pair, self.gamma)

    def train(self, rows: Iterable[Sample] | TrainingFile, out: Path) -> Path:
        """The model folder; goes on where a killed training of the same command was, without drawing again."""
        if isinstance(rows, TrainingFile) and rows.kind == "pairs":
            return tune(self, rows, out)
        return tune(self, self._drawn(rows, out), out)

    def plan(self, rows: Iterable[Sample] | TrainingFile | RowCount) -> Mapping[str, Any]:
        """What ``--dry_run`` prints."""
        about = Training(sequences=2, reference=self.full and not self.precompute)
        if isinstance(rows, RowCount) or (isinstance(rows, TrainingFile) and rows.kind == "pairs"):
            return plan(self, rows, about)
        from guardeval.finetuning.dpo_rows import questions_of

        samples = len(questions_of(rows, self.target, self.held_out, self.seed).train)
        draws = {"draws": f"{self.k * samples:,}: {self.k} of each of {samples:,} samples; the mixed ones make the pairs"}
        return {**draws, **plan(self, RowCount(samples), about)}

    def texts(self, rows: TrainingFile) -> Iterator[str]:
        from guardeval.contracts import Case
        from guardeval.training_text import request_of

        for pair in rows.of(Split.TRAIN):
            prompt = request_of(self.solver_object, Case(pair.sample, pair.target, self.policy_set)).prompt.as_text()
            yield from (f"{prompt}\n{pair.chosen}", pair.rejected)

    def encoded(self, rows: TrainingFile, tokens: Tokens, left_out: LeftOut) -> Encoded:
        from guardeval.finetuning.dpo_rows import pair_rows
        from guardeval.finetuning.token_rows import LeftOut

        asked = (tokens, self.solver_object, self.policy_set, self.max_length)
        train = list(pair_rows(rows.of(Split.TRAIN), *asked, left_out))
        if not train:
            raise DataError(f"no pair to train on: {'; '.join(left_out.lines())}")
        held = pair_rows([r for r in rows.of(Split.VALIDATION) if hasattr(r, "chosen")], *asked, LeftOut())
        numbered = [{**row, "row": i} for i, (_, row) in enumerate(train)]
        longest = max(len(r["prompt_ids"]) + max(len(r["chosen_ids"]), len(r["rejected_ids"])) for r in numbered)
        return Encoded(numbered, [name for name, _ in train], longest, [{**row, "row": i} for i, (_, row) in enumerate(held)])

    def trainer(self, setting: Setting) -> Any:
        from guardeval.finetuning.dpo_trl import dpo_trainer

        return dpo_trainer(setting, beta=self.beta, sft_weight=self.sft_weight, precompute=self.precompute)

    # ---- drawing ----

    def _drawn(self, rows: Iterable[Sample] | TrainingFile, out: Path) -> TrainingFile:
        from guardeval.broker import default_cache_path
        from guardeval.finetuning.base import find_base
        from guardeval.finetuning.dpo_rows import drawn_pairs, questions_of

        if self.scratch is not None:
            raise ConfigError("--model: a model from nothing has no answers to draw; name one, or give a file of pairs")
        identity = {
            "base": find_base(self).identity,
            "solver": [self.solver, self.solver_options],
            "policies": {p.name: p.text for p in self.policy_set.policies},
        }
        questions = questions_of(rows, self.target, self.held_out, self.seed)
        cache = default_cache_path() if self.cache is None else Path(self.cache).expanduser()
        return drawn_pairs(questions, self.policy_set, self.solver_object, self._asked, self.drawing, identity, out, cache)

    def _asked(self) -> Model | BatchModel:
        """The model in training, as a run asks it."""
        folder = Path(self.model).expanduser()
        own: dict[str, Any] = {
            "batch": self.draw_batch,
            "device": self.device,
            "revision": self.revision,
            "trust_remote_code": self.trust_remote_code,
            **({} if self.dtype == "auto" else {"dtype": self.dtype}),
        }
        name = str(folder) if (folder / MODEL_FILE).is_file() else f"hf/{folder if folder.is_dir() else self.model}"
        return build_model(ModelSpec(name, own), Registry())
