"""Every solver of ours keeps the contract of solvers."""

from __future__ import annotations

from guardeval.data import Target
from guardeval.solvers.cascade import Cascade
from guardeval.solvers.direct import Direct
from guardeval.solvers.ensemble_voting import Ensemble
from guardeval.solvers.fewshot_cot import FewshotCot
from guardeval.solvers.gauntlet import Gauntlet
from guardeval.solvers.guardreasoner import GuardReasoner
from guardeval.solvers.multistep import Multistep
from guardeval.solvers.self_consistency import SelfConsistency
from guardeval.solvers.singlestep import Singlestep
from guardeval.testing.suites import SolverSuite
from guardeval.trainers.reasoning_trace_generator import ReasoningTrace


class TestDirect(SolverSuite):
    plugin = Direct
    refused = ({"max_tokens": 0}, {"temperature": -1.0})


class TestSinglestep(SolverSuite):
    plugin = Singlestep
    refused = ({"max_tokens": 0}, {"temperature": -1.0})


class TestMultistep(SolverSuite):
    plugin = Multistep
    options = {"skip": ("intent",)}
    refused = ({"max_tokens": 0}, {"skip": ("harm",)}, {"skip": ("decision",)})


class TestFewshotCot(SolverSuite):
    plugin = FewshotCot
    refused = ({"max_tokens": 0}, {"temperature": -1.0})


class TestGauntlet(SolverSuite):
    plugin = Gauntlet
    refused = ({"max_tokens": 0}, {"order": "random"})


class TestGauntletInParallel(SolverSuite):
    plugin = Gauntlet
    options = {"order": "parallel"}


class TestEnsemble(SolverSuite):
    plugin = Ensemble
    scores = "votes"
    refused = ({"weights": "file.json"}, {"vote": "most"}, {"inner": "no_such_solver"})


class TestCascade(SolverSuite):
    plugin = Cascade
    refused = ({"low": 0.9, "high": 0.1}, {"high": 2.0})


class TestSelfConsistency(SolverSuite):
    plugin = SelfConsistency
    scores = "votes"
    refused = ({"n": 0}, {"temperature": -1.0})


class TestReasoningTrace(SolverSuite):
    plugin = ReasoningTrace
    refused = ({"max_tokens": 0}, {"temperature": -1.0})


class TestGuardReasoner(SolverSuite):
    plugin = GuardReasoner
    refused = ({"window": 0}, {"read": "anywhere", "window": 300})

    def answer(self, target: Target, label: bool) -> str:
        """The target's line last, so that its word is the last of its kind."""
        lines = {Target.PROMPT: "Request", Target.REFUSAL: "Completion", Target.RESPONSE: "Response"}
        said = [f"{name}: {t.word(not label)}" for t, name in lines.items() if t is not target]
        return "\n".join(("Reasoning Step 1: a look.\n\nAnswers:", *said, f"{lines[target]}: {target.word(label)}"))
