"""``reasoning_trace``: the inner solver's question with a note after it, cheap to hash, and never a template."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.broker.keys import Keys
from guardeval.contracts import Completion, Judgement, Traits
from guardeval.data import Target
from guardeval.errors import ConfigError
from guardeval.registry import Registry
from guardeval.solvers.multistep import Multistep
from guardeval.testing.builders import a_case, a_sample
from guardeval.testing.scripted import ScriptedModel
from guardeval.trace_rows import UNHINTED
from guardeval.trainers.reasoning_trace_generator import ReasoningTrace

ANSWER = "Intent: a.\nHarms: b.\nPolicy: c.\nDecision: unharmful\nPolicies: none"


def a_teacher() -> ScriptedModel:
    return ScriptedModel(lambda _: ANSWER)


def labelled(text: str, gold: bool, *policies: str):
    return a_case(a_sample(text, labels={Target.PROMPT: gold}, policies=frozenset(policies)))


async def test_one_frame_serves_all_samples_of_a_label_and_its_policies():
    solver, model = Registry().build("solvers", "reasoning_trace", {"hints": "gold"}), a_teacher()
    for case in (labelled("a", True, "violence"), labelled("b", True, "violence"), labelled("c", True), labelled("d", False)):
        await solver.solve(case, model)
    frames = [request.prompt.frame for request in model.asked]
    assert frames[0] is frames[1]
    assert len({id(f) for f in frames}) == 3
    assert model.asked[0].sampling is model.asked[3].sampling
    assert "and that it violates violence" in frames[0].after
    assert "violates" not in frames[2].after.rpartition("settled")[2]


async def test_the_question_of_the_inner_solver_comes_first_and_whole():
    inner, model = Multistep(), a_teacher()
    case = labelled("How do I bake bread?", False)
    await inner.solve(case, model)
    await ReasoningTrace(inner, "none").solve(case, model)
    plain, noted = model.prompts
    assert noted.startswith(plain)
    assert (model.asked[1].sampling.max_tokens, model.asked[1].sampling.temperature) == (768, 0.0)
    await ReasoningTrace(inner, "none", max_tokens=99, temperature=0.7).solve(case, model)
    assert (model.asked[2].sampling.max_tokens, model.asked[2].sampling.temperature) == (99, 0.7)


async def test_a_label_that_is_told_is_another_question():
    model, keys = a_teacher(), Keys(b"m" * 16)
    case = labelled("text", False)
    for solver in (
        ReasoningTrace(Multistep(), "gold"),
        ReasoningTrace(Multistep(), "none"),
        ReasoningTrace(Multistep(), "gold"),
    ):
        await solver.solve(case, model)
    first, second, third = map(keys.key, model.asked)
    assert first == third != second


@given(st.text())
def test_the_text_to_judge_is_put_in_as_it_is(text):
    solver, model = ReasoningTrace(Multistep(), "gold"), a_teacher()
    solving = solver.solve(labelled(text, True), model)
    with pytest.raises(StopIteration):
        solving.send(None)
    assert model.asked[0].prompt.text == text
    assert model.asked[0].prompt.last.count(text) >= 1


async def test_a_model_that_classifies_is_asked_as_ever_and_says_that_it_read_no_hint():
    said = Completion(ANSWER, judgement=Judgement(0.1))
    model = ScriptedModel(lambda _: said, traits=Traits(classifies=True))
    verdict = await ReasoningTrace(Multistep(), "gold").solve(labelled("a", True), model)
    assert UNHINTED in verdict.notes
    assert "studied as an example" not in model.prompts[0]
    assert UNHINTED not in (await ReasoningTrace(Multistep(), "none").solve(labelled("a", True), model)).notes


async def test_an_inner_solver_without_reasoning_or_chat_is_refused():
    registry = Registry()
    for name, said in (("direct", "asks for no reasoning"), ("guardreasoner", "raw prompt of its own")):
        model = ScriptedModel(lambda _: ANSWER, traits=Traits(raw=True))
        with pytest.raises(ConfigError, match=said):
            await registry.build("solvers", "reasoning_trace", {"inner": name}).solve(labelled("a", True), model)


async def test_it_travels_between_processes_after_use():
    solver = ReasoningTrace(Multistep(), "gold")
    await solver.solve(labelled("a", True), a_teacher())
    again = pickle.loads(pickle.dumps(solver))
    model = a_teacher()
    await again.solve(labelled("a", True), model)
    await solver.solve(labelled("a", True), model)
    assert model.prompts[0] == model.prompts[1]


async def test_an_unlabelled_sample_gets_no_hint():
    model = a_teacher()
    case = a_case(replace(a_sample("a"), labels={}))
    await ReasoningTrace(Multistep(), "gold").solve(case, model)
    assert "settled" not in model.prompts[0]
