"""Mining runs and votes: what is kept, in which order, what is refused, and that nothing depends on holding it in memory."""

from __future__ import annotations

import gzip
import json
import math
import random
import subprocess
import sys
import time

import pytest

from guardeval.data import Outcome, Target, Vote, Voters
from guardeval.disagreement import disagreement
from guardeval.errors import ConfigError, DataError
from guardeval.mining import mine
from guardeval.testing.builders import a_judged
from guardeval.training_rows import read_training_file

NAN = math.nan


def said(i: int, score: float | None, gold: bool | None = True, **more):
    """Sample ``i`` judged with this score; None = not heard."""
    label = None if score is None else score >= 0.5
    return a_judged(gold, label, i, doc={"prompt": f"prompt {i}", "n": i}, score=score, **more)


def rows_of(path) -> list[dict]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return json.loads(data) if ".jsonl" not in path.name else [json.loads(line) for line in data.splitlines()]


def ids_of(path) -> list[str]:
    return [row["guardeval"]["id"] for row in rows_of(path)]


A = [0.9, 0.9, 0.5, 0.1, None, 0.6]
B = [0.1, 0.8, 0.5, 0.9, 0.2, 0.5]
C = [0.5, 0.9, 0.5, 0.5, None, None]


@pytest.fixture
def three(stored):
    return [stored([said(i, s) for i, s in enumerate(scores)], name) for name, scores in zip("abc", (A, B, C), strict=True)]


def test_three_members_by_hand(three, tmp_path):
    # 0: .8+.4+.4 = 1.6; 1: .1+0+.1 = .2; 2: 0; 3: .8+.4+.4 = 1.6; 4: one heard, apart; 5: .1 of one pair, for three = .3
    done = mine(three, tmp_path / "hard.json", top=0.5)
    rows = rows_of(tmp_path / "hard.json")
    assert [(r["guardeval"]["id"], r["guardeval"]["score"]) for r in rows] == [("0", 1.6), ("3", 1.6), ("5", 0.3)]
    assert (done.rows, done.considered, done.apart, done.threshold) == (3, 5, 1, 0.3)
    assert done.share_of_pairs_with_both == pytest.approx((4 * 3 + 0 + 1) / 18)
    assert {k: v for k, v in rows[0].items() if k != "guardeval"} == {"prompt": "prompt 0", "n": 0}
    own = rows[2]["guardeval"]
    assert own["members"] == {
        "a": {"label": True, "score": 0.6},
        "b": {"label": True, "score": 0.5},
        "c": {"label": None, "score": None},
    }
    assert (own["index"], own["rank"], own["rule"], own["gold"], own["task"]) == (5, 3, "disagreement", True, "some")
    assert own["source"] == "file sha256 0"
    assert [json.loads(x) for x in (tmp_path / "hard.apart.jsonl").read_text().splitlines()] == [
        {"id": "4", "heard": 1, "of": 3}
    ]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, ["0"]),  # the top fifth of five
        ({"n": 2}, ["0", "3"]),
        ({"min_score": 0.25}, ["0", "3", "5"]),
        ({"top": 0.8, "n": 3, "min_score": 0.5}, ["0", "3"]),
        ({"top": 1.0}, ["0", "3", "5", "1", "2"]),
        ({"min_score": 9}, []),
    ],
)
def test_top_n_and_least_score_all_apply(three, tmp_path, options, kept):
    done = mine(three, tmp_path / "hard.jsonl.gz", **options)
    assert ids_of(tmp_path / "hard.jsonl.gz") == kept
    assert done.rows == len(kept)
    assert math.isnan(done.threshold) is (not kept)


def test_equal_scores_are_ordered_by_id_and_those_left_out_are_counted(stored, tmp_path):
    order = [3, 10, 2, 0, 1]
    runs = [stored([said(i, s, id=f"s{order[i]}") for i in range(5)], name) for name, s in (("a", 0.25), ("b", 0.75))]
    done = mine(runs, tmp_path / "hard.json", n=3)
    assert ids_of(tmp_path / "hard.json") == ["s0", "s1", "s10"]
    assert done.ties_left_out == 2


def test_streaming_gives_what_all_in_memory_gives(stored, tmp_path):
    rng = random.Random(1)
    scores = [[rng.choice([None, 0.0, 0.25, 0.5, 1.0, rng.random()]) for _ in range(3)] for _ in range(200)]
    runs = [stored([said(i, row[k]) for i, row in enumerate(scores)], f"m{k}") for k in range(3)]
    mine(runs, tmp_path / "hard.json", top=0.3)
    numbers = [[NAN if s is None else s for s in row] for row in scores]
    labels = [[-1 if s is None else int(s >= 0.5) for s in row] for row in scores]
    values = disagreement(numbers, labels).values
    there = [i for i in range(200) if not math.isnan(values[i])]
    expected = sorted(there, key=lambda i: (-values[i], str(i)))[: math.ceil(len(there) * 3 / 10)]
    assert ids_of(tmp_path / "hard.json") == [str(i) for i in expected]


def test_the_order_of_runs_changes_neither_choice_nor_order(three, tmp_path):
    found = []
    for runs in (three, three[::-1]):
        mine(runs, tmp_path / "hard.json", top=0.6)
        found.append([(r["guardeval"]["id"], r["guardeval"]["score"]) for r in rows_of(tmp_path / "hard.json")])
    assert found[0] == found[1]


def test_samples_that_not_all_runs_hold_are_left_out_and_counted(stored, tmp_path):
    runs = [stored([said(i, 0.1 * k) for i in rows], f"m{k}") for k, rows in enumerate(([0, 1, 3, 5], [1, 2, 3], [1, 3, 4]))]
    done = mine(runs, tmp_path / "hard.json", top=1.0)
    assert ids_of(tmp_path / "hard.json") == ["1", "3"]
    assert (done.considered, done.left_out) == (2, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gold": False}, "gold label of row 1"),
        ({"prompt": "other"}, "prompt of row 1"),
        ({"id": "other"}, "id of row 1"),
    ],
)
def test_runs_that_disagree_about_a_sample_are_refused(stored, tmp_path, change, message):
    one = stored([said(0, 0.1), said(1, 0.1)], "a")
    two = stored([said(0, 0.9), said(1, 0.9, **change)], "b")
    with pytest.raises(DataError, match=message):
        mine([one, two], tmp_path / "hard.json")
    assert not (tmp_path / "hard.json").exists()


def test_other_data_and_redacted_runs_are_refused(stored, tmp_path):
    one, other = stored([said(0, 0.1)], "a"), stored([said(0, 0.9)], "b", sha="1")
    with pytest.raises(DataError, match="cannot be compared: data is"):
        mine([one, other], tmp_path / "hard.json")
    with pytest.raises(DataError, match="redacted run: it holds no rows"):
        mine([one, stored([said(0, 0.9)], "c", redact=True)], tmp_path / "hard.json")
    with pytest.raises(ConfigError, match="is named twice"):
        mine([one, one], tmp_path / "hard.json")
    with pytest.raises(ConfigError, match="holds no votes of models or draws"):
        mine([one], tmp_path / "hard.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "disagrement"}, "did you mean 'disagreement'"),
        ({"top": 0.0}, "a share above 0"),
        ({"n": 0}, "from 1"),
        ({"pairs": "x.jsonl", "rule": "label_audit"}, "no answer is known to be right"),
        ({"reviews": "x.jsonl"}, "--rule label_audit"),
        ({"members": ["a"]}, "columns of a file of scores"),
    ],
)
def test_wrong_options_are_refused(three, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        mine(three, tmp_path / "hard.json", **options)
    with pytest.raises(ConfigError, match=r"ends in \.json or \.jsonl"):
        mine(three, tmp_path / "hard.csv")


def test_what_breaks_half_way_leaves_the_old_file(stored, tmp_path):
    runs = [stored([said(i, s) for i in range(3)], name) for name, s in (("a", 0.1), ("b", 0.9))]
    out = tmp_path / "hard.json"
    mine(runs, out, top=1.0)
    before = out.read_bytes()
    (samples,) = runs[1].glob("samples_*.jsonl")
    samples.write_bytes(samples.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"samples_.*:3: not a line"):
        mine(runs, out, n=1)
    assert out.read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


# ---- votes of one run ----


def vote(member: str, label: bool | None, score: float | None = None, raw: str = "") -> Vote:
    return Vote(member, Outcome.PARSED if label is not None else Outcome.UNPARSEABLE, label, score, raw=raw)


def voted(i: int, labels, gold: bool = True, voters: Voters = Voters.DRAWS):
    votes = tuple(vote("guard", label, raw=f"{i}.{k} " + "x" * k) for k, label in enumerate(labels))
    return a_judged(gold, True, i, doc={"prompt": f"prompt {i}"}, votes=votes, voters=voters)


DRAWS = [[True, False, False, False], [True, True, True, False], [False, True, None, None], [True] * 4, [None] * 4]


def test_draws_of_one_model_by_the_papers_rule(stored, tmp_path):
    run = stored([voted(i, labels) for i, labels in enumerate(DRAWS)])
    done = mine([run], tmp_path / "hard.json", rule="mixed", pairs=tmp_path / "pairs.jsonl")
    assert [(r["guardeval"]["id"], r["guardeval"]["score"]) for r in rows_of(tmp_path / "hard.json")] == [
        ("0", 2),
        ("2", 0),
        ("1", -2),
    ]
    assert (done.considered, done.apart, done.pairs) == (4, 1, 3)
    pairs = {p["id"]: p for p in map(json.loads, (tmp_path / "pairs.jsonl").read_text().splitlines())}
    assert {i: p["alpha"] for i, p in pairs.items()} == pytest.approx({"0": 1.2, "2": 1.0, "1": 0.8})
    assert (pairs["0"]["chosen"], pairs["0"]["rejected"]) == ("0.0 ", "0.3 xxx")  # the longest of each
    assert (pairs["2"]["k_correct"], pairs["2"]["k_incorrect"], pairs["2"]["prompt"]) == (1, 1, "prompt 2")


def test_pairs_of_members_that_disagree_are_training_pairs(stored, tmp_path):
    """By disagreement: those kept whose members are partly right; weights over these alone."""
    run = stored([voted(i, labels, voters=Voters.MODELS) for i, labels in enumerate(DRAWS)])
    done = mine([run], tmp_path / "hard.json", top=0.5, pairs=tmp_path / "pairs.jsonl")
    assert (done.rows, done.pairs) == (2, 2)
    pairs = read_training_file(tmp_path / "pairs.jsonl")
    # sample 2: one of each, w = 0; sample 0: one right of four, w = 2
    assert {p.sample.id: p.alpha for p in pairs} == pytest.approx({"2": 0.8, "0": 1.2})
    assert {(p.target, p.about["kind"], p.sample.labels[p.target]) for p in pairs} == {(Target.PROMPT, "mined", True)}
    assert (pairs[1].chosen, pairs[1].rejected) == ("0.0 ", "0.3 xxx")


def test_no_pair_where_members_are_all_right_or_all_wrong(stored, tmp_path):
    run = stored([voted(0, [True, True]), voted(1, [False, False])])
    done = mine([run], tmp_path / "hard.json", top=1.0, pairs=tmp_path / "pairs.jsonl")
    assert (done.rows, done.pairs, (tmp_path / "pairs.jsonl").read_text()) == (2, 0, "")


def test_disagreement_of_votes(stored, tmp_path):
    run = stored([voted(i, labels, voters=Voters.MODELS) for i, labels in enumerate(DRAWS)])
    done = mine([run], tmp_path / "hard.json", top=0.5)
    # 2: two of four heard, apart by 1, stands for six pairs; 0 and 1: three pairs of six
    assert [(r["guardeval"]["id"], r["guardeval"]["score"]) for r in rows_of(tmp_path / "hard.json")] == [("2", 6), ("0", 3)]
    assert done.members == ("guard", "guard 2", "guard 3", "guard 4")
    assert (done.substituted, done.share_of_pairs_with_both) == (4, 0.0)


def test_votes_of_a_stranger_are_refused(stored, tmp_path):
    two = a_judged(True, True, 1, doc={"p": 1}, votes=(vote("new", True), vote("guard", True)), voters=Voters.DRAWS)
    run = stored([voted(0, [True, False]), two])
    with pytest.raises(DataError, match="holds a vote of 'new'"):
        mine([run], tmp_path / "hard.json")


# ---- label audit ----


def test_confident_members_against_the_label_are_listed_by_confidence(stored, tmp_path):
    a = [0.99, 0.95, 0.02, 0.7, None, 0.9]
    b = [0.99, 0.85, 0.03, 0.6, 0.99, 0.9]
    gold = [False, False, True, False, False, True]
    runs = [stored([said(i, s, g) for i, (s, g) in enumerate(zip(x, gold, strict=True))], n) for n, x in (("a", a), ("b", b))]
    done = mine(runs, tmp_path / "audit.json", rule="label_audit")
    # 0: .98; 2: (.96 + .94)/2; 1: (.9 + .7)/2 = .8; 3: not sure; 4: one was not heard; 5: they agree with the label
    assert [(r["guardeval"]["id"], round(r["guardeval"]["score"], 9)) for r in rows_of(tmp_path / "audit.json")] == [
        ("0", 0.98), ("2", 0.95), ("1", 0.8),
    ]  # fmt: skip
    assert done.considered == 5
    mine(runs, tmp_path / "audit.json", rule="label_audit", confidence=0.9)
    assert ids_of(tmp_path / "audit.json") == ["0", "2"]


def test_the_rate_of_wrong_labels_is_of_listed_samples_only(stored, tmp_path):
    runs = [stored([said(i, 0.99, i > 3) for i in range(6)], name) for name in "ab"]
    marks = [
        {"sample": "0", "mark": "wrong_label", "reviewer": "x"},
        {"sample": "1", "mark": "agree", "reviewer": "x"},
        {"sample": "5", "mark": "wrong_label", "reviewer": "x"},  # not listed
        {"sample": "2", "mark": "wrong_label", "reviewer": "x", "task": "another"},
    ]
    (tmp_path / "marks.jsonl").write_text("".join(json.dumps(m) + "\n" for m in marks))
    done = mine(runs, tmp_path / "audit.json", rule="label_audit", reviews=tmp_path / "marks.jsonl")
    assert ids_of(tmp_path / "audit.json") == ["0", "1", "2", "3"]
    assert done.label_errors is not None
    assert (done.label_errors.wrong, done.label_errors.errors.n, done.label_errors.errors.value) == (1, 2, 0.5)


def test_a_killed_process_leaves_no_half_file(tmp_path):
    """Killed while it writes: the name holds what it held, or nothing."""
    scores = tmp_path / "scores.jsonl"
    scores.write_text(
        "".join(f'{{"id":"s{i:06}","a":{i % 997 / 1000},"b":{i % 89 / 89},"text":"{"x" * 200}"}}\n' for i in range(60_000))
    )
    out, part = tmp_path / "hard.json", tmp_path / "hard.json.part"
    words = [sys.executable, "-m", "guardeval", "mine", str(scores), "--top", "1", "-o", str(out)]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while child.poll() is None and not (part.exists() and part.stat().st_size):
        time.sleep(0.002)
    child.kill()
    child.wait()
    assert child.returncode == -9, "it was quicker than this test"
    assert not out.exists()
