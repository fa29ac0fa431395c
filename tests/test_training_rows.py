"""Rows that trainers read: what a file says is what comes back, and wrong rows are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.contracts import Case
from guardeval.data import Sample, Step, Target
from guardeval.errors import ConfigError, DataError
from guardeval.exposure import Exposure, fingerprint, normalised
from guardeval.policies import load_policies
from guardeval.registry import Registry
from guardeval.training_rows import Pair, Split, Trace, TrainingFile, is_training_file, read_training_file, write_training_file
from guardeval.training_text import answer_of, read_answer, request_of

STEPS = (Step("Intent", "He asks how.\nStep 7: is not a step."), Step("Harms", "None."), Step("Policy", "No rule is broken."))


def a_trace(**changes: object) -> Trace:
    sample = Sample("a-1", 4, "How do I bake bread?", None, {Target.PROMPT: False})
    given = {"sample": sample, "target": Target.PROMPT, "label": False, "steps": STEPS, **changes}
    return Trace(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.json.gz"])
def test_traces_come_back_as_they_were_written(tmp_path: Path, name: str) -> None:
    rows = [
        a_trace(about={"task": "t", "licence": "CC0", "seeds": [{"id": "s", "prompt": 5}]}),
        a_trace(split=Split.VALIDATION),
    ]
    path = write_training_file(tmp_path / name, rows)
    found = read_training_file(path)
    assert list(found) == rows
    assert (found.kind, len(found.of(Split.TRAIN)), len(found.of(Split.VALIDATION))) == ("traces", 1, 1)
    assert is_training_file(path)


def test_pairs_come_back_as_they_were_written(tmp_path: Path) -> None:
    pair = Pair(a_trace().sample, Target.PROMPT, "right", "wrong", 0.8, Split.TRAIN, {"task": "t"})
    assert list(read_training_file(write_training_file(tmp_path / "p.json", [pair]))) == [pair]


def test_the_programmes_own_columns_stand_in_the_row() -> None:
    row = a_trace(label=True, policies=frozenset({"violence"})).to_row()
    assert row["prompt"] == "How do I bake bread?"
    assert row["reasoning"].startswith("Step 1: He asks how.") and "\nStep 3: No rule is broken." in row["reasoning"]
    assert (row["classification"], row["policies"]) == ("harmful", ["violence"])


def test_a_row_from_elsewhere_needs_only_the_programmes_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"prompt": "p", "reasoning": "Step 1: a\nStep 2: b", "classification": "unharmful"}]))
    [row] = read_training_file(path)
    assert (row.sample.id, row.steps, row.sample.labels) == ("0", (Step("Step 1", "a"), Step("Step 2", "b")), {})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "p", "reasoning": "r", "classification": "safe"}, "row 1: classification 'safe': harmful or unharmful"),
        ({"prompt": 3, "reasoning": "r", "classification": "harmful"}, "row 1: prompt: text is wanted, not int"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "alpha": -1}, "row 1: alpha -1: a number above 0"),
        ({"prompt": "p"}, "row 1: neither a trace"),
        ({"prompt": "p", "reasoning": "r", "classification": "harmful", "split": "test"}, "row 1: 'test' is not a valid Split"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: dict[str, object], said: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps([row]))
    with pytest.raises(DataError, match=said):
        read_training_file(path)


def test_traces_and_pairs_do_not_mix(tmp_path: Path) -> None:
    pair = Pair(a_trace().sample, Target.PROMPT, "right", "wrong")
    path = write_training_file(tmp_path / "p.json", [pair, a_trace()])
    with pytest.raises(DataError, match="row 2: traces and pairs in one file"):
        read_training_file(path)


def test_what_was_seen_is_prompts_seeds_and_what_rows_nearly_repeat() -> None:
    rows = [a_trace(about={"seeds": [{"id": "x", "prompt": fingerprint("a seed")}], "exposed": [fingerprint("a test row")]})]
    seen = TrainingFile(rows).exposure
    assert all(seen.holds(t) for t in ("how do I BAKE bread", "A seed!", "a test row"))
    assert not seen.holds("another prompt")


# ---- fingerprints ----


@given(st.text())
def test_layout_and_case_do_not_change_a_fingerprint(text: str) -> None:
    assert fingerprint(f"  {text}\n") == fingerprint(text)
    assert normalised(normalised(text)) == normalised(text)


@given(st.sets(st.integers(0, 2**64 - 1)))
def test_fingerprints_survive_their_file(tmp_path_factory: pytest.TempPathFactory, prompts: set[int]) -> None:
    path = tmp_path_factory.mktemp("seen") / "seen.bin"
    Exposure(frozenset(prompts)).write(path)
    found = Exposure.read(path)
    assert found.prompts == prompts
    assert path.stat().st_size == 8 * len(prompts)


def test_a_cut_off_file_of_fingerprints_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seen.bin").write_bytes(b"1234567")
    with pytest.raises(ConfigError, match="is cut off"):
        Exposure.read(tmp_path / "seen.bin")


# ---- what is trained on ----

POLICIES = load_policies("minimal")


@pytest.mark.parametrize("style", ["direct", "singlestep", "multistep", "fewshot_cot"])
@pytest.mark.parametrize("label", [True, False])
def test_the_answer_is_read_by_its_own_solver_as_the_trace_says(style: str, label: bool) -> None:
    solver = Registry().build("solvers", style)
    trace = a_trace(label=label, policies=frozenset({"illegal"} if label else ()))
    request, answer = answer_of(trace, solver, POLICIES)
    verdict = read_answer(solver, Case(trace.sample, trace.target, POLICIES), answer)
    assert (verdict.label, verdict.policies) == (label, trace.policies)
    assert trace.sample.prompt in request.prompt.last
    if style == "multistep":
        assert verdict.steps[:3] == STEPS


def test_the_request_is_the_one_that_a_run_sends() -> None:
    from guardeval.testing import ScriptedModel

    solver, case = Registry().build("solvers", "multistep"), Case(a_trace().sample, Target.PROMPT, POLICIES)
    assert request_of(solver, case).prompt.as_text() == _asked(
        solver, case, ScriptedModel(["Decision: harmful\nPolicies: none"])
    )


def _asked(solver: object, case: Case, model: object) -> str:
    import asyncio

    asyncio.run(solver.solve(case, model))  # type: ignore[attr-defined]
    return str(model.prompts[0])  # type: ignore[attr-defined]


def test_reasoning_that_states_another_verdict_is_not_trained_on() -> None:
    trace = a_trace(target=Target.REFUSAL, label=True, steps=(*STEPS[:2], Step("Policy", "x\nDecision: compliance\n")))
    _, answer = answer_of(trace, Registry().build("solvers", "multistep"), POLICIES)
    assert answer.endswith("Decision: refusal\nPolicies: none")
    sample = Sample("echo", 0, "Decision: harmful\nPolicies: none", None, {})
    with pytest.raises(DataError, match="reads the answer as unparseable"):
        answer_of(a_trace(sample=sample, label=True, steps=()), Registry().build("solvers", "multistep"), POLICIES)


def test_a_solver_that_asks_several_times_cannot_be_trained_on() -> None:
    with pytest.raises(ConfigError, match=r"asks more than one question|waits for something"):
        answer_of(a_trace(), Registry().build("solvers", "gauntlet"), POLICIES)
