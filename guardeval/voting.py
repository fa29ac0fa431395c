"""Many verdicts on one sample made one: the vote rules, as pure functions of what the members said.

A live ensemble and the combination of finished runs both end here, so they cannot differ. A missing verdict is no vote.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from guardeval.contracts import Asker, Case
from guardeval.data import Outcome, Sample, Target, Usage, Verdict, Vote, Voters
from guardeval.values import value

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = [
    "TIE",
    "VOTES",
    "Ballot",
    "Combiner",
    "Decision",
    "Rule",
    "Said",
    "Ties",
    "Voting",
    "decide",
    "missing",
    "united",
    "votes_of",
]

Rule = Literal["majority", "mean", "weighted", "any", "all"]
Ties = Literal["positive", "negative", "abstain"]
VOTES: tuple[Rule, ...] = ("majority", "mean", "weighted", "any", "all")
TIE = "a tie: no verdict"
_LEAST_HEARD = (Outcome.FAILED, Outcome.TRUNCATED, Outcome.UNPARSEABLE)  # which of several missing verdicts is told
_EVEN = 1e-12  # sums of floats this close, as a share of all weights, are equal


@value
class Said:
    """What one member said about a sample, and what it took where that was measured."""

    member: str
    verdict: Verdict
    usage: Usage | None = None


@value
class Ballot:
    """The part of a verdict that a vote looks at: its label, None where there is none, and P(positive) where known."""

    label: bool | None
    score: float | None = None


@value
class Decision:
    """``label`` is None where nobody was heard or a tie abstains; ``share`` in [0, 1] is the positive part of the votes (of
    ``mean``, the mean probability), None where nobody was heard. ``weights``: what each ballot counted, 0 for a missing one.
    """

    label: bool | None
    share: float | None
    weights: tuple[float, ...]
    tied: bool = False


@runtime_checkable
class Combiner(Protocol):
    """A solver whose verdict follows from what its members say: asked live, or made of finished runs without asking.

    It is given all models of a run together. ``combined`` returns None for "ask the next member", never when ``last``:
    nobody is left to ask. ``at_once``: whether it asks all members whatever they say, so that finished runs give it all.
    """

    at_once: bool

    async def solve(self, case: Case, model: Asker) -> Verdict: ...

    def combined(self, sample: Sample, target: Target, said: Sequence[Said], last: bool = True) -> Verdict | None: ...

    def check(self, members: Sequence[str]) -> None:
        """Raise :class:`ConfigError` where these members cannot be combined so; called before anything is asked."""

    def notices(self, judged: Judgements) -> Sequence[str]:
        """What must be known before believing the numbers of a task."""


def probabilities(ballots: Sequence[Ballot]) -> list[float]:
    """P(positive) of the heard ballots; where one of them has none, all count as 0 or 1 by their labels."""
    heard = [b for b in ballots if b.label is not None]
    if all(b.score is not None for b in heard):
        return [b.score for b in heard if b.score is not None]
    return [float(bool(b.label)) for b in heard]


def decide(
    ballots: Sequence[Ballot], vote: Rule = "majority", ties: Ties = "positive", weights: Sequence[float] | None = None
) -> Decision:
    """The vote of the heard ballots.

    ``majority``: more than half. ``mean``: the mean probability is above 1/2. ``weighted``: the labels, each weighing
    |2p − 1| of its own probability, or ``weights`` (one a ballot). ``any``: one positive vote. ``all``: no negative one.
    """
    heard = [i for i, b in enumerate(ballots) if b.label is not None]
    if not heard:
        return Decision(None, None, (0.0,) * len(ballots))
    said = [bool(ballots[i].label) for i in heard]
    chances = probabilities(ballots)
    weigh = [1.0] * len(heard)
    if vote == "weighted":
        weigh = [abs(2 * p - 1) for p in chances] if weights is None else [weights[i] for i in heard]
    share = math.fsum(chances) / len(heard) if vote == "mean" else _share(said, weigh)
    given = dict(zip(heard, weigh, strict=True))
    counted = tuple(given.get(i, 0.0) for i in range(len(ballots)))
    if vote in ("any", "all"):
        return Decision(any(said) if vote == "any" else all(said), share, counted)
    if abs(share - 0.5) > _EVEN:
        return Decision(share > 0.5, share, counted)
    return Decision(None if ties == "abstain" else ties == "positive", share, counted, tied=True)


def _share(said: Sequence[bool], weights: Sequence[float]) -> float:
    """The positive part of the weight; one half where nothing weighs anything."""
    total = math.fsum(weights)
    return math.fsum(w for s, w in zip(said, weights, strict=True) if s) / total if total > 0 else 0.5


@dataclass(frozen=True, slots=True)
class Voting:
    """How votes become a verdict. ``weights`` by member, only for ``weighted``; None: by each sample's own probabilities."""

    vote: Rule = "majority"
    ties: Ties = "positive"
    weights: Mapping[str, float] | None = None


def united(target: Target, said: Sequence[Said], voters: Voters, voting: Voting | None = None) -> Verdict:
    """The verdict of the members together: ``score`` is the share of the votes, ``mean_score`` the mean of their scores.

    Its policies are those that at least half of the members that flagged named (the most named where none was named so
    often), of ``any`` all that were named; an unharmful verdict has none, and one of compliance those of the members that saw
    it, for they are the request's. Its codes are all that members of its label named. Without a vote it has no label, and its
    outcome is that of the least heard.
    """
    voting = voting or Voting()
    ballots = [Ballot(s.verdict.label, s.verdict.score) for s in said]
    weights = None if voting.weights is None else [voting.weights[s.member] for s in said]
    found = decide(ballots, voting.vote, voting.ties, weights)
    votes = votes_of(said, found.weights)
    heard = [s for s in said if s.verdict.label is not None]
    if not heard:
        return missing(target, said, voters)
    notes = _notes(heard)
    if len(heard) < len(said):
        notes = (*notes, f"heard {len(heard)} of {len(said)}")
    scores = [s.verdict.score for s in heard if s.verdict.score is not None]
    mean = math.fsum(scores) / len(scores) if len(scores) == len(heard) else None
    if found.label is None:
        return Verdict(target, Outcome.UNPARSEABLE, votes=votes, notes=(*notes, TIE), voters=voters, mean_score=mean)
    apart = target is Target.REFUSAL  # what the request violates is named whether it was refused or not
    policies = _policies(votes, voting.vote, found.label) if found.label or apart else frozenset()
    codes = tuple(dict.fromkeys(c for s in heard if s.verdict.label is found.label for c in s.verdict.codes))
    return Verdict(
        target, Outcome.PARSED, found.label, found.share, policies, (), votes, "", "votes", notes, None, voters, mean, codes
    )


def missing(target: Target, said: Sequence[Said], voters: Voters) -> Verdict:
    """No verdict, for none of the members gave one: the outcome and words of the least heard."""
    outcomes = [s.verdict.outcome for s in said]
    outcome = next((o for o in _LEAST_HEARD if o in outcomes), Outcome.FAILED)
    raw = next((s.verdict.raw for s in said if s.verdict.outcome is outcome), "no member was asked")
    votes = votes_of(said, (0.0,) * len(said))
    return Verdict(target, outcome, votes=votes, raw=raw, notes=_notes(said), voters=voters)


def votes_of(said: Sequence[Said], weights: Sequence[float]) -> tuple[Vote, ...]:
    return tuple(
        Vote(s.member, v.outcome, v.label, v.score, v.policies, w, v.steps, v.raw, s.usage, v.codes)
        for s, v, w in ((s, s.verdict, w) for s, w in zip(said, weights, strict=True))
    )


def _policies(votes: Sequence[Vote], vote: Rule, label: bool) -> frozenset[str]:
    flagged = [v for v in votes if v.label is label]
    named = sorted({p for v in flagged for p in v.policies})
    if vote == "any":
        return frozenset(named)
    weights = [v.weight for v in flagged] if any(v.weight > 0 for v in flagged) else [1.0] * len(flagged)
    weight_of = {p: math.fsum(w for v, w in zip(flagged, weights, strict=True) if p in v.policies) for p in named}
    most = max(weight_of.values(), default=0.0)
    least = min(math.fsum(weights) / 2, most)
    return frozenset(p for p, w in weight_of.items() if w >= least - _EVEN)


def _notes(said: Sequence[Said]) -> tuple[str, ...]:
    """Notes that all share as they are, others with the member's name."""
    shared = set.intersection(*(set(s.verdict.notes) for s in said)) if said else set()
    found = [note if note in shared else f"{s.member}: {note}" for s in said for note in s.verdict.notes]
    return tuple(dict.fromkeys(found))
