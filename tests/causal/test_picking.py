"""The next token by numpy is the one that torch picks, with the same probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from guardeval.causal.answer import Answer
from guardeval.causal.picking import pick
from guardeval.contracts import Prompt, Request, Sampling
from guardeval.testing import a_case

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


class Spelling:
    def decode(self, ids: object) -> str:
        return "x" * len(list(ids))  # type: ignore[call-overload]

    def piece(self, token: int) -> str:
        return "x"


def answers(sampling: Sampling, n: int) -> list[Answer]:
    return [
        Answer(
            Request(Prompt.raw(f"prompt {i}"), a_case(), sampling, draw=i), Spelling(), ends=frozenset(), tokens_in=1,
            budget=100, thinking=False,
        )
        for i in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=100),
        Sampling(max_tokens=100, top_logprobs=5),
        Sampling(max_tokens=100, top_logprobs=1000),
        Sampling(max_tokens=100, temperature=1.3, top_logprobs=3),
        Sampling(max_tokens=100, temperature=0.7, top_p=0.8),
    ],
)
def test_tokens_and_probabilities_are_those_of_torch(sampling: Sampling) -> None:
    from guardeval.causal.decode import pick as torch_pick

    rng = np.random.default_rng(0)
    ours, theirs = answers(sampling, 8), answers(sampling, 8)
    for _ in range(40):
        logits = rng.normal(0, 3, (8, 50)).astype(np.float32)
        assert pick(logits, ours) == torch_pick(torch.tensor(logits), theirs)
    for mine, other in zip(ours, theirs, strict=True):
        one, two = mine.completion(), other.completion()
        assert len(one.tokens) == len(two.tokens) == (40 if sampling.top_logprobs else 0)
        for a, b in zip(one.tokens, two.tokens, strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-4)
            assert [p for _, p in a.top] == pytest.approx([p for _, p in b.top], abs=1e-4)


def test_draws_follow_the_probabilities() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.2]] * 500, np.float32))
    drawn = pick(logits, answers(Sampling(max_tokens=100, temperature=1.0), 500))
    shares = np.bincount(drawn, minlength=3) / 500
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.08)  # three and a half standard errors
