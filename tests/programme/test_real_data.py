"""The acceptance of the programme on real benchmarks and recordings; skipped where the data folder is not."""

from __future__ import annotations

import json
import math

from guardeval.disagreement import disagreement, runs_matrix
from guardeval.programme import run_experiments
from guardeval.runs import open_run


def members(home, task):
    ledger = json.loads((home / "experiments" / "programme.json").read_bytes())
    folders = [r["folder"] for r in ledger["runs"].values() if r["task"] == task and "combined" not in r and "mined" not in r]
    return [open_run(home / "experiments" / f).tasks[0].judgements() for f in folders]


def test_the_embedded_set_on_wildguard(home, shared_data):
    rows = str(shared_data / "wildguard" / "wildguard_benchmark_six_policies.json.gz")
    done = run_experiments("20..30", data=rows)
    assert [f.status for f in done.findings] == ["done"] * 11
    assert done.counters["sent"] == done.counters["distinct"] == 3 * 1554
    mined = json.loads((home / "experiments" / "hard_samples_wildguard.json").read_bytes())
    assert len(mined) == math.ceil(0.2 * 1554) == 311
    ids, scores, labels = runs_matrix(members(home, "wildguard"))
    found = dict(zip(ids, disagreement(scores, labels).values.tolist(), strict=True))
    kept = {row["guardeval"]["id"] for row in mined}
    assert min(found[i] for i in kept) >= max(v for i, v in found.items() if i not in kept)
    assert run_experiments("20..30", data=rows).asked.get("asked", 0) == 0
    for report in ("PHASE_1_RESULTS", "PHASE_2_RESULTS"):
        assert (home / "experiments" / f"{report}_files" / "levels.svg").is_file()


def test_the_replay_set_on_recorded_benchmarks(home, shared_data):
    given = {
        "model_set": "replay",
        "options": {"generations": str(shared_data / "generations" / "run1")},
        "data": [
            f"aegis={shared_data}/aegis/aegis_safety_test_guardreasoner.json.gz",
            f"xstest_response={shared_data}/xstest/xstest_response_harmful_guardreasoner.json.gz",
        ],
    }
    done = run_experiments("26..30", **given)
    assert [f.status for f in done.findings] == ["done"] * 5
    assert done.counters["sent"] == done.counters["distinct"] == 3 * (359 + 446)
    best = [m for m in done.findings[2].measured if m.metric == "accuracy"]
    assert {m.task for m in best} == {"aegis", "xstest_response"}
    assert all(m.about == "expected of wildguard, not of this benchmark" for m in best)
    assert len(json.loads((home / "experiments" / "hard_samples_aegis.json").read_bytes())) == math.ceil(0.2 * 359)
    without = {t.title.partition(":")[0]: t for t in done.findings[1].tables if "without it" in t.title}
    for task in ("aegis", "xstest_response"):  # three rows a member: hard, rest, their difference
        assert [row[1] for row in without[task].rows] == ["hard", "rest", "hard - rest"] * 3
