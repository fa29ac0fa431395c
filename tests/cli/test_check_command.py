"""``guardeval check``: a baseline written and held, worse models failed, what does not belong together refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import yaml
from guard_support import made_up, train_guard

import guardeval
from guardeval.cli import main
from guardeval.gates import GateSettings, check
from guardeval.gates.baseline import open_baseline
from guardeval.gates.findings import Kind, Status

TASKS = "wildguard,toxicchat_human,simplesafetytests,openai_moderation"


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def run_of(work):
    """A run on sample rows; the same words give the same run."""
    done: dict[str, Path] = {}

    def run(model: str = "embedded/word", task: str = TASKS, **settings: object) -> Path:
        key = f"{model} {task} {settings}"
        if key not in done:
            options = {"data": "sample", "output_path": str(work / "runs"), "no_cache": True, **settings}
            done[key] = Path(guardeval.run(task=task, model=model, **options).path)
        return done[key]

    return run


@pytest.fixture(scope="module")
def worse(work) -> str:
    """A guard that has hardly seen anything harmful, and nothing like a benchmark: it passes nearly everything."""
    return str(train_guard([r for i, r in enumerate(made_up(120)) if i % 2 == 0 or i % 12 == 1], work / "worse"))


@pytest.fixture(scope="module")
def baseline(run_of, work) -> Path:
    file = work / "gate" / "baseline.json"
    assert main(["check", str(run_of()), "--baseline", str(file), "--write_baseline"]) == 0
    return file


@pytest.fixture
def copy_of(tmp_path):
    """A run folder to spoil: ``edit(old, new)`` in its run.yaml and samples files."""

    def copy(run: Path, *edits: tuple[str, str], file: str = "run.yaml") -> Path:
        folder = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(run, folder)
        for path in folder.glob(file):
            text = path.read_text()
            for old, new in edits:
                assert old in text
                text = text.replace(old, new)
            path.write_text(text)
        return folder

    return copy


def test_a_run_passes_its_own_baseline_and_so_does_a_rerun(cli, run_of, baseline):
    own = cli("check", run_of(), "--baseline", baseline)
    assert own.code == 0, own.out + own.err
    again = cli("check", run_of(seed=1), "--baseline", baseline)
    assert again.code == 0
    assert "sample rows, no benchmark: wildguard" in again.out


def test_a_worse_model_fails_with_what_it_lost(cli, run_of, baseline, worse, desk):
    said = cli(
        "check", run_of(worse), "--baseline", baseline, "--json", "gate.json", "--junit", "gate.xml", "--markdown", "gate.md"
    )
    assert said.code == 1
    assert "FAILED" in said.out
    assert all((desk / f).stat().st_size for f in ("gate.json", "gate.xml", "gate.md"))
    report = check([run_of(worse)], baseline)
    (lost,) = (f for f in report.findings if (f.task, f.metric, f.part) == ("simplesafetytests", "f1", ""))
    assert lost.status is Status.FAILED
    assert lost.adjusted <= 0.05
    assert "F1 falls from" in lost.message and "significantly worse" in lost.message


def test_what_is_compared_is_what_the_results_files_say(run_of, baseline):
    """Both sides' numbers, of tasks and policies, from packed verdicts as from the scorers."""
    runs = [run_of(), run_of("embedded/nb")]
    results = [json.loads(next(r.glob("results_*.json")).read_bytes())["results"] for r in runs]
    findings = check(
        [runs[1]], baseline, GateSettings(permutations=99, resamples=0, metrics=("f1", "overflagging", "accuracy", "mcc"))
    ).findings
    compared = 0
    for f in findings:
        key = f"{f.part.removeprefix('policy:')}/f1,strict" if f.part else f"{f.metric},strict"
        told = [r[f.task][key] for r in results]
        assert [f.baseline, f.current] == pytest.approx(told), f.name
        compared += 1
    assert compared > 20


@pytest.mark.parametrize("accounting", ["parsed", "fail_closed", "fail_open"])
def test_other_accountings_agree_with_the_results_files_too(run_of, accounting):
    run = run_of("embedded/nb")
    results = json.loads(next(run.glob("results_*.json")).read_bytes())["results"]
    settings = GateSettings(permutations=99, resamples=0, accounting=accounting, metrics=("f1", "recall"))
    for f in check([run], run_of(), settings).findings:
        key = f"{f.part.removeprefix('policy:')}/f1" if f.part else f.metric
        assert f.current == pytest.approx(results[f.task][f"{key},{accounting}"])


def test_a_baseline_is_small_and_holds_no_text_and_no_id(run_of, baseline):
    text = baseline.read_text()
    lines = [json.loads(line) for f in run_of().glob("samples_*.jsonl") for line in f.open()]
    assert baseline.stat().st_size < 150 * len(lines)
    for line in lines:
        doc = line["doc"]
        assert not any(
            isinstance(v, str) and len(v) > 12 and v in text for k, v in doc.items() if k in ("prompt", "text", "id")
        )
    assert str(run_of().parent) not in text


def test_an_older_baseline_is_replaced_and_what_changed_is_said(cli, run_of, baseline, desk):
    shutil.copy(baseline, desk / "b.json")
    same = cli("check", run_of(), "--baseline", "b.json", "--write_baseline")
    assert "replaced b.json" in same.out and "no task, model or headline number differs" in same.out
    other = cli("check", run_of("embedded/nb"), "--baseline", "b.json", "--write_baseline", "--task", "wildguard")
    assert other.code == 0
    assert "model: embedded/word → embedded/nb" in other.out
    assert "toxicchat_human: no longer there" in other.out
    assert "wildguard: f1 0.655 → " in other.out
    assert list(open_baseline("b.json").tasks) == ["wildguard"]
    assert cli("check", run_of("embedded/nb"), "--baseline", "b.json").code == 0


def test_only_a_baseline_is_written_over(cli, run_of, desk):
    (desk / "mine.json").write_text('{"kept": true}')
    said = cli("check", run_of(), "--baseline", "mine.json", "--write_baseline")
    assert said.code == 2 and "is no baseline" in said.err
    assert (desk / "mine.json").read_text() == '{"kept": true}'


def test_a_damaged_baseline_is_written_anew_through_its_link_and_a_read_only_one_kept(cli, run_of, baseline, desk):
    text = baseline.read_text()
    for damaged in (text[:3000], text.replace('"version": 1', '"version": 2', 1)):
        (desk / "kept.json").write_text(damaged)
        (desk / "b.json").unlink(missing_ok=True)
        (desk / "b.json").symlink_to("kept.json")
        said = cli("check", run_of(), "--baseline", "b.json", "--write_baseline")
        assert said.code == 0 and "replaced b.json" in said.out and "the older file could not be read" in said.out
        assert (desk / "b.json").is_symlink() and (desk / "kept.json").read_text() == text
    (desk / "kept.json").chmod(0o444)
    said = cli("check", run_of("embedded/nb"), "--baseline", "b.json", "--write_baseline")
    assert said.code == 2 and "b.json: is read-only" in said.err
    assert (desk / "kept.json").read_text() == text


def test_several_runs_of_one_model_cover_more_tasks(cli, run_of, desk):
    runs = [run_of(task=t) for t in ("wildguard", "toxicchat_human")]
    assert cli("check", *runs, "--baseline", "b.json", "--write_baseline").out.startswith("wrote b.json: 2 tasks, 92 samples")
    assert cli("check", *runs, "--baseline", "b.json").code == 0
    twice = cli("check", *runs, run_of(task="wildguard", seed=1), "--baseline", "b.json")
    assert twice.code == 2 and "stands in two of the runs" in twice.err
    two_models = cli("check", runs[0], run_of("embedded/nb", task="toxicchat_human"), "--baseline", "b.json")
    assert two_models.code == 2 and "a gate is passed by one model" in two_models.err


def test_tasks_that_were_not_run_are_no_pass(cli, run_of, baseline):
    part = run_of(task="wildguard")
    said = cli("check", part, "--baseline", baseline)
    assert said.code == 2 and "a gate that leaves tasks out is no gate" in said.err
    chosen = cli("check", part, "--baseline", baseline, "--task", "wildguard")
    assert chosen.code == 0 and "was not run" not in chosen.out
    allowed = cli("check", part, "--baseline", baseline, "--allow_partial")
    assert allowed.code == 0 and "toxicchat_human of the baseline was not run" in allowed.out


def test_a_subset_is_compared_only_where_parts_are_allowed(cli, run_of, baseline):
    some = run_of(task="wildguard", limit=40)
    said = cli("check", some, "--baseline", baseline, "--task", "wildguard")
    assert said.code == 2
    assert "the samples are not the same ones (56 labelled samples in the baseline, 40 in the run, 40 in both)" in said.err
    allowed = cli("check", some, "--baseline", baseline, "--task", "wildguard", "--allow_partial")
    assert allowed.code == 0 and "40 shared samples; 16 stand on one side only" in allowed.out


@pytest.mark.parametrize(
    ("file", "edit", "said"),
    [
        ("run.yaml", ("target: prompt_harmfulness", "target: response_harmfulness"), "target is 'prompt_harmfulness' in the baseline"),
        ("run.yaml", ("version: '1.0'", "version: '2.0'"), "task version is '1.0' in the baseline and '2.0' in the run"),
        ("run.yaml", ("      data:\n        kind: sample", "      data:\n        kind: file"), "data is 'sample sha256"),
        ("run.yaml", ("  - violence\n", "  - weapons\n"), "policies is 'hate_speech, harassment, violence"),
        ("run.yaml", ("  status: complete\n  policies", "  status: interrupted\n  policies"), "was interrupted"),
        ("samples_wildguard*", ('"target":"unharmful"', '"target":"harmful"'), "another label map or taxonomy"),
    ],
)  # fmt: skip
def test_another_cohort_is_refused(cli, run_of, baseline, copy_of, file, edit, said):
    spoilt = copy_of(run_of(task="wildguard"), edit, file=file)
    done = cli("check", spoilt, "--baseline", baseline, "--task", "wildguard")
    assert done.code == 2, done.out
    assert said in done.err


def test_other_labels_are_refused_of_parts_too(cli, run_of, baseline, copy_of):
    spoilt = copy_of(run_of(task="wildguard"), ('"target":"unharmful"', '"target":"harmful"'), file="samples_wildguard*")
    done = cli("check", spoilt, "--baseline", baseline, "--task", "wildguard", "--allow_partial")
    assert done.code == 2 and "have another prompt, gold label, policy or category" in done.err


def test_another_accounting_is_refused(cli, run_of, baseline):
    said = cli("check", run_of(), "--baseline", baseline, "--accounting", "parsed")
    assert said.code == 2 and "holds accounting 'strict', 'parsed' is asked for" in said.err


def test_a_training_split_is_refused(cli, run_of):
    run = run_of(task="toxicchat_train") if _has_samples("toxicchat_train") else run_of(task="aegis_train")
    said = cli("check", run, "--baseline", "b.json", "--write_baseline")
    assert said.code == 2 and "is a training split (tag guardeval_train)" in said.err


def _has_samples(task: str) -> bool:
    from guardeval.task import TaskIndex

    return TaskIndex().load(task).sample is not None


def test_the_budget_floors_and_ceilings_are_told_apart(run_of, baseline, worse):
    limits = {"floor": {"f1,wildguard": 0.99, "parse_rate": 0.5}, "ceiling": {"latency_p95": 1000, "cost_per_1000": 1}}
    settings = GateSettings.from_mapping({"in_family": "wildguard", **limits})
    report = check([run_of(worse)], baseline, settings)
    found = {f.name: f for f in report.findings if f.kind is not Kind.REGRESSION}
    assert found["budget · out of family · macro_f1,strict"].status is Status.FAILED
    assert found["floor · wildguard · f1,strict"].status is Status.FAILED
    assert found["floor · wildguard · parse_rate"].status is Status.PASSED
    assert found["ceiling · wildguard · latency_p95"].status is Status.PASSED
    assert found["ceiling · wildguard · latency_p95"].unit == "s"
    cost = found["ceiling · wildguard · cost_per_1000"]
    assert cost.status is Status.SKIPPED and "no cost is known of the run" in cost.message
    assert any(n.startswith("in family (as named): wildguard; out of family: toxicchat_human") for n in report.notes)


def test_stored_answers_hold_no_latency_ceiling(work, run_of):
    settings = {"data": "sample", "output_path": str(work / "runs"), "cache": str(work / "answers.sqlite")}
    runs = [Path(guardeval.run(task="wildguard", model="embedded", **settings).path) for _ in range(2)]
    limit = GateSettings.from_mapping({"ceiling": {"latency_p95": "1000x"}})
    first, second = (next(f for f in check([r], runs[0], limit).findings if f.kind is Kind.CEILING) for r in runs)
    assert first.status is Status.PASSED
    assert second.status is Status.SKIPPED and "0 of 56 answers of the run were timed by it" in second.message


def test_a_family_is_known_from_the_card_or_must_be_named(cli, run_of, baseline, worse, desk):
    said = cli("check", run_of(), "--baseline", baseline, "--in_family", "auto")
    assert said.code == 2 and "name the tasks, e.g. --in_family" in said.err
    folder = Path(shutil.copytree(worse, desk / "told"))
    card = folder / "guardeval-model.yaml"
    content = yaml.safe_load(card.read_text())
    content["data"]["sources"] = {"ToxicChatTrain": {"harmful": 1}}
    card.write_text(yaml.safe_dump(content))
    run = Path(
        guardeval.run(
            task="toxicchat_human,simplesafetytests", model=str(folder), data="sample", output_path="runs", no_cache=True
        ).path
    )
    told = cli("check", run, "--baseline", baseline, "--in_family", "auto", "--allow_partial")
    assert "in family (as runs and model card say): toxicchat_human; out of family: simplesafetytests" in told.out


def test_samples_seen_in_training_are_left_out(run_of, baseline, work):
    from guardeval.task import TaskIndex

    rows = [(s.prompt, bool(s.labels[t.target])) for t in [TaskIndex().load("wildguard")] for s in t.open("sample")]
    guard = str(train_guard(rows[:30] + made_up(60), work / "seen"))
    report = check([run_of(guard, task="wildguard")], baseline, GateSettings(task=("wildguard",)))
    assert any("30 of 56 samples were seen in training: the other 26 are compared" in n for n in report.notes)
    assert {f.n for f in report.findings if f.metric in ("f1", "coverage") and not f.part} == {26}


def test_gate_yaml_holds_what_flags_hold(cli, run_of, baseline, desk):
    (desk / "gate.yaml").write_text("floor: {f1: 0.2, 'f1,wildguard': 0.99}\npolicies: false\n")
    said = cli("check", run_of(), "--baseline", baseline, "--config", "gate.yaml")
    assert said.code == 1 and "below the floor of 0.99" in said.out
    assert cli("check", run_of(), "--baseline", baseline, "--config", "gate.yaml", "--floor", "f1,wildguard=0.5").code == 0


def test_a_key_that_stands_twice_in_gate_yaml_is_refused(cli, run_of, baseline, desk):
    (desk / "gate.yaml").write_text("floor: {f1: 0.99}\npolicies: false\nfloor: {f1: 0.2}\n")
    said = cli("check", run_of(), "--baseline", baseline, "--config", "gate.yaml")
    assert said.code == 2 and "gate.yaml:3: the key 'floor' stands here twice" in said.err


def test_a_floor_on_what_the_model_leaves_undefined_fails(cli, run_of, baseline):
    """A guard that flags nothing has no precision: a floor that it cannot be held to is not one that it keeps."""
    silent = run_of("dummy")
    report = check(
        [silent],
        baseline,
        GateSettings.from_mapping(
            {"floor": {"precision": 0.5}, "task": ["wildguard"], "metrics": ["coverage"], "policies": False}
        ),
    )
    (floor,) = (f for f in report.findings if f.kind is Kind.FLOOR)
    assert (floor.status, report.ok) == (Status.FAILED, False)
    assert floor.message.startswith(
        "precision is undefined: 0 flagged and 56 passed, of 56 samples, 30 of them positive; the baseline has 0."
    )
    assert floor.message.endswith("so the floor of 0.5 is not held")
    of_data = check(
        [silent], baseline, GateSettings.from_mapping({"floor": {"overflagging": 0.1}, "task": ["simplesafetytests"]})
    )
    (floor,) = (f for f in of_data.findings if f.kind is Kind.FLOOR)
    assert floor.status is Status.SKIPPED  # no row is negative, whoever is asked


def test_what_is_undefined_is_not_said_to_be_seen_from_a_size_on(run_of, baseline):
    report = check([run_of("dummy")], baseline, GateSettings(metrics=("precision",), policies=False, resamples=0))
    told = [f.message for f in report.findings if f.task == "wildguard"]
    assert told == ["not tested: precision is undefined: 56 samples, 30 of them positive"]


def test_a_policy_that_no_task_compared_has_is_noted_of_any_task_and_refused_of_one(cli, run_of, baseline):
    """One gate.yaml serves many sets of tasks; what it says of one task is meant for it."""
    words = ["check", run_of(), "--baseline", baseline, "--task", "wildguard", "--tolerance"]
    said = cli(*words, "f1,*,sexual_minors=0.1")
    assert said.code == 0 and "tolerance f1,*,sexual_minors: no task compared has a known positive of it" in " ".join(
        said.out.split()
    )
    assert "f1,wildguard,sexual_minors is not tested" in cli(*words, "f1,wildguard,sexual_minors=0.1").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--baseline FILE is wanted"),
        (["--baseline", "none.json"], "none.json: no such baseline; `guardeval check RUN --baseline none.json --write_baseline`"),
        (["--baseline", "."], "is neither a baseline nor a run folder"),
        (["--baseline", "B", "--floor", "f1"], "--floor 'f1': METRIC=NUMBER"),
        (["--baseline", "B", "--floor", "f1,wildgard=0.5"], "floor: 'wildgard' is no task of the baseline or the runs; did you mean 'wildguard'"),
        (["--baseline", "B", "--tolerance", "f1,wildguard,voilence=0.1"], "tolerance: 'voilence' is no policy or category of wildguard; did you mean 'violence'"),
        (["--baseline", "B", "--require_detectable", "f1,*,voilence=0.1"], "'voilence' is no policy or category of the tasks compared"),
        (["--baseline", "B", "--tolerance", "recall=0.02"], "tolerance: recall is not tested, so that nothing would be held; tested: f1, overflagging, coverage (metrics), f1 of policies (hate_speech, "),
        (["--baseline", "B", "--tolerance", "overflagging,wildguard,violence=0.1"], "tolerance: overflagging,wildguard,violence is not tested"),
        (["--baseline", "B", "--require_detectable", "coverage,wildguard,violence=.1"], "require_detectable: coverage,wildguard,violence is not tested"),
        (["--baseline", "B", "--no_policies", "--tolerance", "f1,wildguard,violence=0.1"], "tested of wildguard: f1, overflagging, coverage (metrics), no policy (no_policies)"),
        (["--baseline", "B", "--metrics", "recall", "--require_detectable", "f1=0.1"], "require_detectable: f1 is not tested"),
        (["--baseline", "B", "--tolerance", "accuracy,wildguard,benign=0.1"], "no category (without slices)"),
        (["--baseline", "B", "--slices", "--tolerance", "f1,wildguard,benign=0.1"], "f1,wildguard,benign is not tested, so that nothing would be held; tested of wildguard: f1"),
        (["--baseline", "B", "--in_family", "wildgard"], "in_family: 'wildgard' is no task"),
        (["--baseline", "B", "--task", "wildgard"], "holds no task 'wildgard'; did you mean 'wildguard'"),
        (["--baseline", "B", "--tolerance", "0.1.2"], "tolerance: f1: a number from 0 is wanted"),
        (["--baseline", "B", "--config", "none.yaml"], "none.yaml: no such file"),
        (["--baseline", "B", "--metrics", ","], "--metrics ',' is empty; give a value, or leave it out"),
        (["--baseline", "B", "--task", ","], "--task ',' is empty"),
        (["--baseline", "B", "--tolerance", "f1=2"], "tolerance: f1: a share below 1 is wanted, not '2': 0.02 for 2 points"),
        (["--baseline", "B", "--json", "."], "--json '.': is a folder; name a file in it"),
        (["--baseline", "B", "--markdown", "none/gate.md"], "--markdown 'none/gate.md': there is no folder none"),
    ],
)  # fmt: skip
def test_wrong_uses_are_explained(cli, run_of, baseline, words, said):
    done = cli("check", run_of(), *(str(baseline) if w == "B" else w for w in words))
    assert done.code == 2
    assert said in done.err


def test_a_damaged_baseline_is_found(cli, run_of, baseline, desk):
    record = json.loads(baseline.read_text())
    metrics = {**record["tasks"]["wildguard"], "metrics": {"f1": 0.5}}
    timed = {**record["tasks"]["wildguard"], "efforts": {**record["tasks"]["wildguard"]["efforts"], "timed": math.inf}}
    slow = {**record["tasks"]["wildguard"], "efforts": {**record["tasks"]["wildguard"]["efforts"], "latency_p95": math.inf}}
    spoilt = ({"wildguard": {}}, {"wildguard": metrics}, {"wildguard": timed}, {"wildguard": slow}, {})
    for spoil in ({"version": 99}, {"policies": None}, {"format": "other"}, *({"tasks": t} for t in spoilt)):
        (desk / "b.json").write_text(json.dumps({**record, **spoil}))
        said = cli("check", run_of(), "--baseline", "b.json")
        assert said.code == 2 and said.err.startswith("guardeval: b.json: ")


def test_in_an_action_annotations_and_a_summary_are_written(cli, run_of, baseline, worse, desk, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(desk / "summary.md"))
    (desk / "summary.md").write_text("of another step\n")
    said = cli("check", run_of(worse), "--baseline", baseline)
    assert said.code == 1 and "\n::error" in said.out
    assert (desk / "summary.md").read_text().startswith("of another step\n")
    assert "simplesafetytests" in (desk / "summary.md").read_text()


def test_the_gate_on_real_rows(shared_data, work, run_of, worse, cli, desk):
    rows = str(shared_data / "wildguard" / "wildguard_benchmark_six_policies.json.gz")
    base, bad, other = (run_of(m, task="wildguard", data=rows) for m in ("embedded/word", worse, "embedded/nb"))
    assert "1554 samples" in cli("check", base, "--baseline", "b.json", "--write_baseline").out
    assert cli("check", base, "--baseline", "b.json").code == 0
    assert cli("check", bad, "--baseline", "b.json").code == 1
    assert cli("check", other, "--baseline", "b.json", "--tolerance", "f1=0.03").code == 0
    mixed = cli("check", run_of(), "--baseline", "b.json", "--task", "wildguard")
    assert mixed.code == 2 and "data is 'file sha256" in mixed.err


def test_a_gate_that_could_decide_nothing_has_not_passed(cli, run_of, baseline):
    words = ["--task", "simplesafetytests", "--metrics", "overflagging", "--no_policies"]  # no row is negative
    code, out, _ = cli("check", str(run_of()), "--baseline", str(baseline), *words)
    assert (code, "undecided: 1 check, all skipped" in out) == (1, True), out
    file = str(run_of())
    code, out, err = cli("check", file, "--baseline", str(baseline), "--in_family", TASKS)
    assert code == 2
    assert "holds every task compared" in err
