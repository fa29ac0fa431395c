"""The embedded guard: small linear models that ship with the package, need numpy only, and answer in microseconds.

They read words, not meaning, and were trained on some thousand prompts: real, modest numbers, everywhere and offline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from guardeval.contracts import Completion, Judgement, Request, Traits
from guardeval.data import Target
from guardeval.errors import ConfigError, ModelError, ModelUnusable, did_you_mean

if TYPE_CHECKING:
    from guardeval.linear_guard import LinearGuard

__all__ = ["SHIPPED", "Embedded"]

SHIPPED = ("word", "char", "nb")
UNTRAINED = "untrained for this target"
_ANSWERS = 1  # raised when the same weights would answer in other words
_TARGETS = frozenset({Target.PROMPT, Target.RESPONSE})
_NOTICES = (
    "a small linear guard that weighs words, not meaning; the policies it names are weak: they come from a lexicon and from "
    "training rows weakly labelled by it",
)


@dataclass(frozen=True)
class Embedded:
    """``word``, ``char`` or ``nb`` as shipped, or a folder that ``guardeval train linear`` wrote.

    Judges prompts; a response is judged by its own text, which the guard was not trained for, and the verdict says so.
    """

    model: str = "word"

    shipped: ClassVar[tuple[str, ...]] = SHIPPED
    path_options: ClassVar[tuple[str, ...]] = ("model",)
    traits: ClassVar[Traits] = Traits(classifies=True, literal=True, raw=True, batch=256, targets=_TARGETS, notices=_NOTICES)

    @cached_property
    def _path(self) -> Path:
        from guardeval.linear_guard import WEIGHTS_FILE

        if self.model in SHIPPED:
            return Path(str(files("guardeval.plugins"))) / "embedded_weights" / self.model / WEIGHTS_FILE
        path = Path(self.model).expanduser() / WEIGHTS_FILE
        if not path.is_file():
            hint = did_you_mean(self.model, SHIPPED)
            raise ModelUnusable(
                f"embedded/{self.model}: neither a shipped guard nor a folder with {WEIGHTS_FILE} in it{hint}. "
                f"`guardeval train linear --data … --out DIR` writes one"
            )
        return path

    @property
    def model_folder(self) -> Path:
        """Whose card says what the guard has seen."""
        return self._path.parent

    @property
    def files(self) -> tuple[Path, ...]:
        """The weights."""
        return (self._path,)

    @cached_property
    def _guard(self) -> LinearGuard:
        from guardeval.linear_guard import LinearGuard

        try:
            return LinearGuard.load(self._path)
        except ConfigError as e:
            raise ModelUnusable(str(e)) from e

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The weights themselves decide; a copy of them under another name is the same guard."""
        try:
            digest = hashlib.sha256(self._path.read_bytes()).hexdigest()
        except OSError as e:
            raise ModelUnusable(f"{self._path}: cannot be read: {e.strerror or e}; install guardeval again") from e
        return {"backend": "embedded", "weights": digest, "answers": _ANSWERS}

    async def start(self) -> None:
        """Raises :class:`ModelUnusable` when there are no sound weights."""
        _ = self._guard

    def generate_batch(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion each, in order, with probability, policies and evidence; the same whatever else is in the batch.

        Raises :class:`ModelUnusable` for a target it cannot judge, :class:`ModelError` for a sample without the text to judge.
        """
        from guardeval.ngrams import chunks

        texts = [_text(request) for request in requests]
        out: list[Completion] = []
        for chunk in chunks(texts):
            out += self._judged(chunk, requests[len(out) : len(out) + len(chunk)])
        return out

    def _judged(self, texts: Sequence[str], requests: Sequence[Request]) -> list[Completion]:
        import numpy as np

        from guardeval.linear_guard import probability
        from guardeval.plugins.embedded_evidence import evidence
        from guardeval.verdict_block import policy_names

        reading = self._guard.read(texts)
        chance = probability(reading.log_odds)
        flagged = np.flatnonzero(chance >= 0.5)
        policies: list[frozenset[str]] = [frozenset()] * len(texts)
        if len(flagged):
            for i, named in zip(flagged.tolist(), self._guard.policies.named(reading.words.only(flagged)), strict=True):
                policies[i] = named & policy_names(requests[i].case.policies)
        words = evidence(reading, (chance >= 0.5).tolist(), policies, [request.steps for request in requests])
        return [
            Completion(
                text, judgement=Judgement(p, named, None, (UNTRAINED,) if request.case.target is not Target.PROMPT else ())
            )
            for text, p, named, request in zip(words, chance.tolist(), policies, requests, strict=True)
        ]


def _text(request: Request) -> str:
    sample, target = request.case.sample, request.case.target
    if target is Target.PROMPT:
        return sample.prompt
    if target not in _TARGETS:
        raise ModelUnusable(
            f"embedded: was not trained to tell a {target}; it judges prompt_harmfulness, and response_harmfulness by the "
            f"response's own text. Give a model that generates: --model ollama/NAME, openai_compatible/NAME or hf/NAME"
        )
    if sample.response is None:
        raise ModelError(f"embedded: sample {sample.id!r} has no response to judge")
    return sample.response
