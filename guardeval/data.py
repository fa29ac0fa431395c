"""The values that travel: what is judged, what was said, what came of it. Frozen, slotted, imported by everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from guardeval.values import value

__all__ = ["Judged", "Outcome", "Sample", "Step", "Target", "Usage", "Verdict", "Vote", "Voters"]


class Target(StrEnum):
    """The question asked about a sample."""

    PROMPT = "prompt_harmfulness"
    RESPONSE = "response_harmfulness"
    REFUSAL = "refusal"

    @property
    def positive(self) -> str:
        """The word for True: ``harmful``, or ``refusal``."""
        return "refusal" if self is Target.REFUSAL else "harmful"

    @property
    def negative(self) -> str:
        """The word for False: ``unharmful``, or ``compliance``."""
        return "compliance" if self is Target.REFUSAL else "unharmful"

    def word(self, label: bool) -> str:
        return self.positive if label else self.negative


class Outcome(StrEnum):
    """What became of asking. Every member is truthy: compare with ``is``."""

    PARSED = "parsed"  # the guard answered and the answer was understood
    UNPARSEABLE = "unparseable"  # the guard answered, no label could be read
    TRUNCATED = "truncated"  # the answer was cut off before a verdict: token limit, unclosed reasoning
    FAILED = "failed"  # the guard was never heard: time-out, HTTP error


_NONE: frozenset[str] = frozenset()


@value
class Sample:
    """One row to judge.

    ``labels`` holds gold answers, True = positive class; an unlabelled target is absent.
    ``policies`` are the gold policies violated; ``known_policies`` those that the row's labels settle either
    way (a flag that is missing upstream is unknown, not negative), always a superset of ``policies``.
    """

    id: str
    index: int  # row number in its source, from 0
    prompt: str
    response: str | None = None
    labels: Mapping[Target, bool] = field(default_factory=dict)
    policies: frozenset[str] = _NONE
    known_policies: frozenset[str] = _NONE
    category: str | None = None  # the source's own category, for slices
    doc: Mapping[str, Any] = field(default_factory=dict)  # the row as it stands upstream
    history: tuple[tuple[str, str], ...] = ()  # (role, content) of the turns before ``prompt``: user, assistant or system


@value
class Step:
    """One named part of the reasoning, in the guard's words."""

    name: str
    text: str


@value
class Usage:
    """What one sample took, over all its requests. Sums of unknown parts are None."""

    requests: int = 0
    cached: int = 0
    latency: float | None = None  # seconds, summed over requests
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None  # US dollars


class Voters(StrEnum):
    """Who cast the votes of a verdict. Only models and draws answer one question side by side, so only they can disagree."""

    MODELS = "models"  # members of an ensemble
    DRAWS = "draws"  # answers of one model to one question
    STAGES = "stages"  # of a cascade, as far as it went
    POLICIES = "policies"  # one question a policy


@value
class Vote:
    """What one member of an ensemble, or one draw, said; ``label``, ``score``, ``policies``, ``steps``, ``raw`` and ``codes``
    as in :class:`Verdict`. ``weight`` is what the vote counted for, ``usage`` what the member took where it was measured.
    """

    member: str
    outcome: Outcome
    label: bool | None = None
    score: float | None = None
    policies: frozenset[str] = _NONE
    weight: float = 1.0
    steps: tuple[Step, ...] = ()
    raw: str = ""
    usage: Usage | None = None
    codes: tuple[str, ...] = ()


@value
class Verdict:
    """What a guard said about one sample for one target.

    ``score`` is P(label is True) in [0, 1]; None where no probability was observed. ``score_source`` says where it
    came from: ``tokens`` (token probabilities), ``votes`` (share of votes), ``classifier``, or None.
    ``readings`` holds other ways to read the same words (``{"paper": True}``), None where that way finds no label.
    """

    target: Target
    outcome: Outcome
    label: bool | None = None  # True = positive class; None unless PARSED
    score: float | None = None
    policies: frozenset[str] = _NONE  # names of the policies violated
    steps: tuple[Step, ...] = ()
    votes: tuple[Vote, ...] = ()
    raw: str = ""  # the guard's own words, or the error that kept us from hearing them
    score_source: str | None = None
    notes: tuple[str, ...] = ()  # e.g. "untrained for this target", "answer repeats the sample"
    readings: Mapping[str, bool | None] | None = None
    voters: Voters | None = None  # who cast ``votes``
    mean_score: float | None = None  # mean of the heard voters' scores, where all of them have one
    codes: tuple[str, ...] = ()  # categories in the guard's own taxonomy, as it named them: "llama_guard_3/1:S1"

    def __post_init__(self) -> None:
        if (self.label is None) == (self.outcome is Outcome.PARSED):
            raise ValueError(f"a verdict has a label exactly when it is parsed, not {self.outcome} with {self.label!r}")
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score is a probability in [0, 1], not {self.score!r}")
        if self.votes and self.voters is None:
            raise ValueError("a verdict with votes says who cast them: voters=Voters.MODELS, …")


@value
class Judged:
    """A sample with its verdict and what it took. ``seen``: a model that judged it was trained on its prompt."""

    sample: Sample
    verdict: Verdict
    usage: Usage = Usage()
    seen: bool = False
