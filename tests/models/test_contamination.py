"""A model that has seen rows of a benchmark: samples marked, the clean subset scored beside, wherever numbers are shown."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import orjson
import pytest
import yaml
from guard_support import made_up, train_guard, write_task
from hypothesis import given
from hypothesis import strategies as st

import guardeval
from guardeval.combine import combine_runs
from guardeval.compare_runs import compare_runs
from guardeval.contamination import Contact, Marker, Seen, contamination_notice
from guardeval.data import Target
from guardeval.errors import ConfigError
from guardeval.exposure import Exposure, normalised
from guardeval.judged import Judgements
from guardeval.model_folder import parent_of
from guardeval.report.comparison import comparison_tables
from guardeval.report.html import html_report
from guardeval.report.markdown import markdown
from guardeval.report.terminal import report_text
from guardeval.rescore import rescore
from guardeval.runs import open_run
from guardeval.scorers.classification import Classification
from guardeval.scoring import GroupSpec, group_results, score_task
from guardeval.testing.builders import a_judged, a_sample
from guardeval.training_rows import Trace, read_training_file, write_training_file

pytest.importorskip("sklearn")
ROWS = made_up(80)
NOISY = [(text, label ^ (i % 5 == 0)) for i, (text, label) in enumerate(ROWS)]  # so that nobody is right everywhere
TRAINED, UNSEEN = NOISY[:60], NOISY[40:]  # 20 of the 40 benchmark rows were trained on


@pytest.fixture(scope="module")
def guard(tmp_path_factory) -> Path:
    return train_guard(TRAINED, tmp_path_factory.mktemp("trained") / "guard")


def run(guard, asked, **settings):
    return guardeval.run(model=str(guard), no_cache=True, **asked, **settings)


def clean_of(found, task="mine"):
    return found.results["results"][task]["contamination"]


def samples_of(folder):
    return [orjson.loads(line) for line in next(Path(folder).glob("samples_*.jsonl")).read_bytes().splitlines()]


def test_the_clean_subset_scores_as_a_run_on_just_the_clean_rows(desk, guard):
    found = run(guard, write_task(desk / "all", UNSEEN))
    alone = run(guard, write_task(desk / "clean", UNSEEN[20:]))
    told = clean_of(found)
    assert (told["samples"], told["share"], told["clean"]["sample_len"]) == (20, 0.5, 20)
    assert found.results["configs"]["mine"]["marks"] == ["contaminated"]
    only = alone.results["results"]["mine"]
    assert "contamination" not in only and alone.results["configs"]["mine"]["marks"] == []
    timed = ("latency", "tokens_per_second", "cached")
    compared = [k for k in only if "," in k and not k.startswith(timed)]
    assert len(compared) > 20
    for key in compared:
        assert told["clean"][key] == pytest.approx(only[key], nan_ok=True), key
    assert told["clean"]["accuracy,strict"] != found.results["results"]["mine"]["accuracy,strict"]


def test_table_markdown_json_and_page_all_say_so(desk, guard):
    found = run(guard, write_task(desk / "all", UNSEEN))
    results, clean = json.loads(next(found.path.glob("results_*.json")).read_bytes()), clean_of(found)["clean"]
    value = f"{clean['accuracy,strict']:.3f}"
    assert results["results"]["mine"]["contamination"]["clean"]["accuracy,strict"] == clean["accuracy,strict"]
    shown = {
        "text": report_text([results], ["a run"]),
        "markdown": markdown([results], ["a run"]),
        "page": " ".join(re.sub(r"<[^>]+>", " ", html_report([found.path])).split()),
    }
    for kind, text in shown.items():
        assert "marked: contaminated" in text, kind
        assert "contaminated: the model has seen 20 of 40 prompts in training" in text, kind
        assert "clean subset (strict)" in text, kind
        assert re.search(rf"accuracy\W+[\d.]+ \[[\d., ]+\]\W+{re.escape(value)} \[", text), kind
    assert "clean subset" in report_text([results, results], ["one", "two"]).partition("mine (")[0]  # the summary of several


def test_samples_are_marked_and_the_mark_outlives_redaction_scoring_and_combining(desk, guard):
    asked = write_task(desk / "all", UNSEEN)
    found = run(guard, asked, redact=True)
    lines = samples_of(found.path)
    assert [line["guardeval"].get("seen", False) for line in lines] == [True] * 20 + [False] * 20
    assert "steal" not in json.dumps(lines)
    before = clean_of(found)
    again = rescore(found.path)["results"]["mine"]["contamination"]["clean"]
    assert again.keys() == before["clean"].keys() and again["f1,strict"] == before["clean"]["f1,strict"]
    appended = rescore(found.path, ["ranking"], append=True)["results"]["mine"]["contamination"]["clean"]
    assert {"accuracy,strict", "auroc,parsed"} <= set(appended)

    other = guardeval.run(model="embedded/nb", no_cache=True, **asked)
    made = combine_runs([other.path, found.path])  # the first run's samples are not marked, the second's are
    assert made.results["results"]["mine"]["contamination"]["samples"] == 20
    assert made.results["configs"]["mine"]["marks"] == ["contaminated"]
    (said,) = [n for n in made.results["notices"] if "contaminated" in n]
    assert "/guard has seen 20 of 40 prompts" in said
    unseen = [line["guardeval"]["id"] for line in lines[20:]]
    half = combine_runs([other.path, found.path], samples=unseen)
    assert "contamination" not in half.results["results"]["mine"]
    assert half.results["configs"]["mine"]["marks"] == ["subset"]


def test_a_member_of_an_ensemble_contaminates_it(desk, guard):
    made = guardeval.run(
        solver="ensemble", model=["embedded/word", str(guard), "dummy"], no_cache=True, **write_task(desk / "all", UNSEEN)
    )
    told = clean_of(made)
    assert (told["samples"], told["clean"]["sample_len"]) == (20, 20)
    (said,) = [n for n in made.results["notices"] if "contaminated" in n]
    assert "/guard has seen" in said and "embedded" not in said
    exposure = made.results["config"]["exposure"]
    assert next(v for k, v in exposure.items() if k.endswith("/guard"))["prompts"] == 60
    assert exposure["dummy"] == "what it has seen is not known"


def test_runs_are_compared_on_the_clean_subset_too(desk, guard):
    asked = write_task(desk / "all", UNSEEN)
    one, two = guardeval.run(model="embedded/nb", no_cache=True, **asked), run(guard, asked)
    found = compare_runs([one.path, two.path])
    assert any("contaminated" in n for n in found.notices)
    (task,) = found.tasks
    assert (task.seen, task.comparison.pairs[0].n, task.clean.pairs[0].n) == (20, 40, 20)
    assert found.as_dict()["tasks"]["mine"]["contamination"]["clean"]["pairs"][0]["n"] == 20
    titles = [t.title for t in comparison_tables(found)]
    assert any("clean subset" in t for t in titles)
    clean = compare_runs(
        [guardeval.run(model=m, no_cache=True, **write_task(desk / "c", UNSEEN[20:])).path for m in ("embedded/nb", str(guard))]
    )
    for mine, theirs in zip(task.clean.pairs[0].differences, clean.tasks[0].comparison.pairs[0].differences, strict=True):
        assert mine.difference == pytest.approx(theirs.difference, nan_ok=True)


def test_where_everything_was_seen_the_clean_score_is_undefined(desk, guard):
    found = run(guard, write_task(desk / "all", TRAINED))
    told = clean_of(found)
    assert told["share"] == 1.0 and told["clean"]["sample_len"] == 0
    assert math.isnan(told["clean"]["f1,strict"]) and told["clean"]["f1_n,strict"] == 0
    text = report_text([found.results], ["run"])
    assert re.search(r"accuracy +[\d.]+ \[[\d., ]+\] +n/a", text) and "no sample is clean" in " ".join(text.split())
    (task,) = compare_runs([found.path, run("embedded/nb", write_task(desk / "all", TRAINED)).path]).tasks
    assert task.clean is None and task.seen == 60


def test_layout_and_case_do_not_hide_a_seen_prompt(desk, guard):
    rows = [(f"  {text.upper()}!\n", label) for text, label in UNSEEN]
    assert clean_of(run(guard, write_task(desk / "shouted", rows)))["samples"] == 20


def with_card(folder: Path, **changes) -> Path:
    path = folder / "guardeval-model.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
    return folder


def traces(tmp_path, rows, **about):
    made = [
        Trace(a_sample(prompt=text, id=str(i), index=i, labels={Target.PROMPT: label}), Target.PROMPT, label, about=about)
        for i, (text, label) in enumerate(rows)
    ]
    return write_training_file(tmp_path / "traces.json", made)


def test_traces_of_a_test_task_mark_it_even_where_no_prompt_matches(desk, cli_main):
    path = traces(desk, made_up(60, seed=3), contaminated_with=["mine"])
    assert cli_main("train", "linear", "--data", path, "--out", "guard", "-T", "sources=", "--bits", "12") == 0
    assert yaml.safe_load(Path("guard/guardeval-model.yaml").read_text())["data"]["contaminated_with"] == ["mine"]
    found = run("./guard", write_task(desk / "mine", UNSEEN))
    assert found.results["configs"]["mine"]["marks"] == ["contaminated"]
    told = clean_of(found)
    assert told["samples"] == 0 and told["clean"]["sample_len"] == 0 and math.isnan(told["clean"]["f1,strict"])
    assert any(
        "trained on rows made from this benchmark" in n and "none counts as clean" in n for n in found.results["notices"]
    )
    again = rescore(found.path)["results"]["mine"]["contamination"]
    assert again["clean"]["sample_len"] == 0
    other = run("./guard", write_task(desk / "other", UNSEEN, name="other"))
    assert other.results["configs"]["other"]["marks"] == []
    assert parent_of(Path("guard"))["contaminated_with"] == ["mine"]  # so that what is made of it says so, too


def test_seeds_of_synthetic_rows_count_as_seen(desk, cli_main):
    seeds = [{"id": "s", "prompt": f} for f in Exposure.of(t for t, _ in UNSEEN[:5]).prompts]
    path = traces(desk, made_up(60, seed=3), seeds=seeds, kind="synthetic")
    assert read_training_file(path).as_samples().exposure.holds(UNSEEN[0][0])
    assert cli_main("train", "linear", "--data", path, "--out", "guard", "-T", "sources=", "--bits", "12") == 0
    assert clean_of(run("./guard", write_task(desk / "mine", UNSEEN)))["samples"] == 5


def test_a_parents_card_passes_contamination_on(desk, guard):
    card = {"backend": "dummy", "parent": {"name": "x", "contaminated_with": ["mine"]}}
    folder = desk / "child"
    folder.mkdir()
    (folder / "guardeval-model.yaml").write_text(yaml.safe_dump(card))
    assert run("./child", write_task(desk / "mine", UNSEEN)).results["configs"]["mine"]["marks"] == ["contaminated"]


def test_fingerprints_that_are_missing_or_not_the_cards_stop_the_run(desk):
    guard = train_guard(ROWS[:40], desk / "guard")
    seen = guard / "seen_prompts.bin"
    seen.write_bytes(seen.read_bytes()[8:])
    with pytest.raises(ConfigError, match=r"is not what guardeval-model\.yaml names"):
        run(guard, write_task(desk / "mine", UNSEEN))
    seen.unlink()
    with pytest.raises(ConfigError, match="what the model has seen is not known"):
        run(guard, write_task(desk / "mine", UNSEEN))


def test_an_unknown_past_is_said_in_the_file_and_nowhere_else(desk):
    found = run("dummy", write_task(desk / "mine", UNSEEN))
    assert found.results["config"]["exposure"] == {"dummy": "what it has seen is not known"}
    assert "known" not in report_text([found.results], ["run"]) and not samples_of(found.path)[0]["guardeval"].get("seen")


def test_the_shipped_guards_say_what_they_have_seen(desk):
    found = run("embedded/char", {"task": "wildguard", "data": "sample"})
    assert found.results["config"]["exposure"]["embedded/char"]["prompts"] == 3824
    assert found.results["configs"]["wildguard"]["marks"] == ["sample rows"]


def test_prompts_without_a_word_are_told_apart():
    seen = Exposure.of(["\U0001f600 !", "Hello, world"])
    assert seen.holds("\U0001f600 !\n") and not seen.holds("\U0001f52b") and not seen.holds("") and seen.holds("hello WORLD!!")


def test_columns_keep_the_mark():
    judged = [a_judged(True, True, i) for i in range(4)]
    judged[2].seen = True
    columns = Judgements.of(judged)
    assert columns.seen.tolist() == [0, 0, 1, 0] and columns.take([2, 0]).seen.tolist() == [1, 0]


def test_clean_scores_by_hand():
    """Four samples, two seen: right, right; unseen: right, wrong. Accuracy 3/4 in all, 1/2 on the clean ones."""
    judged = [a_judged(True, True, 0), a_judged(False, False, 1), a_judged(True, True, 2), a_judged(True, False, 3)]
    for one in judged[:2]:
        one.seen = True
    metrics, _ = score_task(Judgements.of(judged), {"classification": Classification()})
    assert metrics["accuracy,strict"] == 0.75
    assert metrics["contamination"]["clean"]["accuracy,strict"] == 0.5 and metrics["contamination"]["samples"] == 2


def test_groups_average_the_clean_subsets_beside():
    """Task a: 0.9 of 100, clean 0.5 of 50; task b: 0.7 of 100, nothing seen: 0.8 in all, clean (0.5·50 + 0.7·100) / 150."""
    a = {
        "sample_len": 100,
        "target": "t",
        "accuracy,strict": 0.9,
        "contamination": {"clean": {"sample_len": 50, "accuracy,strict": 0.5}},
    }
    b = {"sample_len": 100, "target": "t", "accuracy,strict": 0.7}
    row = group_results([GroupSpec("g", "G", ("a", "b"), {})], {"a": a, "b": b})["g"]
    assert row["accuracy,strict"] == pytest.approx(0.8) and row["contamination"]["tasks"] == ["a"]
    assert row["contamination"]["clean"]["accuracy,strict"] == pytest.approx(95 / 150)
    assert row["contamination"]["clean"]["sample_len"] == 150


def test_who_has_seen_what_in_words():
    marker = Marker(
        "t", [("a", Seen(Exposure.of(["one", "two"]))), ("b", Seen(Exposure.of(["two"]), frozenset({"t"}))), ("c", None)]
    )
    assert [marker(a_sample(prompt=p)) for p in ("One.", "two", "three")] == [True, True, False]
    assert marker.contacts == (Contact("a", 2), Contact("b", 1, True))
    assert contamination_notice(marker.contacts, 2, 3, several=True) == (
        "contaminated: a, b have seen 2 of 3 prompts in training; b was trained on rows made from this benchmark; "
        "the clean subset holds the other 1"
    )
    assert contamination_notice((), 0, 3) == ""


def test_a_replayed_run_is_as_contaminated_as_the_model_was(desk, guard):
    asked = write_task(desk / "all", UNSEEN)
    found = guardeval.run(model=f"replay/{run(guard, asked).path}", no_cache=True, **asked)
    assert clean_of(found)["samples"] == 20 and found.results["configs"]["mine"]["marks"] == ["contaminated"]
    unmarked = guardeval.run(model=f"replay/{run('dummy', asked).path}", no_cache=True, **asked)
    assert list(unmarked.results["config"]["exposure"].values()) == ["what it has seen is not known"]


def test_old_run_folders_without_marks_still_open(desk, guard):
    found = run("dummy", write_task(desk / "mine", UNSEEN))
    (task,) = open_run(found.path).tasks
    assert not task.judgements().seen.any()


@given(st.text(alphabet=st.characters(max_codepoint=300), max_size=60))
def test_the_quick_way_to_words_is_the_same_as_the_plain_one(text):
    assert normalised(text) == " ".join(re.findall(r"\w+", text.lower()))
    assert normalised(text.encode("ascii", "replace").decode()) == normalised(
        text.encode("ascii", "replace").decode() + "\u2028"
    )
