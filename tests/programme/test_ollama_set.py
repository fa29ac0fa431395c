"""The ``ollama`` set end to end against a loopback server, and an ablation whose truth was planted."""

from __future__ import annotations

import json

import pytest
from planted_server import PlantedGuard, ollama_script
from scripted_server import ScriptedServer

from guardeval.programme import run_experiments

STEPS = {"intent": "Intent", "harms": "Harms", "policy": "Policy"}


def test_the_planted_effect_of_each_step_comes_back_within_its_interval(home, made_rows):
    rows, gold = made_rows(500)
    guard = PlantedGuard(gold, wrong=0.5, fixes={"Intent": 0.4, "Harms": 0.25, "Policy": 0.15})
    script = ollama_script({"gpt-oss:20b": guard, "gpt-oss-safeguard:latest": guard})
    with ScriptedServer(script) as server:
        done = run_experiments("43", model_set="ollama", options={"base_url": server.url}, data=str(rows))
    (found,) = done.findings
    removed = {
        m.system.removeprefix("without ").partition(":")[0]: m
        for m in found.measured
        if m.metric == "accuracy" and m.is_difference
    }
    assert set(removed) == {"intent", "harms", "policy", "all steps"}
    for step, name in STEPS.items():
        assert removed[step].low <= -guard.effect(name) <= removed[step].high, step
        assert removed[step].n == 500
    whole = guard.accuracy([]) - guard.accuracy(STEPS.values())
    assert removed["all steps"].low <= whole <= removed["all steps"].high
    assert any("flips" in t.title and "intent" in t.title for t in found.tables)
    assert any("costs" in t.title for t in found.tables)
    assert done.counters["sent"] == done.counters["distinct"] == sum(script.counted.values()) == 5 * 500


def test_the_whole_set_runs_and_asks_nothing_twice(home, made_rows):
    rows, gold = made_rows(60)
    policies = {text: ["violence"] for text, bad in gold.items() if bad}
    script = ollama_script(
        {
            "gpt-oss:20b": PlantedGuard(gold, policies=policies, noise=0.2),
            "gpt-oss-safeguard:latest": PlantedGuard(gold, policies=policies, salt="other", wrong=0.3),
        }
    )
    with ScriptedServer(script) as server:
        given = {"model_set": "ollama", "options": {"base_url": server.url}, "data": str(rows)}
        done = run_experiments("20..30,41..43", **given)
        asked = sum(script.counted.values())
        again = run_experiments("20..30,41..43", **given)
    assert done.status == "complete"
    assert max(script.counted.values()) == 1
    assert done.counters["sent"] == done.counters["distinct"] == asked
    assert again.asked.get("sent", 0) == 0
    assert sum(script.counted.values()) == asked
    systems = {(m.experiment, m.system) for f in done.findings for m in f.measured if not m.is_difference}
    assert len(systems) == len({s for s in systems if "not applicable" not in s[1]})
    assert {m.about for f in done.findings for m in f.measured} == {""}  # a language model answers every prompt for itself
    contrast = next(m for f in done.findings for m in f.measured if m.experiment == 25 and m.against.startswith("21."))
    assert (contrast.expected_low, contrast.expected_high, contrast.n) == (0.03, 0.05, 60)
    assert contrast.p is not None
    report = (home / "experiments" / "PHASE_2_RESULTS.md").read_text()
    assert "No gpt-oss of 14b is known to exist" in report
    assert {p.name for p in done.reports} == {
        "PHASE_1_RESULTS.md", "PHASE_2_RESULTS.md", "FINAL_GUARDREASONER_VALIDATION.md",
    }  # fmt: skip
    mined = json.loads((home / "experiments" / "hard_samples_wildguard.json").read_bytes())
    assert len(mined) == 12


def test_a_server_that_is_not_there_is_missing_and_says_how_to_get_it(home, made_rows):
    rows, _ = made_rows(10)
    with pytest.raises(ValueError, match=r"nothing could be measured: .*ollama pull gpt-oss:20b"):
        run_experiments("21", model_set="ollama", options={"base_url": "http://127.0.0.1:9"}, data=str(rows))


def test_a_missing_model_leaves_the_other_experiments_alone(home, made_rows):
    rows, gold = made_rows(20)
    with ScriptedServer(ollama_script({"gpt-oss:20b": PlantedGuard(gold)})) as server:
        done = run_experiments("21,23,26", model_set="ollama", options={"base_url": server.url}, data=str(rows))
    by_number = {f.experiment: f for f in done.findings}
    assert [by_number[n].status for n in (21, 23, 26)] == ["done", "missing", "partly missing"]
    assert "ollama pull gpt-oss-safeguard" in by_number[23].missing[0]
    assert all(m.about == "missing" and m.value != m.value for m in by_number[23].measured)
    assert "missing" in (home / "experiments" / "PHASE_1_RESULTS.md").read_text()
