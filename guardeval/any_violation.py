"""One question a policy, joined: any violation flags, whatever else is missing; negative only if every policy was answered."""

from __future__ import annotations

from collections.abc import Sequence

from guardeval.data import Outcome, Step, Target, Verdict, Vote, Voters

__all__ = ["any_violation"]

_MISSING = (Outcome.FAILED, Outcome.TRUNCATED, Outcome.UNPARSEABLE)  # which of several is told: the least heard first


def any_violation(target: Target, names: Sequence[str], answers: Sequence[Verdict], policies: bool = True) -> Verdict:
    """The verdict of the answers about each of ``names``, in their order; fewer answers where asking stopped early.

    The score is the largest of the answers' scores, a lower bound of P(any is violated); absent unless all have one.
    ``policies``: the names are policies, so those that are violated are the verdict's; else the answers' own policies are.
    """
    found = list(zip(names, answers, strict=False))
    votes = tuple(Vote(n, a.outcome, a.label, a.score, _violated(n, a, policies), codes=a.codes) for n, a in found)
    violated = frozenset().union(*(vote.policies for vote in votes))
    missing = [outcome for outcome in _MISSING if any(a.outcome is outcome for a in answers)]
    label = any(vote.label for vote in votes)
    outcome = Outcome.PARSED if label or not missing else missing[0]
    scores = [a.score for a in answers if a.score is not None]
    score = max(scores) if outcome is Outcome.PARSED and len(scores) == len(names) else None
    return Verdict(
        target,
        outcome,
        label if outcome is Outcome.PARSED else None,
        score,
        violated,
        tuple(Step(name, "\n\n".join(step.text for step in a.steps)) for name, a in found if a.steps),
        votes,
        "\n\n".join(f"[{name}]\n{a.raw}" for name, a in found),
        None if score is None else "tokens",
        tuple(f"{name}: {note}" for name, a in found for note in a.notes),
        voters=Voters.POLICIES,
        codes=tuple(dict.fromkeys(code for a in answers for code in a.codes)),
    )


def _violated(name: str, answer: Verdict, policies: bool) -> frozenset[str]:
    if not policies:
        return answer.policies
    return frozenset({name}) if answer.label else frozenset()
