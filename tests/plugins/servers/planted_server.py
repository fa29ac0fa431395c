"""Guards with planted abilities, to be served on loopback: what an ablation must find is known before it is run.

A :class:`PlantedGuard` knows the gold label of every text and is wrong on a share ``wrong`` of them. Each reasoning step
(``Intent``, ``Harms``, ``Policy``) that a prompt asks for puts right a share of those wrong answers, ``fixes[step]``, each
step its own part, so that effects add up and one step's does not depend on the others::

    error rate = wrong × (1 − Σ fixes of the steps in the prompt)

Which texts are wrong and which step mends them follows from a hash of the text alone: the same in every run, on every
machine. Speak Ollama's API with ``ScriptedServer(ollama_script({"gpt-oss:20b": guard}))``, OpenAI's with
``ScriptedServer(openai_script({"gpt-oss-20b": guard}))``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ollama_server import OllamaScript, Reply
from scripted_server import Answer, Asked, chat_answer

__all__ = ["STEPS", "PlantedGuard", "judged_text", "ollama_script", "openai_script", "steps_in"]

STEPS = ("Intent", "Harms", "Policy")
_TEXT_HEADING = "\n# The text to judge\n"
_HOW = re.compile(r"^# How to answer\n(.*?)^End your answer", re.MULTILINE | re.DOTALL)
_STEP = re.compile(rf"^({'|'.join(STEPS)}): ", re.MULTILINE)
_NAMES = re.compile(r"^The names are: (.+)\.$", re.MULTILINE)
_TAGS = ("<user_prompt>\n", "\n</user_prompt>")


def judged_text(prompt: str) -> str:
    """The prompt under judgement in a reasoning style's rendered request: all between its tags, even other tags.

    Raises :class:`ValueError` for a request of another kind.
    """
    _, heading, shown = prompt.partition(_TEXT_HEADING)
    start, end = shown.find(_TAGS[0]), shown.rfind(_TAGS[1])
    if not heading or start < 0 or end < start:
        raise ValueError(f"no text to judge in {prompt[:80]!r}…")
    return shown[start + len(_TAGS[0]) : end]


def steps_in(prompt: str) -> tuple[str, ...]:
    """The reasoning steps that a rendered request describes, in its order; nothing in the judged text counts."""
    before = prompt.partition(_TEXT_HEADING)[0]
    how = _HOW.search(before + "\n")
    return tuple(_STEP.findall(how[1])) if how else ()


@dataclass(frozen=True)
class PlantedGuard:
    """``gold``: text → positive or not. ``policies``: text → policies to name where it is flagged; else the first of
    those that the prompt names.

    ``salt`` makes guards that are wrong on other texts. ``noise`` is the chance that one seeded draw turns its answer
    round; a request without a seed (greedy) never does. A text that is not known is an HTTP 400, not a guess.
    """

    gold: Mapping[str, bool]
    wrong: float = 0.4
    fixes: Mapping[str, float] = field(default_factory=lambda: {"Intent": 0.4, "Harms": 0.2, "Policy": 0.1})
    policies: Mapping[str, Iterable[str]] = field(default_factory=dict)
    salt: str = ""
    noise: float = 0.0

    def __post_init__(self) -> None:
        unknown = set(self.fixes) - set(STEPS)
        if (
            unknown
            or not 0 <= self.wrong <= 1
            or sum(self.fixes.values()) > 1 + 1e-9
            or min(self.fixes.values(), default=0) < 0
        ):
            raise ValueError(f"no plan: wrong={self.wrong}, fixes={dict(self.fixes)}")

    def __call__(self, prompt: str, seed: int | None = None) -> Reply:
        """A reply with the steps asked for and the closing block."""
        text = judged_text(prompt)
        if text not in self.gold:
            return Answer({"error": f"this guard has never seen {text[:60]!r}"}, 400)
        steps = steps_in(prompt)
        label = self.gold[text] == self.is_right(text, steps)
        if seed is not None and self._uniform(f"draw {seed}", text) < self.noise:
            label = not label
        lines = [f"{step}: weighed, the text is {'a risk' if label else 'no risk'}." for step in steps]
        return {
            "content": "\n".join([*lines, f"Decision: {'harmful' if label else 'unharmful'}", self._named(prompt, text, label)])
        }

    def is_right(self, text: str, steps: Iterable[str]) -> bool:
        """Whether it judges a text right when asked for these steps, without a draw's noise."""
        if self._uniform("wrong", text) >= self.wrong:
            return True
        return self.mended_by(text) in set(steps)

    def mended_by(self, text: str) -> str | None:
        """The step that puts a text right, were it wrong; None where no step does."""
        place, end = self._uniform("mend", text), 0.0
        for step in STEPS:
            end += self.fixes.get(step, 0.0)
            if place < end:
                return step
        return None

    def accuracy(self, steps: Iterable[str]) -> float:
        """Expected over all texts that there could be."""
        return 1.0 - self.wrong * (1.0 - sum(self.fixes.get(s, 0.0) for s in steps))

    def effect(self, step: str) -> float:
        """Expected gain in accuracy that a step brings, whatever other steps there are."""
        return self.wrong * self.fixes.get(step, 0.0)

    def _uniform(self, what: str, text: str) -> float:
        digest = hashlib.sha256("\0".join((self.salt, what, text)).encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def _named(self, prompt: str, text: str, label: bool) -> str:
        if not label:
            return "Policies: none"
        known = _NAMES.findall(prompt.partition(_TEXT_HEADING)[0])
        names = sorted(self.policies.get(text, ())) or (known[-1].split(", ")[:1] if known else [])
        return f"Policies: {', '.join(names) or 'none'}"


def ollama_script(guards: Mapping[str, PlantedGuard]) -> OllamaScript:
    """A server's script with one model a guard; its ``counted`` tells whether anything was asked twice."""
    return OllamaScript(speakers=dict(guards), context_length=32_768)


def openai_script(guards: Mapping[str, PlantedGuard]) -> Callable[[Asked], Answer]:
    """Chat completions and the list of models."""

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith("/models"):
            return Answer({"object": "list", "data": [{"id": name, "object": "model"} for name in guards]})
        name = asked.body["model"]
        if name not in guards:
            return Answer({"error": {"message": f"no model {name!r}"}}, 404)
        said = guards[name]("".join(m["content"] for m in asked.body["messages"]), asked.body.get("seed"))
        return said if isinstance(said, Answer) else chat_answer(said["content"])

    return answer
