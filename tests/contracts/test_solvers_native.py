"""Every native family keeps the contract of solvers, in its own format of answers."""

from __future__ import annotations

from guardeval.contracts import Traits
from guardeval.data import Target
from guardeval.solvers.gpt_oss_safeguard import GptOssSafeguard
from guardeval.solvers.granite_guardian import GraniteGuardian
from guardeval.solvers.llama_guard import LlamaGuard
from guardeval.solvers.md_judge import MDJudge
from guardeval.solvers.native import Native
from guardeval.solvers.nemotron import Nemotron
from guardeval.solvers.polyguard import PolyGuard
from guardeval.solvers.qwen3guard import Qwen3Guard
from guardeval.solvers.shieldgemma import ShieldGemma
from guardeval.solvers.wildguard import WildGuard
from guardeval.testing.suites import SolverSuite

JUDGED = (Target.PROMPT, Target.RESPONSE)
UNFORCED = Traits(raw=True, logprobs=True, template=True, literal=True)
CHAT = Traits(logprobs=True, template=True, literal=True)


class Words(SolverSuite):
    """A family that answers in one word."""

    targets = JUDGED
    said = ("unsafe", "safe")

    def answer(self, target: Target, label: bool) -> str:
        return self.said[0 if label else 1]

    def words(self, target: Target) -> tuple[str, str]:
        return self.said


class Lines(SolverSuite):
    """A family that answers about all three targets, a line each; the target's line last."""

    traits = UNFORCED
    names = {Target.PROMPT: "Harmful request", Target.REFUSAL: "Response refusal", Target.RESPONSE: "Harmful response"}

    def answer(self, target: Target, label: bool) -> str:
        others = [f"{name}: {'no' if label else 'yes'}" for t, name in self.names.items() if t is not target]
        return "\n".join((*others, f"{self.names[target]}: {'yes' if label else 'no'}"))

    def words(self, target: Target) -> tuple[str, str]:
        return "yes", "no"


class TestLlamaGuard(Words):
    plugin = LlamaGuard
    traits = CHAT


class TestNative(Words):
    plugin = Native
    model_name = "meta-llama/Llama-Guard-3-8B"
    traits = CHAT


class TestMDJudge(Words):
    plugin = MDJudge
    options = {"version": "0.1"}

    def shown(self, text: str) -> str:
        """As the family's own template has it."""
        return text.strip()


class TestShieldGemma(Words):
    plugin = ShieldGemma
    history = False
    traits = CHAT
    said = ("Yes", "No")


class TestGraniteGuardian(Words):
    plugin = GraniteGuardian
    options = {"version": "3.0"}
    traits = CHAT
    said = ("Yes", "No")


class TestGptOssSafeguard(Words):
    plugin = GptOssSafeguard
    traits = CHAT
    said = ("1", "0")


class TestWildGuard(Lines):
    plugin = WildGuard


class TestPolyGuard(Lines):
    plugin = PolyGuard
    traits = CHAT


class TestQwen3Guard(SolverSuite):
    plugin = Qwen3Guard
    traits = CHAT

    def answer(self, target: Target, label: bool) -> str:
        word = self.words(target)[0 if label else 1]
        return f"Safety: Safe\nCategories: None\nRefusal: {word}" if target is Target.REFUSAL else f"Safety: {word}"

    def words(self, target: Target) -> tuple[str, str]:
        return ("Yes", "No") if target is Target.REFUSAL else ("Unsafe", "Safe")


class TestNemotron(SolverSuite):
    plugin = Nemotron
    options = {"version": "reasoning", "think": False}
    targets = JUDGED
    traits = CHAT

    def answer(self, target: Target, label: bool) -> str:
        lines = {Target.PROMPT: "Prompt harm", Target.RESPONSE: "Response harm"}
        other = [f"{name}: {t.word(not label)}" for t, name in lines.items() if t is not target]
        return "\n".join((*other, f"{lines[target]}: {target.word(label)}"))
