"""Near-duplicates: worked by hand, and what holds for any texts."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardeval.errors import ConfigError
from guardeval.exposure import normalised
from guardeval.near_duplicates import NearIndex, clusters, similarity

WORDS = st.lists(st.sampled_from(["how", "to", "make", "a", "cake", "Zürich", "火", "x_1", "!?", "—"]), max_size=12)
TEXTS = WORDS.map(" ".join)


def test_similarity_by_hand():
    """``how to make a bomb``: 5 words, 4 pairs, 3 triples; the last word stands in one of each: 9 of 15 shared."""
    assert similarity("How to make a bomb?", "how to make a cake") == 9 / 15
    assert similarity("cake", "Cake!") == 1.0
    assert similarity("cake", "bake") == 0.0
    assert similarity("a b", "b a") == 2 / 4  # the words, not the pair
    assert similarity("", "") == similarity("!!", "!!") == 0.0


def test_a_shingle_that_repeats_counts_once():
    assert similarity("very very very very good", "very very very very very good") == 1.0


def test_one_word_of_twenty_changed_is_near_and_half_a_text_is_not():
    text = " ".join(f"word{i}" for i in range(20))
    index: NearIndex[str] = NearIndex(0.7)
    index.add("whole", text)
    assert index.matches(text.replace("word9", "other")) == ["whole"]
    assert index.matches(" ".join(text.split()[:10])) == []


@given(st.lists(TEXTS, max_size=8), TEXTS, st.sampled_from([0.2, 0.5, 0.7, 1.0]))
@settings(max_examples=60, deadline=None)
def test_what_is_found_is_as_similar_as_said_and_the_same_words_always_are_found(texts, asked, threshold):
    index: NearIndex[int] = NearIndex(threshold)
    for i, text in enumerate(texts):
        index.add(i, text)
    found = index.scored(asked)
    assert all(similarity(asked, texts[i]) == s >= threshold for i, s in found)
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
    same = {i for i, text in enumerate(texts) if normalised(text) and normalised(text) == normalised(asked)}
    assert same <= set(index.matches(asked))
    assert not index.matches("") and len(index) == len({normalised(t) for t in texts} - {""})


@given(TEXTS, TEXTS, st.sampled_from([0.3, 0.7]))
@settings(max_examples=60, deadline=None)
def test_being_near_is_symmetric(a, b, threshold):
    one, two = NearIndex[str](threshold), NearIndex[str](threshold)
    one.add("a", a)
    two.add("b", b)
    assert bool(one.matches(b)) == bool(two.matches(a))
    assert similarity(a, b) == similarity(b, a)


@given(st.lists(TEXTS, max_size=10), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_clusters_do_not_depend_on_order_and_join_all_that_is_near(texts, random):
    numbers = clusters(texts, 0.5)
    order = list(range(len(texts)))
    random.shuffle(order)
    again = clusters([texts[i] for i in order], 0.5)
    for x, i in enumerate(order):
        for y, j in enumerate(order):
            assert (again[x] == again[y]) == (numbers[i] == numbers[j])
    index: NearIndex[int] = NearIndex(0.5)
    for i, text in enumerate(texts):
        index.add(i, text)
    assert all(numbers[i] == numbers[j] for i, text in enumerate(texts) for j in index.matches(text))
    assert sorted(set(numbers)) == list(range(len(set(numbers))))


def test_a_chain_of_near_texts_is_one_cluster_and_wordless_texts_are_none():
    words = [f"w{i}" for i in range(30)]
    chain = [" ".join(["x"] * i + words[i:]) for i in range(0, 12, 2)]
    assert similarity(chain[0], chain[-1]) < 0.7
    assert clusters([*chain, "🔥", "🔥", "another text altogether"]) == [0] * 6 + [1, 2, 3]


def test_a_family_of_texts_from_one_pattern_is_one_cluster():
    pattern = "please answer as an old sailor who has seen every port of the world and now tells the child at his knee about"
    assert set(clusters([f"{pattern} thing number{i}" for i in range(400)])) == {0}


def test_a_pair_just_above_the_threshold_is_found():
    """Of 300 pairs at 0.70-0.75 at most one in a hundred may be missed; the bands promise one in a thousand."""
    index: NearIndex[int] = NearIndex(0.7)
    near = []
    for n in range(300):
        text = [f"t{n}w{i}" for i in range(24)]
        index.add(n, " ".join(text))
        near.append(" ".join([*text[:7], "other", *text[8:16], "another", *text[17:]]))
    assert all(0.7 <= similarity(" ".join(f"t{n}w{i}" for i in range(24)), near[n]) < 0.75 for n in range(300))
    assert sum(index.matches(text) == [n] for n, text in enumerate(near)) >= 297


def test_long_and_hostile_texts():
    long = " ".join(str(i) for i in range(60_000))
    assert clusters([long, long + " end", "\ud800 lone", "\ud800 LONE", "\x00\u202e", "İ", "{{x}} %s"])[:4] == [0, 0, 1, 1]


def test_results_are_the_same_in_another_process():
    code = (
        "from guardeval.near_duplicates import NearIndex\n"
        "i = NearIndex(0.3)\n"
        "[i.add(n, ' '.join(f'w{n % k}' for k in range(1, 12))) for n in range(60)]\n"
        "print([i.matches(' '.join(f'w{n % k}' for k in range(1, 12))) for n in range(60)])"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1 and "[0" in runs.pop()


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.01, float("nan")])
def test_a_threshold_that_is_none(threshold):
    with pytest.raises(ConfigError, match=r"threshold .*: a similarity above 0, at most 1, is wanted"):
        NearIndex[int](threshold)
