"""Judgements made straight from columns: for testing scorers on many samples at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from guardeval.data import Judged, Outcome, Sample, Target, Usage, Verdict
from guardeval.judged import OUTCOMES, Judgements
from guardeval.policies import POLICIES

__all__ = ["judgements_of"]


def judgements_of(
    gold: ArrayLike,
    label: ArrayLike,
    *,
    target: Target = Target.PROMPT,
    policy_names: Sequence[str] = POLICIES,
    ids: Sequence[str] | None = None,
    **columns: ArrayLike,
) -> Judgements:
    """Samples with these gold labels (1, 0, -1 none) and verdicts (1, 0, -1 none), every prompt different.

    Other columns by name, as in :class:`~guardeval.judged.Judgements`; a missing verdict is unparseable unless
    ``outcome`` says otherwise.
    """
    gold, label = np.asarray(gold, np.int8), np.asarray(label, np.int8)
    n = len(gold)
    unknown, none = np.full(n, np.nan), np.zeros(n, np.int64)
    missing = OUTCOMES.index(Outcome.UNPARSEABLE)
    given: dict[str, Any] = {
        "row": np.arange(n),
        "gold": gold,
        "label": label,
        "outcome": np.where(label < 0, missing, OUTCOMES.index(Outcome.PARSED)).astype(np.int8),
        "score": unknown,
        **dict.fromkeys(("gold_policies", "known_policies", "policies"), none),
        "cluster": np.arange(n),
        "paper": np.full(n, -2, np.int8),
        "requests": np.ones(n, np.int32),
        **dict.fromkeys(("cached", "steps", "members", "heard", "votes_for"), none.astype(np.int32)),
        **dict.fromkeys(("latency", "tokens_in", "tokens_out", "cost"), unknown),
    }
    for name, column in columns.items():
        if name not in given:
            raise ValueError(f"no column {name!r}; columns: {', '.join(given)}")
        given[name] = np.asarray(column, given[name].dtype)

    def read(i: int) -> Judged:
        said = int(label[i])
        labels = {} if gold[i] < 0 else {target: bool(gold[i])}
        verdict = Verdict(target, OUTCOMES[given["outcome"][i]], None if said < 0 else bool(said))
        return Judged(Sample(str(i), i, f"prompt {given['cluster'][i]}", labels=labels), verdict, Usage(requests=1))

    names = [str(i) for i in range(n)] if ids is None else list(ids)
    return Judgements(target, policy_names, given, names, [None] * n, read)
