"""Ensembles and cascades asked live, member by member."""

from __future__ import annotations

import pytest

from guardeval.broker import Broker
from guardeval.contracts import Completion, Judgement, Traits
from guardeval.data import Outcome, Voters
from guardeval.errors import ConfigError, ModelError, ModelUnusable
from guardeval.panel import BoundPanel
from guardeval.solvers.cascade import CERTAIN, Cascade
from guardeval.solvers.direct import Direct
from guardeval.solvers.ensemble_voting import Ensemble
from guardeval.solvers.multistep import Multistep
from guardeval.testing import ScriptedModel, a_case

HARMFUL, UNHARMFUL = "Decision: harmful\nPolicies: illegal", "Decision: unharmful\nPolicies: none"


def judging(p: float, name: str) -> ScriptedModel:
    return ScriptedModel(
        lambda _: Completion("", judgement=Judgement(p), tokens_in=10, tokens_out=1), name=name, traits=Traits(classifies=True)
    )


async def ask(solver, *models, solvers=None):
    async with Broker() as broker:
        bounds = [broker.bind(m, m.name) for m in models]
        panel = BoundPanel([m.name for m in models], bounds, solvers or [None] * len(models)).asker()
        return await solver.solve(a_case(), panel), panel


async def test_every_model_is_a_member_and_the_vote_decides():
    models = [ScriptedModel([HARMFUL], name="a"), ScriptedModel([UNHARMFUL], name="b"), ScriptedModel([HARMFUL], name="c")]
    verdict, panel = await ask(Ensemble(), *models)
    assert (verdict.label, verdict.voters, verdict.policies) == (True, Voters.MODELS, {"illegal"})
    assert [(v.member, v.label) for v in verdict.votes] == [("a", True), ("b", False), ("c", True)]
    assert verdict.votes[0].raw == HARMFUL
    assert panel.usage().requests == 3


async def test_a_member_may_have_a_solver_of_its_own():
    models = [ScriptedModel([HARMFUL], name="a"), ScriptedModel([HARMFUL], name="b")]
    await ask(Ensemble(inner=Direct()), *models, solvers=[None, Multistep()])
    assert "Intent" not in models[0].prompts[0]
    assert "Intent" in models[1].prompts[0]


async def test_a_member_that_was_not_heard_is_no_vote_and_the_others_decide():
    models = [
        ScriptedModel([ModelError("HTTP 400")], name="a"),
        ScriptedModel([UNHARMFUL], name="b"),
        ScriptedModel(["?"], name="c"),
    ]
    verdict, _ = await ask(Ensemble(vote="any"), *models)
    assert verdict.label is False
    assert [v.outcome for v in verdict.votes] == [Outcome.FAILED, Outcome.PARSED, Outcome.UNPARSEABLE]
    assert verdict.votes[0].raw == "HTTP 400"


async def test_a_model_that_cannot_be_used_ends_the_run():
    models = [ScriptedModel([ModelUnusable("wrong key")], name="a"), ScriptedModel([UNHARMFUL], name="b")]
    with pytest.raises(ModelUnusable, match="wrong key"):
        await ask(Ensemble(), *models)


@pytest.mark.parametrize(("p", "stages"), [(0.1, 1), (0.19, 1), (0.2, 2), (0.5, 2), (0.8, 2), (0.81, 1), (1.0, 1)])
async def test_a_cascade_asks_on_inside_the_band_its_ends_included(p, stages):
    cheap, dear = judging(p, "cheap"), judging(0.9, "dear")
    verdict, panel = await ask(Cascade(low=0.2, high=0.8), cheap, dear)
    assert len(verdict.votes) == len(cheap.asked) + len(dear.asked) == stages
    assert verdict.label is (p >= 0.5 if stages == 1 else True)
    assert (verdict.voters, panel.usage().requests) == (Voters.STAGES, stages)
    assert [v.weight for v in verdict.votes][-1] == 1.0
    assert [v.usage.requests for v in verdict.votes] == [1] * stages


async def test_a_cascade_goes_on_where_a_stage_gives_no_verdict():
    verdict, _ = await ask(Cascade(), ScriptedModel(["?"], name="a"), judging(0.5, "b"))
    assert (verdict.label, verdict.score) == (True, 0.5)  # the last stage's verdict stands, however unsure
    verdict, _ = await ask(Cascade(), judging(0.5, "a"), ScriptedModel(["?"], name="b"))
    assert (verdict.outcome, verdict.label) == (Outcome.UNPARSEABLE, None)  # an unsure first stage is no fallback


async def test_a_verdict_without_a_probability_is_taken_as_certain_and_says_so():
    dear = judging(0.9, "dear")
    verdict, _ = await ask(Cascade(), ScriptedModel([HARMFUL], name="cheap"), dear)
    assert not dear.asked
    assert CERTAIN in verdict.notes


@pytest.mark.parametrize("band", [(-0.1, 0.5), (0.6, 0.5), (0.5, 1.1)])
def test_a_band_that_is_none_is_refused(band):
    with pytest.raises(ConfigError, match="0 ≤ low ≤ high ≤ 1"):
        Cascade(*band)


def test_weights_want_a_weighted_vote():
    with pytest.raises(ConfigError, match="goes with vote=weighted"):
        Ensemble(weights="w.json")
    with pytest.raises(ConfigError, match="no such file"):
        Ensemble(vote="weighted", weights="none.json").check(["a", "b"])


@pytest.mark.parametrize("solver", [Ensemble(), Cascade()])
def test_one_model_alone_is_nothing_to_combine(solver):
    with pytest.raises(ConfigError, match="two models or more are wanted"):
        solver.check(["a"])


async def test_a_panel_given_to_a_solver_that_asks_one_model_says_which_solvers_combine():
    with pytest.raises(ConfigError, match="use --solver ensemble or cascade"):
        await ask(Direct(), judging(0.1, "a"), judging(0.1, "b"))


async def test_stages_of_a_cascade_are_reported_with_share_and_cost():
    from guardeval.data import Judged
    from guardeval.judged import Judgements
    from guardeval.scorers.voting import VotingScorer
    from guardeval.testing import a_sample

    judged = []
    for i, p in enumerate((0.1, 0.5, 0.9, 0.6)):
        priced = Traits(classifies=True, price=(1.0, 1.0))
        cheap = ScriptedModel(
            lambda _, p=p: Completion("", judgement=Judgement(p), tokens_in=1000, tokens_out=0), name="a", traits=priced
        )
        dear = ScriptedModel(
            lambda _: Completion("", judgement=Judgement(0.9), tokens_in=4000, tokens_out=0), name="b", traits=priced
        )
        verdict, panel = await ask(Cascade(), cheap, dear)
        judged.append(Judged(a_sample(id=str(i), index=i), verdict, panel.usage()))
    found = VotingScorer().score(Judgements.of(judged))
    assert (found["stage1/asked_share"], found["stage2/asked_share"]) == (1.0, 0.5)
    assert (found["stage1/settled_share"], found["stage2/settled_share"]) == (0.5, 0.5)
    assert found["stage1/stage_cost_per_1000"] == pytest.approx(1.0)  # a thousand tokens at one dollar a million
    assert found["stage2/stage_cost_per_1000"] == pytest.approx(2.0)  # four thousand, for every other sample
