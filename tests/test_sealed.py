"""Gold stays with whoever scores: what solvers and models are shown holds none, and changing it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

import guardeval
from guardeval.contracts import Completion, Judgement, Traits
from guardeval.data import Outcome, Sample, Target, Verdict
from guardeval.judging import judge
from guardeval.sealed import reads_gold, sealed
from guardeval.solvers.direct import Direct
from guardeval.solvers.self_consistency import SelfConsistency
from guardeval.testing import ScriptedModel, a_sample
from guardeval.testing.builders import SHORT_POLICIES
from guardeval.trainers.reasoning_trace_generator import ReasoningTrace

HERE = __name__
SEEN: list[Sample] = []


@dataclass(frozen=True)
class Corrects(Direct):
    """Makes the gold what it says, and the text what it likes."""

    async def solve(self, case, model):
        found = await super().solve(case, model)
        case.sample.labels[case.target] = found.label
        case.sample.prompt = "another"
        return found


@dataclass(frozen=True)
class Copies:
    """Says what the gold is, wherever it may stand."""

    async def solve(self, case, model):
        SEEN.append(case.sample)
        label = case.sample.labels.get(case.target)
        return Verdict(case.target, Outcome.UNPARSEABLE if label is None else Outcome.PARSED, label)


@dataclass(frozen=True)
class Knows:
    """A model that classifies by the gold of the case."""

    traits: ClassVar[Traits] = Traits(classifies=True)
    identity: ClassVar[dict] = {"backend": "knows"}

    def generate_batch(self, requests):
        known = [r.case.sample.labels.get(r.case.target) for r in requests]
        return [
            Completion("", judgement=Judgement(0.5 if label is None else float(label), label=bool(label))) for label in known
        ]


@pytest.fixture
def run(tmp_path):
    def made(**more):
        given = {
            "task": "wildguard",
            "data": "sample",
            "no_cache": True,
            "output_path": str(tmp_path / "runs"),
            "model": "dummy",
        }
        return guardeval.run(**{**given, **more})

    SEEN.clear()
    return made


def test_a_solver_that_changes_the_gold_scores_as_one_that_does_not(run):
    honest, cheating = run(solver="direct"), run(solver=f"{HERE}:Corrects")
    assert cheating.results["results"]["wildguard"]["f1,strict"] == honest.results["results"]["wildguard"]["f1,strict"] < 1
    assert list(cheating.tasks["wildguard"].judged.gold) == list(honest.tasks["wildguard"].judged.gold)
    assert all(j.sample.prompt != "another" for j in cheating.tasks["wildguard"].judged)


def test_a_solver_is_shown_nothing_that_may_hold_the_answer(run):
    judged = run(solver=f"{HERE}:Copies", task="wildguard").tasks["wildguard"].judged
    assert {j.verdict.label for j in judged} == {None}
    assert SEEN
    assert all(not (s.labels or s.policies or s.known_policies or s.category or s.doc) for s in SEEN)
    originals = {j.sample.id: j.sample for j in judged}
    assert any(s.labels and s.doc for s in originals.values())
    assert all((s.prompt, s.response, s.index) == _texts(originals[s.id]) for s in SEEN)


def _texts(sample: Sample) -> tuple:
    return sample.prompt, sample.response, sample.index


def test_a_model_is_shown_no_gold_either(run):
    metrics = run(model=f"{HERE}:Knows").results["results"]["wildguard"]
    assert metrics["recall,strict"] == 0


def test_judging_without_a_run_folder_keeps_gold_to_itself():
    samples = [a_sample(f"number {i}", id=str(i), index=i, labels={Target.PROMPT: bool(i % 2)}) for i in range(4)]
    judged = judge(samples, Target.PROMPT, SHORT_POLICIES, Copies(), ScriptedModel([]))
    assert list(judged.label) == [-1] * 4
    assert list(judged.gold) == [0, 1, 0, 1]


def test_earlier_turns_are_shown():
    sample = a_sample(history=(("user", "Hello"), ("assistant", "Hi")))
    assert sealed(sample).history == sample.history


def test_only_a_solver_that_says_so_or_holds_one_reads_gold():
    assert reads_gold(ReasoningTrace())
    assert reads_gold(SelfConsistency(inner=ReasoningTrace()))
    assert not reads_gold(ReasoningTrace(hints="none"))
    assert not reads_gold(SelfConsistency())


def test_a_run_of_a_solver_that_reads_gold_says_what_it_is_worth(run):
    notice = "solver 'reasoning_trace' is shown the gold labels: its verdicts measure no guard"
    asked = run(solver="reasoning_trace", model="dummy", limit=4)
    assert notice in asked.results["notices"]
    assert notice not in run(solver="direct", limit=4).results["notices"]
