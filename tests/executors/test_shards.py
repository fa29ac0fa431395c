"""The bookkeeping of shards, whatever order workers finish and die in."""

from __future__ import annotations

import random
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.executors.shards import InOrder, Ledger, Poison


def simulate(shards: int, workers: int, deaths: int, most: int, seed: int) -> tuple[list[int], int]:
    """A run of so many shards in which workers die at random; the numbers written, and how many shards were redone."""
    rng = random.Random(seed)
    ledger, order = Ledger(retries=deaths), InOrder(lambda part: 1, most)
    numbers = count(workers)
    hands: dict[int, list[int]] = {w: [] for w in range(workers)}
    written: list[int] = []
    left = shards
    while left or ledger.unfinished:
        for worker, held in hands.items():
            while len(held) < 2:
                shard = ledger.again(worker)
                if shard is None:
                    if not left:
                        break
                    shard, left = ledger.fresh(worker), left - 1
                held.append(shard)
        worker = rng.choice([w for w, held in hands.items() if held])
        if deaths and rng.random() < 0.3:
            deaths -= 1
            late = hands.pop(worker)
            hands[next(numbers)] = []
            ledger.lost(worker)
            assert not ledger.done(worker, late[0])  # what a lost worker hands in after all is not taken
        else:
            shard = hands[worker].pop(0)
            assert ledger.done(worker, shard)
            assert not ledger.done(worker, shard)
            written.extend(order.put(shard, shard))
    written.extend(order.rest())
    return written, ledger.redone


@given(st.integers(0, 40), st.integers(1, 6), st.integers(0, 12), st.integers(0, 2**32))
def test_every_shard_is_written_once_and_in_order_whoever_dies(shards, workers, deaths, seed):
    written, _ = simulate(shards, workers, deaths, most=1000, seed=seed)
    assert written == list(range(shards))


@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 12), st.integers(0, 3), st.integers(0, 2**32))
def test_where_little_may_be_held_back_every_shard_is_still_written_once(shards, workers, deaths, most, seed):
    written, _ = simulate(shards, workers, deaths, most, seed)
    assert sorted(written) == list(range(shards))


def test_early_parts_are_held_back_until_their_turn_and_no_longer():
    order = InOrder(len, most=10)
    assert list(order.put(1, "bb")) == []
    assert list(order.put(0, "aa")) == ["aa", "bb"]
    assert list(order.put(3, "dddd")) == []
    assert list(order.put(5, "fffffff")) == ["dddd", "fffffff"]  # too much to hold: handed on as it is
    assert list(order.put(2, "cc")) == ["cc"]
    assert list(order.rest()) == []


def test_only_the_shard_that_its_worker_was_at_is_held_responsible():
    ledger = Ledger(retries=1)
    at, waiting = ledger.fresh(0), ledger.fresh(0)
    ledger.lost(0)
    assert (ledger.again(1), ledger.again(1)) == (at, waiting)
    with pytest.raises(Poison) as found:
        ledger.lost(1)
    assert (found.value.shard, found.value.workers) == (at, 2)
    assert (ledger.again(2), ledger.again(2), ledger.again(2)) == (at, waiting, None)  # the other is innocent
    ledger.done(2, at)
    ledger.lost(2)
    assert ledger.again(3) == waiting


def test_a_worker_that_dies_idle_costs_nothing():
    ledger = Ledger(retries=0)
    ledger.lost(7)
    assert (ledger.redone, ledger.unfinished) == (0, False)
