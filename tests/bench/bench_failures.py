"""Failure analysis of a run in memory: seconds of each part.

    OMP_NUM_THREADS=1 python tests/bench/bench_failures.py [ROWS]

Texts are drawn from a vocabulary with the skew of a language, some 100 words each; a tenth of the negatives is flagged.
"""

from __future__ import annotations

import random
import sys
import time

import pytest

from guardeval.data import Target
from guardeval.failures import mode_shares, modes, policy_confusion, rates_by_category, typical_ngrams
from guardeval.judged import Judgements
from guardeval.report.failures import failure_tables
from guardeval.scorers.failure_modes import FailureModes
from guardeval.testing.builders import a_judged


def made(n: int) -> Judgements:
    rng = random.Random(0)
    words = [f"w{int(rng.paretovariate(0.6)) % 30_000}" for _ in range(300_000)]
    judged = []
    for i in range(n):
        start, gold = rng.randrange(299_000), rng.random() < 0.4
        text = " ".join(words[start : start + rng.randrange(20, 180)])
        judged.append(
            a_judged(gold, gold != (rng.random() < 0.1), i, prompt=text, category="abcdef"[i % 6], score=rng.random())
        )
    return Judgements.of(judged, Target.PROMPT)


def main(n: int) -> None:
    judged = made(n)
    for name, part in (
        ("modes", modes),
        ("mode_shares", mode_shares),
        ("rates_by_category", rates_by_category),
        ("policy_confusion", policy_confusion),
        ("scorer failure_modes", FailureModes().score),
        ("typical_ngrams", typical_ngrams),
        ("failure_tables", failure_tables),
    ):
        start = time.perf_counter()
        part(judged)
        print(f"{name:<22} {n:>7} rows {1000 * (time.perf_counter() - start):>9.2f} ms")


@pytest.mark.bench
def test_failures_bench() -> None:
    main(1554)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
