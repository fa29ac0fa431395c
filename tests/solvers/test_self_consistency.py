"""Self-consistency: n draws vote; what is missing is no vote; any solver can be drawn."""

from __future__ import annotations

import asyncio
import json
from math import log

import pytest
import yaml

from guardeval.broker import Broker, BudgetSpent
from guardeval.contracts import Completion, Finish, Judgement, Token
from guardeval.data import Outcome, Voters
from guardeval.errors import ConfigError, ModelError, ModelUnusable
from guardeval.plugins.openai_compatible import OpenAICompatible
from guardeval.registry import Registry, configuration
from guardeval.solvers.ensemble_voting import Ensemble
from guardeval.solvers.gauntlet import Gauntlet
from guardeval.solvers.self_consistency import ASKED_ONCE, SelfConsistency
from guardeval.testing import a_case
from guardeval.testing.faults import FaultServer
from guardeval.testing.scripted import ScriptedModel

YES = "Intent: none.\nHarms: some.\nPolicy: illegal.\n\nDecision: harmful\nPolicies: illegal"
NO = "Decision: unharmful\nPolicies: none"


def said(*answers):
    """The answer by number of the draw."""
    return lambda request: answers[request.draw]


def sure(word, probability):
    """An answer whose verdict word has this probability, the rest going to the other word."""
    other = "harmful" if word == "unharmful" else "unharmful"
    top = ((f" {word}", log(probability)), (f" {other}", log(1 - probability)))
    tokens = (Token("Decision:", 0.0), Token(f" {word}", log(probability), top), Token("\nPolicies: none", 0.0))
    return Completion("".join(t.text for t in tokens), tokens=tokens)


# ── the vote ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_majority_decides_and_the_score_is_its_share(answering, minimal):
    model = answering(said(YES, NO, YES))
    verdict = await SelfConsistency().solve(a_case(policies=minimal), model)
    assert (verdict.outcome, verdict.label, verdict.score, verdict.score_source) == (Outcome.PARSED, True, 2 / 3, "votes")
    assert (verdict.policies, verdict.mean_score, verdict.voters) == ({"illegal"}, None, Voters.DRAWS)
    assert [(v.member, v.label, v.raw) for v in verdict.votes] == [
        ("draw 1", True, YES),
        ("draw 2", False, NO),
        ("draw 3", True, YES),
    ]
    assert [s.name for s in verdict.votes[0].steps] == ["Intent", "Harms", "Policy"]


async def test_draws_are_asked_at_once_at_the_temperature_with_numbers_that_make_seeds(answering, minimal):
    model = answering(said(*[NO] * 5))
    await SelfConsistency(n=5, temperature=0.9, seed=17).solve(a_case(policies=minimal), model)
    assert [r.draw for r in model.asked] == [0, 1, 2, 3, 4]
    assert {(r.sampling.temperature, r.sampling.seed, r.sampling.max_tokens) for r in model.asked} == {(0.9, 17, 2048)}
    assert len({r.prompt.digest() for r in model.asked}) == 1


async def test_the_mean_of_the_scores_stands_beside_the_share(answering, minimal):
    model = answering(said(sure("harmful", 0.9), sure("unharmful", 0.8), sure("harmful", 0.7)), logprobs=True)
    verdict = await SelfConsistency().solve(a_case(policies=minimal), model)
    assert (verdict.label, verdict.score) == (True, 2 / 3)
    assert verdict.mean_score == pytest.approx((0.9 + 0.2 + 0.7) / 3)
    model = answering(said(sure("harmful", 0.9), NO, sure("harmful", 0.7)), logprobs=True)
    assert (await SelfConsistency().solve(a_case(policies=minimal), model)).mean_score is None


async def test_what_is_missing_is_no_vote(answering, minimal):
    model = answering(said(ModelError("time-out"), YES, "I cannot say."))
    verdict = await SelfConsistency().solve(a_case(policies=minimal), model)
    assert (verdict.label, verdict.score) == (True, 1.0)
    assert [v.outcome for v in verdict.votes] == [Outcome.FAILED, Outcome.PARSED, Outcome.UNPARSEABLE]
    assert [v.weight for v in verdict.votes] == [0.0, 1.0, 0.0]
    assert "heard 1 of 3" in verdict.notes


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        (("?", "?", "?"), Outcome.UNPARSEABLE),
        (("?", Completion("So", Finish.LENGTH), "?"), Outcome.TRUNCATED),
        (("?", Completion("So", Finish.LENGTH), ModelError("time-out")), Outcome.FAILED),
    ],
)
async def test_without_any_vote_there_is_no_verdict(answers, outcome, answering, minimal):
    verdict = await SelfConsistency().solve(a_case(policies=minimal), answering(said(*answers)))
    assert (verdict.outcome, verdict.label, verdict.score) == (outcome, None, None)
    assert len(verdict.votes) == 3


@pytest.mark.parametrize(("ties", "label"), [("positive", True), ("negative", False), ("abstain", None)])
async def test_a_tie_means_what_was_declared(ties, label, answering, minimal):
    verdict = await SelfConsistency(n=2, ties=ties).solve(a_case(policies=minimal), answering(said(YES, NO)))
    assert verdict.label is label
    assert verdict.score == (None if label is None else 0.5)


@pytest.mark.parametrize("error", [ModelUnusable("wrong key"), BudgetSpent("no money")])
async def test_what_ends_the_run_passes_through(error, answering, minimal):
    with pytest.raises(type(error)):
        await SelfConsistency().solve(a_case(policies=minimal), answering(said(YES, error, NO)))


async def test_a_model_that_only_classifies_is_asked_once_and_the_verdict_says_so(answering, minimal):
    model = answering(Completion("", judgement=Judgement(0.8)), classifies=True)
    verdict = await SelfConsistency(n=7).solve(a_case(policies=minimal), model)
    assert len(model.asked) == 1
    assert (verdict.label, verdict.score, verdict.score_source, verdict.votes) == (True, 0.8, "classifier", ())
    assert verdict.notes[-1] == ASKED_ONCE


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n": 0}, "self_consistency: n=0"),
        ({"temperature": 0.0}, "alike"),
        ({"vote": "loudest"}, "majority"),
        ({"inner": 3}, "a solver.s name"),
    ],
)
def test_impossible_settings_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        Registry().build("solvers", "self_consistency", options)


def test_the_configuration_makes_the_same_solver_again():
    options = {"inner": "gauntlet", "inner.order": "parallel", "n": "5"}
    solver = Registry().build("solvers", "self_consistency", options)
    assert solver == SelfConsistency(Gauntlet("parallel"), 5)
    assert Registry().build("solvers", "self_consistency", configuration(solver)) == solver


# ── any solver ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", ["series", "parallel"])
async def test_a_solver_of_several_requests_is_drawn_as_a_whole(order, minimal):
    """Six policies, three draws: the second draw flags, and only that one."""
    model = ScriptedModel(lambda r: YES if r.draw == 1 and r.case.policies.names == ("illegal",) else NO)
    async with Broker() as broker:
        asker = broker.bind(model).asker()
        verdict = await SelfConsistency(Gauntlet(order)).solve(a_case(policies=minimal), asker)
    assert (verdict.label, [v.label for v in verdict.votes]) == (False, [False, True, False])
    assert verdict.score == pytest.approx(1 / 3)
    assert [v.usage.requests for v in verdict.votes] == [6, 6, 6]
    assert asker.usage().requests == len(model.asked) == 18


async def test_self_consistency_of_self_consistency_asks_different_draws(answering, minimal):
    model = answering(lambda r: YES if r.draw % 2 else NO)
    verdict = await SelfConsistency(SelfConsistency(n=2, seed=9), n=3, seed=1).solve(a_case(policies=minimal), model)
    assert sorted(r.draw for r in model.asked) == [0, 1, 2, 3, 4, 5]
    assert {r.sampling.seed for r in model.asked} == {1}
    assert len(verdict.votes) == 3


async def test_an_ensemble_is_drawn_member_by_member(minimal):
    from guardeval.panel import BoundPanel

    models = [ScriptedModel(lambda r, i=i: YES if r.draw >= i else NO, name=f"m{i}") for i in range(3)]
    async with Broker() as broker:
        panel = BoundPanel(["a", "b", "c"], [broker.bind(m, m.name) for m in models], [None] * 3).asker()
        verdict = await SelfConsistency(Ensemble(), n=3).solve(a_case(policies=minimal), panel)
    # draw 0: yes no no; draw 1: yes yes no; draw 2: yes yes yes
    assert [v.label for v in verdict.votes] == [False, True, True]
    assert [[r.draw for r in m.asked] for m in models] == [[0, 1, 2]] * 3
    assert [v.usage.requests for v in verdict.votes] == [3, 3, 3]
    assert panel.usage().requests == 9


# ── against a server ────────────────────────────────────────────────────────────────────────────────────────────────


def voices(body):
    """Two of three choices find it harmful."""
    return [YES, NO, YES][: body.get("n") or 1]


async def test_a_sample_is_one_request_and_its_votes_share_the_cost(minimal):
    with FaultServer(voices) as server:
        async with Broker() as broker:
            model = OpenAICompatible("scripted", server.url, price=(1.0, 2.0))
            asker = broker.bind(model).asker()
            verdict = await SelfConsistency().solve(a_case(policies=minimal), asker)
            counters = broker.counters
    assert (verdict.label, verdict.score, counters.sent) == (True, 2 / 3, 1)
    usages = [v.usage for v in verdict.votes]
    assert usages[0].tokens_in > 1000
    assert [u.tokens_in for u in usages[1:]] == [0, 0]
    assert sum(u.cost for u in usages) == pytest.approx(counters.cost) == pytest.approx(asker.usage().cost)


async def test_samples_with_the_same_prompt_share_their_draws(minimal):
    with FaultServer(voices, latency=0.02) as server:
        async with Broker() as broker:
            bound = broker.bind(OpenAICompatible("scripted", server.url))
            cases = [a_case(policies=minimal) for _ in range(10)]
            solver = SelfConsistency()
            verdicts = await asyncio.gather(*(solver.solve(c, bound.asker()) for c in cases))
    assert {v.score for v in verdicts} == {2 / 3}
    assert len(server.bodies) == 1


async def test_gauntlets_of_several_draws_group_their_questions(minimal):
    with FaultServer(NO) as server:
        async with Broker() as broker:
            asker = broker.bind(OpenAICompatible("scripted", server.url)).asker()
            await SelfConsistency(Gauntlet("parallel")).solve(a_case(policies=minimal), asker)
    assert [body["n"] for body in server.bodies] == [3] * 6


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    from guardeval.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*words):
        capsys.readouterr()
        rows = ("--task", "wildguard", "--data", "sample", "--limit", "8", "--cache", "c.sqlite", "--output_path", "out")
        code = main(["run", *rows, *map(str, words)])
        return code, capsys.readouterr()

    return run


def of_server(server, *more):
    words = ("--model", "openai_compatible/scripted", "-M", f"base_url={server.url}", "--solver", "self_consistency")
    return (*words, "-S", "inner=multistep", *more)


def test_the_command_foresees_asks_and_asks_only_for_more(command, tmp_path):
    with FaultServer([YES, NO, YES, NO, NO]) as server:
        code, planned = command(*of_server(server, "-S", "n=3", "--dry_run"))
        assert (code, server.bodies) == (0, [])
        assert " 24 " in planned.out  # 8 samples, 3 draws each
        assert command(*of_server(server, "-S", "n=3"))[0] == 0
        assert [b["n"] for b in server.bodies] == [3] * 8
        assert command(*of_server(server, "-S", "n=3"))[0] == 0
        assert len(server.bodies) == 8
        assert command(*of_server(server, "-S", "n=5"))[0] == 0
        assert [(b["n"], b["seed"]) for b in server.bodies[8:]] == [(2, 3)] * 8
    *_, last = sorted((tmp_path / "out").iterdir())
    (samples,) = last.glob("samples_*.jsonl")
    row = json.loads(samples.read_text().splitlines()[0])
    assert len(row["guardeval"]["votes"]) == 5
    recorded = yaml.safe_load((last / "run.yaml").read_text())
    assert recorded["solver_args"]["inner"]["solver"] == "multistep"


def test_ollama_gets_a_request_a_draw_each_with_its_own_seed(command):
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "servers"))
    pytest.importorskip("ollama")
    from ollama_server import OllamaScript
    from scripted_server import ScriptedServer

    with ScriptedServer(OllamaScript(lambda _: {"content": YES}, context_length=None)) as server:
        words = ("--model", "ollama/tiny", "-M", f"base_url={server.url}", "--solver", "self_consistency")
        assert command(*words, "-S", "n=3,seed=5", "--limit", "1")[0] == 0
        asked = [a.body["options"] for a in server.asked if a.path == "/api/chat"]
    assert sorted(o["seed"] for o in asked) == [5, 6, 7]
    assert {o["temperature"] for o in asked} == {0.7}
