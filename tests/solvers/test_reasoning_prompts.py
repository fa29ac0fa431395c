"""The prompts of the reasoning styles: what stands in them, and that a sample's text is only ever data."""

from __future__ import annotations

import itertools
import re

import pytest

from guardeval.data import Target
from guardeval.errors import ConfigError
from guardeval.policies import POLICIES, VERBOSITIES, Policy, PolicySet, load_policies
from guardeval.solvers.direct import Direct
from guardeval.solvers.fewshot_cot import FewshotCot
from guardeval.solvers.gauntlet import Gauntlet
from guardeval.solvers.multistep import Multistep
from guardeval.solvers.reasoning_prompts import load_examples
from guardeval.solvers.singlestep import Singlestep
from guardeval.testing import a_case
from guardeval.verdicts import read_block

STYLES = (Direct(), Singlestep(), Multistep(), FewshotCot(), Gauntlet())
ANSWERS = {Target.PROMPT: "unharmful", Target.RESPONSE: "unharmful", Target.REFUSAL: "compliance"}


async def asked(solver, answering, target=Target.PROMPT, policies=None, **sample):
    model = answering(f"Decision: {ANSWERS[target]}\nPolicies: none")
    case = a_case(target=target, policies=policies or load_policies("minimal"), **({"response": "Like this."} | sample))
    await solver.solve(case, model)
    return model.asked


@pytest.mark.parametrize("target", Target)
@pytest.mark.parametrize("solver", STYLES, ids=lambda s: type(s).__name__)
async def test_a_prompt_is_one_user_turn_with_policies_material_and_the_form_of_the_answer(solver, target, answering):
    request = (await asked(solver, answering, target))[0]
    (turn,) = request.prompt.turns
    assert (turn.role, request.prompt.frame.forced, request.prompt.frame.raw) == ("user", "", False)
    assert f"Decision: <one word: {target.positive} or {target.negative}>" in turn.content
    assert "Policy hate_speech\n" in turn.content
    assert "<user_prompt>\nHow do I bake bread?\n</user_prompt>" in turn.content
    shows_response = target is not Target.PROMPT
    assert ("<assistant_response>\nLike this.\n</assistant_response>" in turn.content) is shows_response
    assert not re.search(r"\[\[[a-z_]+\]\]", turn.content)
    assert "\n\n\n" not in turn.content


@pytest.mark.parametrize("target", Target)
async def test_each_step_is_asked_for_under_its_heading_in_order(target, answering):
    (request,) = await asked(Multistep(), answering, target)
    places = [request.prompt.last.index(f"\n{step}: ") for step in ("Intent", "Harms", "Policy")]
    assert places == sorted(places)
    assert request.steps == ("Intent", "Harms", "Policy", "Decision")


@pytest.mark.parametrize("skip", [s for n in range(4) for s in itertools.combinations(("intent", "harms", "policy"), n)])
async def test_skipped_steps_are_not_asked_for(skip, answering):
    (request,) = await asked(Multistep(skip=skip), answering)
    kept = tuple(s for s in ("Intent", "Harms", "Policy") if s.lower() not in skip)
    assert request.steps == (*kept, "Decision")
    assert [s for s in ("Intent", "Harms", "Policy") if f"\n{s}: " in request.prompt.last] == list(kept)


async def test_without_any_step_the_question_is_that_of_direct(answering):
    (bare,) = await asked(Multistep(skip=("intent", "harms", "policy")), answering)
    (direct,) = await asked(Direct(), answering)
    assert bare.prompt.digest() == direct.prompt.digest()


def test_a_step_that_does_not_exist_cannot_be_skipped():
    with pytest.raises(ConfigError, match="did you mean 'intent'"):
        Multistep(skip=("intents",))
    with pytest.raises(ConfigError, match="the decision is what is measured"):
        Multistep(skip=("decision",))


async def test_token_probabilities_are_asked_for_only_where_the_model_gives_them(answering):
    case = a_case()
    for gives in (True, False):
        model = answering("x", logprobs=gives)
        await Direct(max_tokens=7, temperature=0.5).solve(case, model)
        sampling = model.asked[0].sampling
        assert (sampling.max_tokens, sampling.temperature, sampling.top_logprobs) == (7, 0.5, 20 if gives else 0)


async def test_samples_share_one_frame_per_target_and_policy_set(answering):
    solver, policies = Multistep(), load_policies("minimal")
    model = answering("x")
    for prompt, target in (("a", Target.PROMPT), ("b", Target.PROMPT), ("a", Target.REFUSAL)):
        await solver.solve(a_case(prompt=prompt, target=target, policies=policies), model)
    first, second, other = (r.prompt.frame for r in model.asked)
    assert first is second
    assert other is not first


async def test_a_policy_text_that_spells_out_slots_stays_as_it_is(answering):
    policies = PolicySet("own", (Policy("rules", "Say [[prompt]] or [[task]] or [[response]]."),))
    (request,) = await asked(Direct(), answering, Target.RESPONSE, policies)
    assert "Policy rules\nSay [[prompt]] or [[task]] or [[response]]." in request.prompt.frame.before


@pytest.mark.parametrize("target", Target)
@pytest.mark.parametrize("solver", STYLES, ids=lambda s: type(s).__name__)
async def test_no_piece_of_a_prompt_of_ours_reads_as_an_answer(solver, target, answering):
    """Each place where the word occurs, begun at any letter before it on its line and cut at any place after it."""
    for verbosity in VERBOSITIES:
        policies = load_policies(verbosity)
        for request in await asked(solver, answering, target, policies):
            case, text = request.case, request.prompt.last
            for found in re.finditer("(?i)ecision|polic", text):
                for end in range(found.end(), min(found.end() + 120, len(text) + 1)):
                    assert read_block(text[max(found.start() - 1, 0) : end], case).label is None


# -- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", Target)
def test_there_are_three_worked_examples_a_policy_and_no_target_has_one_sided_ones(target):
    examples = load_examples(target)
    assert [e.policy for e in examples] == [p for p in POLICIES for _ in range(3)]
    decisions = [e.parts["Decision"] for e in examples]
    assert 6 <= decisions.count(target.positive) <= 12
    for policy in POLICIES:
        assert {e.parts["Decision"] for e in examples if e.policy == policy} == {target.positive, target.negative}


@pytest.mark.parametrize("target", Target)
def test_worked_examples_are_complete_and_agree_with_themselves(target):
    shown = ["Prompt"] if target is Target.PROMPT else ["Prompt", "Response"]
    for example in load_examples(target):
        assert list(example.parts) == [*shown, "Intent", "Harms", "Policy", "Decision", "Policies"]
        named = set(example.parts["Policies"].split(", ")) - {"none"}
        assert named <= {example.policy}
        if target is not Target.REFUSAL:
            assert bool(named) is (example.parts["Decision"] == target.positive)
        assert all(name in example.parts["Policy"] for name in named)


@pytest.mark.parametrize("target", Target)
def test_examples_about_minors_name_only_the_kind_of_request(target):
    for example in load_examples(target):
        if example.policy == "sexual_minors" and example.parts["Policies"] == "sexual_minors":
            assert re.fullmatch(r"\[A request .*\]", example.parts["Prompt"])


async def test_eighteen_examples_are_shown_and_their_closing_lines_carry_a_number(answering):
    (request,) = await asked(FewshotCot(), answering, Target.RESPONSE)
    numbers = re.findall(r"^Decision \(example (\d+)\): (?:un)?harmful$", request.prompt.last, re.MULTILINE)
    assert numbers == [str(n) for n in range(1, 19)]


async def test_with_policies_of_ones_own_only_their_examples_are_shown(answering):
    policies = PolicySet("own", (Policy("violence", "None."), Policy("gambling", "None.")))
    (request,) = await asked(FewshotCot(), answering, policies=policies)
    assert re.findall(r"## Example (\d+)", request.prompt.last) == ["1", "2", "3"]


async def test_policies_without_any_example_are_refused_with_a_way_on(answering):
    policies = PolicySet("own", (Policy("gambling", "None."),))
    with pytest.raises(ConfigError, match=r"none of these is among the policies of 'own' .* use --solver multistep"):
        await asked(FewshotCot(), answering, policies=policies)
