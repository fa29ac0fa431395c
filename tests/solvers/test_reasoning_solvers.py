"""The reasoning styles from case to verdict, against models that answer, classify, think, or fail."""

from __future__ import annotations

import pytest

from guardeval.contracts import Completion, Finish, Judgement
from guardeval.data import Outcome, Step, Target
from guardeval.errors import ConfigError
from guardeval.registry import build, configuration
from guardeval.solvers.direct import Direct
from guardeval.solvers.fewshot_cot import FewshotCot
from guardeval.solvers.gauntlet import Gauntlet
from guardeval.solvers.guardreasoner import GuardReasoner
from guardeval.solvers.multistep import Multistep
from guardeval.solvers.singlestep import Singlestep
from guardeval.testing import a_case

ONE_QUESTION = (Direct(), Singlestep(), Multistep(), FewshotCot())
ALL = (*ONE_QUESTION, Gauntlet(), Gauntlet("parallel"), GuardReasoner())


@pytest.mark.parametrize("solver", ONE_QUESTION, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize(
    ("target", "word"), [(Target.PROMPT, "harmful"), (Target.RESPONSE, "harmful"), (Target.REFUSAL, "refusal")]
)
async def test_an_answer_becomes_a_verdict_on_the_target_that_was_asked_about(solver, target, word, answering, minimal):
    model = answering(f"It is plain.\n\nDecision: {word}\nPolicies: illegal")
    verdict = await solver.solve(a_case(target=target, policies=minimal, response="No."), model)
    assert (verdict.target, verdict.outcome, verdict.label, verdict.policies) == (target, Outcome.PARSED, True, {"illegal"})
    assert len(model.asked) == 1


async def test_the_reasoning_is_kept_by_step(answering, minimal):
    text = "Intent: to rob.\nHarms: loss.\nPolicy: theft is illegal.\n\nDecision: harmful\nPolicies: illegal"
    verdict = await Multistep().solve(a_case(policies=minimal), answering(text))
    assert verdict.steps == (Step("Intent", "to rob."), Step("Harms", "loss."), Step("Policy", "theft is illegal."))
    assert verdict.raw == text


@pytest.mark.parametrize("solver", ALL, ids=lambda s: type(s).__name__)
async def test_a_model_that_classifies_is_asked_once_and_its_judgement_is_the_verdict(solver, answering, minimal):
    judgement = Judgement(0.9, frozenset({"violence"}), notes=("weak",))
    model = answering(Completion("Reasoning: a word weighs 2.", judgement=judgement), classifies=True)
    verdict = await solver.solve(a_case(policies=minimal), model)
    assert len(model.asked) == 1
    assert model.asked[0].case.policies is minimal
    assert (verdict.label, verdict.score, verdict.score_source) == (True, 0.9, "classifier")
    assert (verdict.policies, verdict.notes) == ({"violence"}, ("weak",))


@pytest.mark.parametrize("solver", ALL, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        (Completion("I would rather not say."), Outcome.UNPARSEABLE),
        (Completion("Let me see. First", Finish.LENGTH), Outcome.TRUNCATED),
        (Completion("", thinking="Hm."), Outcome.TRUNCATED),
        (Completion("", Finish.FILTERED), Outcome.UNPARSEABLE),
    ],
)
async def test_no_answer_is_an_outcome_and_never_a_label(solver, completion, outcome, answering, minimal):
    verdict = await solver.solve(a_case(policies=minimal), answering(completion))
    assert (verdict.outcome, verdict.label, verdict.score) == (outcome, None, None)


def test_options_of_the_command_line_reach_the_fields():
    built = build(Multistep, {"skip": "intent,harms", "max_tokens": "99"}, "multistep")
    assert built == Multistep(skip=("intent", "harms"), max_tokens=99)
    assert configuration(built) == {"skip": ["intent", "harms"], "max_tokens": 99, "temperature": 0.0}
    assert build(Gauntlet, {"order": "parallel"}, "gauntlet") == Gauntlet("parallel")
    with pytest.raises(ConfigError, match="one of series, parallel is wanted"):
        build(Gauntlet, {"order": "random"}, "gauntlet")
    with pytest.raises(ConfigError, match="did you mean 'skip'"):
        build(Multistep, {"skp": "intent"}, "multistep")
