"""Shares of a mix, and splits by cluster: by hand, and what holds for any rows."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.errors import ConfigError
from guardeval.exposure import fingerprint
from guardeval.mixture import amounts, drawn
from guardeval.splitting import clusters_of_rows, split_clusters


def test_the_largest_mix_that_the_rows_allow_by_hand():
    """0.3 of 300 synthetic rows allow a mix of 1000; 500 traces for 0.7 allow 714 only: 500 and 214."""
    assert amounts({"traces": 500, "synthetic": 300}, {"synthetic": 0.3}) == {"traces": 500, "synthetic": 214}
    assert amounts({"traces": 5000, "synthetic": 300}, {"synthetic": 0.3}) == {"traces": 700, "synthetic": 300}
    assert amounts({"traces": 500, "synthetic": 300}, {"synthetic": 0.3}, n=100) == {"traces": 70, "synthetic": 30}


def test_sources_without_a_share_fill_the_rest_by_their_rows():
    assert amounts({"a": 300, "b": 100, "c": 1000}, {"c": 0.5}) == {"a": 300, "b": 100, "c": 400}
    assert amounts({"a": 3, "b": 1}, {}) == {"a": 3, "b": 1}
    assert amounts({"a": 300, "b": 100}, {}, n=40) == {"a": 30, "b": 10}
    assert amounts({"a": 3}, {"a": 1.0}) == {"a": 3}
    assert amounts({"a": 5, "b": 9}, {"a": 0.5}, n=1000) == {"a": 5, "b": 5}


@pytest.mark.parametrize(
    ("rows", "ratios", "message"),
    [
        ({"a": 5, "b": 5}, {"a": 0.8, "b": 0.3}, r"a=0.8, b=0.3: shares of the mix add up to 1.1"),
        ({"a": 5, "b": 5}, {"a": 0.5, "b": 0.3}, "add up to 0.8, and no other source fills the rest"),
        ({"a": 5, "b": 5}, {"a": 1.0}, "leave nothing for b"),
        ({"a": 5, "b": 0}, {"a": 0.5}, "no other source fills the rest"),
        ({"a": 5, "b": 5}, {"a": 0.0}, "a=0: a share of the mix is wanted"),
        ({"a": 5, "b": 5}, {"a": float("nan")}, "a share of the mix is wanted"),
        ({"a": 5, "b": 5}, {"a": -0.3}, "a share of the mix is wanted"),
        ({"a": 5, "b": 5}, {"a": 30.0}, "above 0, at most 1"),
    ],
)
def test_shares_that_are_none(rows, ratios, message):
    with pytest.raises(ConfigError, match=message):
        amounts(rows, ratios)


@given(
    st.lists(st.integers(1, 400), min_size=2, max_size=5),
    st.lists(st.integers(1, 30), min_size=1, max_size=2),
    st.none() | st.integers(1, 300),
)
def test_a_mix_keeps_its_shares_to_one_row_and_is_the_largest(sizes, percents, n):
    rows = {f"s{i}": size for i, size in enumerate(sizes)}
    ratios = {f"s{i}": p / 100 for i, p in enumerate(percents[: len(sizes) - 1])}
    found = amounts(rows, ratios, n)
    total = sum(found.values())
    assert all(0 <= found[s] <= rows[s] for s in rows)
    assert n is None or total <= n
    rest = sum(rows[s] for s in rows if s not in ratios)
    share = {s: ratios.get(s, (1 - sum(ratios.values())) * rows[s] / rest) for s in rows}
    assert all(abs(found[s] - share[s] * total) < 1 + 1e-9 for s in rows)
    if n is None or total < n:  # one row more would ask a source for more than it has
        assert any(share[s] * (total + 1) > rows[s] - 1e-9 for s in rows)


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 30), min_size=1), st.integers(0, 60))
def test_draws_take_each_group_in_proportion_and_its_first_members(groups, n):
    members = {g: [f"{g}{i}" for i in range(size)] for g, size in groups.items()}
    found = drawn(members, n)
    total = sum(groups.values())
    assert len(found) == min(n, total) == len(set(found))
    for g, size in groups.items():
        mine = [m for m in found if m.startswith(g)]
        assert mine == members[g][: len(mine)]
        assert abs(len(mine) - size * min(n, total) / (total or 1)) < 1


# ---- splits ----


def test_rows_made_from_one_seed_are_one_cluster():
    seed = "tell me how a lock is picked"
    prompts = [seed, "quite other words", "different again entirely", "unrelated"]
    links = [(), (fingerprint(seed),), (fingerprint("a seed that is not here"),), (fingerprint("A seed that is not here!"),)]
    assert clusters_of_rows(prompts, links) == [0, 0, 1, 1]


def test_by_prompt_only_the_same_words_are_one_cluster():
    prompts = ["one two three four five six seven eight nine ten", "One two three four five six seven eight nine ten!"]
    near = "one two three four five six seven eight nine eleven ten"
    assert clusters_of_rows([*prompts, near], [()] * 3, None) == [0, 0, 1]
    assert clusters_of_rows([*prompts, near], [()] * 3, 0.5) == [0, 0, 0]


def singles(labels: dict[str, int]) -> dict[int, Counter[tuple[str, ...]]]:
    rows = [label for label, n in labels.items() for _ in range(n)]
    return {i: Counter([("traces",), ("traces", label)]) for i, label in enumerate(rows)}


def test_a_fifth_of_every_label_by_hand():
    members = singles({"harmful": 40, "unharmful": 60})
    chosen = split_clusters(members, 0.2, {c: str(c * 7919 % 100) for c in members})
    assert len(chosen) == 20
    assert sum(c < 40 for c in chosen) == 8


def test_a_cluster_too_large_for_validation_stays_in_training():
    members = {0: Counter({("traces",): 50}), **{i: Counter({("traces",): 1}) for i in range(1, 51)}}
    assert split_clusters(members, 0.2, {c: f"{c:03}" for c in members}) == set(range(1, 21))
    assert split_clusters({0: Counter({("traces",): 9})}, 0.2, {0: "0"}) == set()
    assert split_clusters({0: Counter({("traces",): 1})}, 0.2, {0: "0"}) == set()


@given(
    st.dictionaries(st.integers(0, 200), st.tuples(st.integers(1, 5), st.sampled_from("xy")), max_size=80),
    st.sampled_from([0.0, 0.1, 0.2, 0.5]),
    st.integers(0, 9),
)
def test_validation_is_never_larger_than_asked_and_small_clusters_fill_it(clusters, share, seed):
    members = {c: Counter({("t",): n, ("t", label): n}) for c, (n, label) in clusters.items()}
    order = {c: f"{hash((c, seed))}" for c in members}
    chosen = split_clusters(members, share, order)
    total, held = (sum(clusters[c][0] for c in some) for some in (clusters, chosen))
    assert held <= share * total + 0.5 + 1e-9
    ones = sum(n == 1 for n, _ in clusters.values())
    if ones > total / 2:
        assert held >= share * total - 2.5
