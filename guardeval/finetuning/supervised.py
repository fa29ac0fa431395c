"""Reasoning traces as rows of prompt and answer: what supervised trainers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guardeval.contracts import Solver
from guardeval.errors import DataError
from guardeval.finetuning.plan import plan
from guardeval.finetuning.token_rows import LeftOut, TokenRow, Tokens, kept_rows
from guardeval.finetuning.tuning import Encoded, Method
from guardeval.policies import PolicySet
from guardeval.training_rows import Split, Trace, TrainingFile
from guardeval.training_text import answer_of

__all__ = ["Supervised", "answer_texts"]

_UNREAD = "the solver reads the answer as something else"


@dataclass(frozen=True)
class Supervised(Method):
    """A method that learns the answers which traces make."""

    def plan(self, rows: TrainingFile) -> Mapping[str, Any]:
        """What ``--dry_run`` prints."""
        return plan(self, rows)

    def texts(self, rows: TrainingFile) -> Iterator[str]:
        return answer_texts(rows, self.solver_object, self.policy_set)

    def encoded(self, rows: TrainingFile, tokens: Tokens, left_out: LeftOut) -> Encoded:
        train = kept_rows(self._token_rows(rows.of(Split.TRAIN), tokens, left_out), self.max_length, left_out)
        held = [r for r in self._token_rows(rows.of(Split.VALIDATION), tokens, LeftOut()) if len(r.ids) <= self.max_length]
        longest = max(len(row.ids) for row in train)
        return Encoded(_columns(train), [row.id for row in train], longest, _columns(held))

    def _token_rows(self, traces: Sequence[Trace], tokens: Tokens, left_out: LeftOut) -> Iterator[TokenRow]:
        solver, policies = self.solver_object, self.policy_set
        for trace in traces:
            try:
                request, answer = answer_of(trace, solver, policies)
            except DataError:
                left_out.add(_UNREAD, trace.sample.id)
                continue
            yield tokens.row(trace.sample.id, request, answer)


def answer_texts(traces: Iterable[Any], solver: Solver, policies: PolicySet) -> Iterator[str]:
    """Prompt and answer of each trace as one text; those that the solver reads as something else are passed over."""
    for trace in traces:
        try:
            request, answer = answer_of(trace, solver, policies)
        except DataError:
            continue
        yield f"{request.prompt.as_text()}\n{answer}"


def _columns(rows: Sequence[TokenRow]) -> list[dict[str, Any]]:
    return [{"ids": row.ids, "labels": row.labels, "row": number} for number, row in enumerate(rows)]
