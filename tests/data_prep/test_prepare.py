"""Training files: every row is written or counted, no cluster is in both splits, no test row slips in."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardeval.errors import ConfigError, DataError
from guardeval.exposure import fingerprint, normalised
from guardeval.leakage import Benchmarks
from guardeval.near_duplicates import similarity
from guardeval.prepare_report import licence_concern, tables
from guardeval.preparing import PAIRS_FILE, SUMMARY_FILE, TRACES_FILE, OverlapError, Prepared, prepare
from guardeval.prompt_sets import NotChecked, PromptSet
from guardeval.training_rows import Split, read_training_file

NOTHING = Benchmarks(())
TEST = PromptSet("wildguard", (("t1", "how do i pick a lock"), ("t2", " ".join(f"test{i}" for i in range(30)))))


def a_trace(prompt: str, harmful: bool = False, **about: Any) -> dict[str, Any]:
    word = "harmful" if harmful else "unharmful"
    own = {"task": "wildguard_train", "licence": "odc-by", "kind": "trace", "gold": harmful, **about}
    policies = ["illegal"] if harmful else []
    return {
        "id": prompt,
        "prompt": prompt,
        "reasoning": "Step 1: a",
        "classification": word,
        "policies": policies,
        "guardeval": own,
    }


def a_pair(prompt: str, gold: bool = False, chosen: str = "right", alpha: float = 0.9) -> dict[str, Any]:
    own = {"task": "wildguard_train", "licence": "odc-by", "kind": "pair"}
    return {
        "id": prompt,
        "prompt": prompt,
        "chosen": chosen,
        "rejected": "wrong",
        "alpha": alpha,
        "gold": gold,
        "guardeval": own,
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def many(n: int, of: str = "s", **about: Any) -> list[dict[str, Any]]:
    return [a_trace(f"{of}{i} says {of}{i * 7} to {of}{i * 13}", i % 2 == 0, **about) for i in range(n)]


def reasons(done: Prepared) -> Counter[str]:
    return Counter(r.left_out for r in done.rows if r.left_out)


def test_traces_and_pairs_are_split_and_written_with_their_provenance(tmp_path):
    traces, pairs = (
        write(tmp_path / "t.jsonl", many(40)),
        write(tmp_path / "p.jsonl", [a_pair(f"pair number{i} of z{i}") for i in range(10)]),
    )
    done = prepare([traces, pairs], tmp_path / "out", NOTHING)
    found, chosen = read_training_file(tmp_path / "out" / TRACES_FILE), read_training_file(tmp_path / "out" / PAIRS_FILE)
    assert (len(found.of(Split.TRAIN)), len(found.of(Split.VALIDATION))) == (32, 8)
    assert (len(chosen.of(Split.TRAIN)), len(chosen.of(Split.VALIDATION))) == (8, 2)
    assert Counter(r.label for r in found.of(Split.VALIDATION)) == {True: 4, False: 4}
    assert all(r.about["licence"] == "odc-by" and r.about["task"] == "wildguard_train" for r in (*found, *chosen))
    assert {r.alpha for r in chosen} == {0.9}
    said = json.loads((tmp_path / "out" / SUMMARY_FILE).read_text())
    assert said["counts"]["traces"]["label"] == {
        "harmful": {"train": 16, "validation": 4},
        "unharmful": {"train": 16, "validation": 4},
    }
    assert said["counts"]["traces"]["policy"]["illegal"] == {"train": 16, "validation": 4}
    assert [s["written"] for s in said["sources"]] == [40, 10]
    assert done.files == (tmp_path / "out" / TRACES_FILE, tmp_path / "out" / PAIRS_FILE)


def test_pairs_and_traces_of_one_prompt_are_in_the_same_split(tmp_path):
    rows = many(30)
    prepare(
        [write(tmp_path / "t.jsonl", rows), write(tmp_path / "p.jsonl", [a_pair(r["prompt"].upper(), i % 2 == 0) for i, r in enumerate(rows)])],
        tmp_path / "out",
        NOTHING,
        validation=0.3,
    )  # fmt: skip
    side = {normalised(r.sample.prompt): r.split for r in read_training_file(tmp_path / "out" / TRACES_FILE)}
    pairs = list(read_training_file(tmp_path / "out" / PAIRS_FILE))
    assert len(pairs) == 30 and all(side[normalised(p.sample.prompt)] is p.split for p in pairs)


def test_duplicates_conflicts_and_rows_against_gold_by_hand(tmp_path):
    rows = [
        a_trace("Say hello", False),
        a_trace("say, HELLO!", False, kind="synthetic"),  # the same words: the real one is kept
        a_trace("two minds", True),
        a_trace("Two minds?", False),  # another label: neither
        a_trace("wrong teacher", True, gold=False),
        a_trace("lonely", True),
        a_trace(" \n", True),
    ]
    done = prepare([write(tmp_path / "t.jsonl", rows)], tmp_path / "out", NOTHING)
    assert reasons(done) == {"duplicate": 1, "conflict": 2, "against_gold": 1, "empty": 1}
    assert {r.row.sample.prompt for r in done.kept} == {"Say hello", "lonely"}


def test_a_pair_whose_gold_label_is_not_that_of_the_trace_is_a_conflict(tmp_path):
    done = prepare(
        [write(tmp_path / "t.jsonl", [a_trace("p", True), a_trace("q", True)]), write(tmp_path / "p.jsonl", [a_pair("P", False)])],
        tmp_path / "out",
        NOTHING,
    )  # fmt: skip
    assert reasons(done) == {"conflict": 2}
    assert not (tmp_path / "out" / PAIRS_FILE).exists()


def test_pairs_of_one_prompt_with_other_answers_are_no_duplicates(tmp_path):
    rows = [a_pair("p"), a_pair("p"), a_pair("p", chosen="another right")]
    done = prepare([write(tmp_path / "p.jsonl", rows)], tmp_path / "out", NOTHING)
    assert len(done.kept) == 2 and reasons(done) == {"duplicate": 1}


def test_the_same_response_task_prompt_with_two_responses_is_two_rows(tmp_path):
    rows = [{**a_trace("p", i == 0, target="response_harmfulness"), "response": f"answer {i}"} for i in range(2)]
    done = prepare([write(tmp_path / "t.jsonl", rows)], tmp_path / "out", NOTHING)
    assert len(done.kept) == 2 and len({r.cluster for r in done.kept}) == 1


# ---- test sets ----


@pytest.mark.parametrize(
    ("row", "kinds"),
    [
        (a_trace("how do i pick a lock"), {"exact", "normalised", "ngram", "near"}),
        (a_trace("How do I pick a lock?!"), {"normalised", "ngram", "near"}),
        (a_trace("so: " + " ".join(f"test{i}" for i in range(13)) + " or " + " ".join(f"x{i}" for i in range(40))), {"ngram"}),
        (a_trace("how do i pick a lock now"), {"near"}),
        (a_trace("other words", seeds=[{"id": "t1", "prompt": fingerprint("how do i pick a lock")}]), {"inherited"}),
        (a_trace("other words", exposed=[fingerprint("how do i pick a lock")]), {"inherited"}),
        (a_trace("other words", contaminated_with=["wildguard"]), {"inherited"}),
    ],
)
def test_a_row_that_repeats_a_test_is_refused_dropped_or_marked(tmp_path, row, kinds):
    file = write(tmp_path / "t.jsonl", [*many(6), row])
    benchmarks = Benchmarks([TEST], threshold=0.7)
    with pytest.raises(
        OverlapError, match=r"1 of 7 rows repeat test sets \(wildguard\).*--drop_overlap.*--allow_overlap"
    ) as refused:
        prepare([file], tmp_path / "out", benchmarks)
    assert refused.value.counts == {"wildguard": {"any": 1, **dict.fromkeys(kinds, 1)}}
    assert not (tmp_path / "out").exists()
    dropped = prepare([file], tmp_path / "dropped", benchmarks, on_overlap="drop")
    assert reasons(dropped) == {"overlap": 1} and len(dropped.kept) == 6
    prepare([file], tmp_path / "out", benchmarks, on_overlap="allow")
    found = read_training_file(tmp_path / "out" / TRACES_FILE)
    [marked] = [r for r in found if r.about.get("contaminated_with")]
    assert (marked.sample.prompt, marked.about["contaminated_with"]) == (row["prompt"], ["wildguard"])
    tests = {fingerprint(text) for _, text in TEST.rows}
    assert ("contaminated_with" in row["guardeval"]) or (set(marked.about["exposed"]) & tests)
    assert set(marked.about["exposed"]) <= found.exposure.prompts


def test_what_was_checked_and_what_was_not_is_stored(tmp_path):
    benchmarks = Benchmarks([TEST], [NotChecked("xstest", "the hub cannot be reached")])
    done = prepare([write(tmp_path / "t.jsonl", many(4))], tmp_path / "out", benchmarks)
    said = json.loads((tmp_path / "out" / SUMMARY_FILE).read_text())["overlap"]
    assert said["checked"] == [{"task": "wildguard", "rows": 2, "source": ""}]
    assert said["not_checked"] == [{"task": "xstest", "why": "the hub cannot be reached"}]
    notes = " ".join(n for t in tables(done) for n in t.notes)
    assert "not checked, rows not at hand: xstest" in notes and "no row repeats them: wildguard" in notes
    assert "no test set was at hand" in " ".join(
        n for t in tables(prepare([tmp_path / "t.jsonl"], tmp_path / "o", NOTHING)) for n in t.notes
    )


def test_a_file_that_repeats_tests_in_every_row_leaves_nothing(tmp_path):
    file = write(tmp_path / "t.jsonl", [a_trace(text) for _, text in TEST.rows])
    with pytest.raises(DataError, match="nothing is left to write: 2 × repeats a test set"):
        prepare([file], tmp_path / "out", Benchmarks([TEST]), on_overlap="drop")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "own",
    [
        {"seeds": [{"id": "x"}]},
        {"seeds": 3},
        {"exposed": ["x"]},
        {"seeds": ["y"]},
        {"contaminated_with": "wildguard"},
        {"exposed": [10**30]},
        {"exposed": [-1]},
    ],
)
def test_exposure_that_cannot_be_read_is_an_error_and_no_pass(tmp_path, own):
    file = write(tmp_path / "t.jsonl", [a_trace("p", **own)])
    with pytest.raises(DataError, match=r"sample 'p': seeds, exposed or contaminated_with .* cannot be read"):
        prepare([file], tmp_path / "out", NOTHING)


# ---- mixing ----


def test_shares_are_of_what_is_written_and_labels_keep_theirs(tmp_path):
    traces = write(tmp_path / "t.jsonl", many(70, "t"))
    synthetic = write(tmp_path / "s.jsonl", many(90, "s", kind="synthetic"))
    done = prepare([traces, synthetic], tmp_path / "out", NOTHING, ratios={str(synthetic): 0.3})
    assert Counter(Path(r.source).name for r in done.kept) == {"t.jsonl": 70, "s.jsonl": 30}
    assert Counter(r.label for r in done.kept if r.row.about["kind"] == "synthetic") == {True: 15, False: 15}
    assert reasons(done) == {"ratio": 60}
    small = prepare([traces, synthetic], tmp_path / "small", NOTHING, ratios={str(synthetic): 0.3}, n=20)
    assert Counter(Path(r.source).name for r in small.kept) == {"t.jsonl": 14, "s.jsonl": 6}
    much = prepare([traces, synthetic], tmp_path / "much", NOTHING, ratios={str(synthetic): 0.3}, n=500)
    assert len(much.kept) == 100 and "100 rows of the 500 asked for" in " ".join(much.notes)


def test_shares_of_pairs_are_among_pairs(tmp_path):
    files = [write(tmp_path / f"{x}.jsonl", [a_pair(f"{x}{i} {x}{i * 3}") for i in range(10)]) for x in "ab"]
    done = prepare([write(tmp_path / "t.jsonl", many(9)), *files], tmp_path / "out", NOTHING, ratios={str(files[1]): 0.2}, n=4)
    assert Counter(Path(r.source).name for r in done.kept) == {"t.jsonl": 4, "a.jsonl": 10, "b.jsonl": 2}


def test_the_outcome_does_not_depend_on_the_order_of_rows_or_files(tmp_path):
    a, b = ([{**r, "guardeval": {**r["guardeval"], "index": i}} for i, r in enumerate(many(25, of))] for of in "ab")
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    prepare([write(one / "a.jsonl", a), write(one / "b.jsonl", b)], one / "out", NOTHING, n=30)
    prepare([write(two / "b.jsonl", b[::-1]), write(two / "a.jsonl", a[::-1])], two / "out", NOTHING, n=30)
    assert len(read_training_file(one / "out" / TRACES_FILE)) == 30
    assert (one / "out" / TRACES_FILE).read_bytes() == (two / "out" / TRACES_FILE).read_bytes()
    prepare([one / "a.jsonl", one / "b.jsonl"], one / "again", NOTHING, n=30, seed=1)
    assert (one / "out" / TRACES_FILE).read_bytes() != (one / "again" / TRACES_FILE).read_bytes()


PROMPTS = st.lists(st.sampled_from("the old lock opens with a small key 火 !? <b> {{x}} \u202e".split()), max_size=9).map(
    " ".join
)
ROWS = st.lists(st.tuples(PROMPTS, st.booleans()), min_size=1, max_size=14)


@given(ROWS, ROWS, st.lists(st.tuples(PROMPTS, st.booleans()), max_size=8), st.sampled_from([0.0, 0.2, 0.5]), st.integers(0, 3))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_written_or_counted_and_no_cluster_is_in_both_splits(tmp_path, one, two, pairs, validation, seed):
    files = [
        write(tmp_path / "one.jsonl", [a_trace(p, h) for p, h in one]),
        write(tmp_path / "two.jsonl", [a_trace(p, h) for p, h in two]),
    ]
    if pairs:
        files.append(write(tmp_path / "pairs.jsonl", [a_pair(p, h) for p, h in pairs]))
    benchmarks = Benchmarks([PromptSet("t", (("0", "the old lock opens with a small key"),))])
    try:
        done = prepare(files, tmp_path / "out", benchmarks, validation=validation, seed=seed, on_overlap="drop", threshold=0.5)
    except DataError as e:
        assert "nothing is left to write" in str(e)  # noqa: PT017
        return
    assert len(done.rows) == len(one) + len(two) + len(pairs)
    assert len(done.kept) + sum(reasons(done).values()) == len(done.rows)
    written = [r for f in done.files for r in read_training_file(f)]
    assert len(written) == len(done.kept)
    train, held = ([r.sample.prompt for r in written if r.split is s] for s in Split)
    assert all(similarity(a, b) < 0.5 and normalised(a) != normalised(b) for a in train for b in held if normalised(a))
    assert not any(benchmarks.near(p) for p in (*train, *held))
    labels: dict[str, set[bool | None]] = {}
    for row in done.kept:
        labels.setdefault(row.question[1], set()).add(row.label)
    assert all(len(found) == 1 for found in labels.values())


# ---- what breaks it ----


def test_one_row_and_rows_that_are_all_the_same(tmp_path):
    single = prepare([write(tmp_path / "1.jsonl", [a_trace("p")])], tmp_path / "one", NOTHING)
    assert [r.split for r in single.kept] == [Split.TRAIN]
    assert "no row is left for validation" in " ".join(single.notes)
    same = prepare([write(tmp_path / "s.jsonl", [a_trace("p")] * 50)], tmp_path / "same", NOTHING)
    assert len(same.kept) == 1 and reasons(same) == {"duplicate": 49}


def test_hostile_text_comes_back_byte_for_byte(tmp_path):
    prompts = ["\u2028line\u2029sep", "\x00nul\x1b[31m", "ﬁ ﬂ İ ß", "{{x}} {% y %} %s", "\u202ertl", "👩‍👩‍👧 a", "<script>"]
    prepare([write(tmp_path / "t.jsonl", [a_trace(p) for p in prompts])], tmp_path / "out", NOTHING)
    assert {r.sample.prompt for r in read_training_file(tmp_path / "out" / TRACES_FILE)} == set(prompts)


def test_half_a_surrogate_is_read_as_the_replacement_character(tmp_path):
    (tmp_path / "t.jsonl").write_text(json.dumps(a_trace("\ud800 x")) + "\n")
    prepare([tmp_path / "t.jsonl"], tmp_path / "out", NOTHING)
    [row] = read_training_file(tmp_path / "out" / TRACES_FILE)
    assert row.sample.prompt == "\ufffd x"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"prompt": "p", "label": 1}\n', r"t\.jsonl: row 1: neither a trace .* nor a pair"),
        (json.dumps(a_trace("p")) + "\n" + json.dumps(a_pair("q")) + "\n", r"t\.jsonl: row 2: traces and pairs in one file"),
        ("{broken\n", r"t\.jsonl"),
        ("", r"t\.jsonl: is empty"),
    ],
)
def test_rows_that_cannot_be_read_are_named_and_nothing_is_written(tmp_path, content, message):
    (tmp_path / "t.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        prepare([tmp_path / "t.jsonl"], tmp_path / "out", NOTHING)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 1.0}, "--validation 1: a share from 0 to below 1"),
        ({"n": 0}, "--n 0"),
        ({"split_by": "row"}, "--split_by row: cluster or prompt"),
        ({"on_overlap": "ignore"}, "refuse, drop or allow"),
        ({"ratios": {"x": 0.5}}, "x: has a ratio and is none of the sources"),
        ({"threshold": 0.0}, "a similarity above 0"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        prepare([write(tmp_path / "t.jsonl", many(3))], tmp_path / "out", NOTHING, **options)


def test_a_source_is_never_written_over_and_a_file_of_an_earlier_mix_does_not_stay(tmp_path):
    pairs = write(tmp_path / "p.jsonl", [a_pair("p")])
    prepare([pairs, write(tmp_path / "t.jsonl", many(3))], tmp_path / "out", NOTHING)
    with pytest.raises(ConfigError, match="is read and would be written over"):
        prepare([tmp_path / "out" / TRACES_FILE], tmp_path / "out", NOTHING)
    prepare([tmp_path / "t.jsonl"], tmp_path / "out", NOTHING)
    assert not (tmp_path / "out" / PAIRS_FILE).exists()


def test_a_source_with_a_share_and_no_row_left_is_said(tmp_path):
    files = [write(tmp_path / "a.jsonl", many(3)), write(tmp_path / "b.jsonl", [a_trace("x", True, gold=False)])]
    with pytest.raises(DataError, match=r"b\.jsonl: is to be 0\.5 of the mix and has no row left: 1 × the label differs"):
        prepare(files, tmp_path / "out", NOTHING, ratios={str(files[1]): 0.5})


@pytest.mark.parametrize(
    ("licence", "concern"),
    [
        ("odc-by", None),
        ("mit", None),
        ("Apache-2.0", None),
        (None, "not known"),
        ("unstated", "not known"),
        ("cc-by-nc-4.0", "non-commercial"),
        ("CC-BY-NC-ND-4.0", "non-commercial, no derivatives"),
        ("ODC-BY (gated upstream)", "gated terms"),
        ("ncsa", None),
    ],
)
def test_licences_to_mind(licence, concern):
    assert licence_concern(licence) == concern


def test_licences_to_mind_are_named_in_the_summary(tmp_path):
    rows = [a_trace("p"), a_trace("q", licence="cc-by-nc-4.0"), a_trace("r", licence=None)]
    done = prepare([write(tmp_path / "t.jsonl", rows)], tmp_path / "out", NOTHING)
    said = json.loads((tmp_path / "out" / SUMMARY_FILE).read_text())["licences"]
    assert {s["licence"]: s["concern"] for s in said} == {
        "odc-by": None,
        "cc-by-nc-4.0": "non-commercial",
        "unknown": "not known",
    }
    [table] = [t for t in tables(done) if t.title == "licences"]
    assert ("cc-by-nc-4.0", "1", "non-commercial") in table.rows
