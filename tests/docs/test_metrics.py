"""Metrics, keys and parts of a results file stand in the documentation as a run writes them; figures are what runs give."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pages import PAGES, names, page_text, prose, section, table

import guardeval
from guardeval.combine import combine_runs
from guardeval.data import Outcome, Target
from guardeval.metrics import METRICS
from guardeval.registry import Registry
from guardeval.report.tables import ACCOUNTINGS, cell


@pytest.fixture(scope="module")
def a_run(tmp_path_factory) -> guardeval.pipeline.Run:
    out = tmp_path_factory.mktemp("runs")
    return guardeval.run(task="wildguard", data="sample", solver="multistep", output_path=str(out), no_cache=True)


def metric_row(metric: Any, scorers: Mapping[str, str]) -> list[str]:
    better = {True: "higher", False: "lower", None: "–"}[metric.higher_is_better]
    unit = f", in {metric.unit}" if metric.unit in {"seconds", "US dollars"} else ""
    return [f"`{metric.name}`", better, metric.meaning + unit, f"`{scorers[metric.name]}`"]


def scorer_of_metrics(*runs: Any) -> dict[str, str]:
    """Metric → the scorer that gives it; what two give (a policy's F1, say) belongs to the one that gives it first."""
    registry, out = Registry(), {}
    for name in ("classification", *registry.entries("scorers")):
        for run in runs:
            for key in registry.build("scorers", name).score(run.tasks["wildguard"].judged):
                metric = key.partition(",")[0].rpartition("/")[2]
                if not metric.endswith(("_ci", "_n")):
                    out.setdefault(metric, name)
    return out


@pytest.fixture(scope="module")
def combining_runs(tmp_path_factory) -> list[guardeval.pipeline.Run]:
    out = str(tmp_path_factory.mktemp("runs"))
    common = {
        "task": "wildguard",
        "data": "sample",
        "model": ["embedded/word", "embedded/nb"],
        "output_path": out,
        "no_cache": True,
    }
    return [guardeval.run(solver=solver, **common) for solver in ("ensemble", "cascade")]


def test_every_metric_is_described_with_its_direction_and_its_scorer(a_run, combining_runs):
    scorers = scorer_of_metrics(a_run, *combining_runs)
    assert set(scorers.values()) == set(Registry().entries("scorers"))
    assert table(page_text("docs/accounting.md"), "metric") == [metric_row(m, scorers) for m in METRICS.values()]


def test_every_key_of_results_that_a_page_names_is_in_a_results_file(a_run):
    there = set(a_run.results["results"]["wildguard"])
    for page in PAGES:
        for key in re.findall(r"[`\"]([a-z_0-9]+(?:/[a-z_0-9]+)?,(?:none|" + "|".join(ACCOUNTINGS) + r"))[`\"]", prose(page)):
            if not key.startswith("long_prompt"):
                assert key in there, f"{page}: {key}"
    assert {"coverage", "outcomes", "sample_len"} <= there


def test_the_parts_of_a_results_file_are_described(a_run):
    rows = table(page_text("docs/runs.md"), "key of the results file")
    assert {n for row in rows for n in names(row[0])} == set(a_run.results)


def test_outcomes_and_accountings_are_described():
    text = page_text("docs/accounting.md")
    assert [names(row[0])[0] for row in table(text, "outcome")] == [str(o) for o in Outcome]
    assert [names(row[0])[0] for row in table(text, "accounting")] == list(ACCOUNTINGS)


# ---- figures, on real data ----


def test_the_result_in_the_readme_is_what_a_run_gives(shared_data, tmp_path):
    rows = shared_data / "wildguard" / "wildguard_benchmark_six_policies.json.gz"
    keys = (
        ("accuracy", "strict"),
        ("f1", "strict"),
        ("overflagging", "strict"),
        ("policy_macro_f1", "strict"),
        ("ece", "parsed"),
    )
    for name, *stated in table(page_text("README.md"), "`--model`"):
        model = names(name)[0]
        run = guardeval.run(
            task="wildguard", data=str(rows), solver="multistep", model=model, output_path=str(tmp_path), no_cache=True
        )
        metrics = run.results["results"]["wildguard"]
        assert stated == [cell(metrics, *key) for key in keys], model
        assert metrics["sample_len"] == 1554
        assert run.results["n-samples"]["wildguard"]["positive"] == 609


READINGS: dict[str, Mapping[str, Any]] = {"default": {}, "window": {"window": 300}, "read=anywhere": {"read": "anywhere"}}
RECORDED = {  # folder of the recordings → task and benchmark file
    "AegisSafetyTest": ("aegis", "aegis/aegis_safety_test_guardreasoner.json.gz"),
    "SimpleSafetyTests": ("simplesafetytests", "simplesafetytests/simplesafetytests_guardreasoner.json.gz"),
    "XSTestReponseHarmful": ("xstest_response", "xstest/xstest_response_harmful_guardreasoner.json.gz"),
    "XSTestResponseRefusal": ("xstest_refusal", "xstest/xstest_response_refusal_guardreasoner.json.gz"),
}


def replayed(data: Path, out: Path, name: str, size: str, **options: Any) -> Mapping[str, Any]:
    task, rows = RECORDED[name]
    recording = data / "generations" / "run1" / size / name / "generated_predictions.jsonl.gz"
    settings = {"output_path": str(out), "no_cache": True, "scorer": "classification", "solver_args": options}
    run = guardeval.run(task=task, data=str(data / rows), solver="guardreasoner", model=f"replay/{recording}", **settings)
    metrics: Mapping[str, Any] = run.results["results"][task]
    return metrics


def test_the_accountings_in_the_readme_are_what_the_recorded_answers_give(shared_data, tmp_path):
    rows = table(page_text("README.md"), "where the verdict is read")
    for (where, missing, *stated), (word, options) in zip(rows, READINGS.items(), strict=True):
        metrics = replayed(shared_data, tmp_path, "XSTestResponseRefusal", "3B", **options)
        assert word in where
        assert int(missing) == metrics["sample_len"] - metrics["outcomes"]["parsed"]
        assert stated == [f"{metrics[f'f1,{accounting}']:.4f}" for accounting in ACCOUNTINGS]
    by_hand = table(section("docs/accounting.md", "## One file, worked by hand"), "accounting")
    assert [row[-1].rpartition("= ")[2] for row in by_hand] == rows[0][2:]
    for *_, formula in by_hand:
        above, below, value = (float(n) for n in re.findall(r"[\d.]+", formula))
        assert round(above / below, 4) == value


def published_row(data: Path, out: Path, name: str, size: str, published: float) -> list[str]:
    m = replayed(data, out, name, size)
    computed = [f"{m[f'f1,{accounting}']:.4f}" for accounting in ("paper", "strict")]
    return [f"`{RECORDED[name][0]}`", size, str(m["sample_len"]), f"{published:.2f}", *computed, f"{m['coverage']:.3f}"]


def expected_published(data: Path, out: Path) -> list[list[str]]:
    tables = json.loads((data / "published_results.json").read_bytes())["guardreasoner"]
    rows = [r for target in Target for r in tables[target]["rows"] if r["model"] == "GuardReasoner"]
    figure = {(name, r["size"]): r[name] for r in rows for name in RECORDED if name in r}
    return [published_row(data, out, name, size, figure[name, size]) for name in RECORDED for size in ("1B", "3B", "8B")]


def test_published_figures_stand_beside_what_the_recorded_answers_give(shared_data, tmp_path):
    assert table(page_text("docs/accounting.md"), "benchmark") == expected_published(shared_data, tmp_path)


VOTES = ("majority", "any", "all", "weighted")


def test_votes_of_the_three_sizes_are_what_combining_the_recorded_answers_gives(shared_data, tmp_path):
    expected = []
    for name in ("AegisSafetyTest", "XSTestReponseHarmful"):
        task, rows = RECORDED[name]
        runs = []
        for size in ("1B", "3B", "8B"):
            recording = shared_data / "generations" / "run1" / size / name / "generated_predictions.jsonl.gz"
            settings = {"output_path": str(tmp_path), "no_cache": True, "scorer": "classification", "solver": "guardreasoner"}
            runs.append(guardeval.run(task=task, data=str(shared_data / rows), model=f"replay/{recording}", **settings))
        expected += [
            [f"`{task}`", size, *f1_and_rates(r.results, task)] for size, r in zip(("1B", "3B", "8B"), runs, strict=True)
        ]
        for vote in VOTES:
            made = combine_runs([r.path for r in runs], "ensemble", {"vote": vote}, output_path=tmp_path)
            expected.append([f"`{task}`", vote, *f1_and_rates(made.results, task)])
    assert table(page_text("docs/ensembles.md"), "benchmark") == expected


def f1_and_rates(results: Mapping[str, Any], task: str) -> list[str]:
    metrics = results["results"][task]
    return [cell(metrics, m, "strict") for m in ("f1", "overflagging", "underflagging")]
