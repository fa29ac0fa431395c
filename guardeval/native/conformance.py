"""Does a live tokenizer or server read a family's prompts as this project writes them? Its answer: the same, drift, or unknown.

Families have a raw form (our text) and a chat form (turns, dressed by the model's own template). Where a family has both, the
dressed turns must be the raw text; where it has turns only, what the template writes is shown by its size and must hold each
turn once. A beginning of text (BOS) must stand there once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from guardeval.contracts import Asker, BatchModel, Case, Completion, Model, Prompt, Request, Solver, Traits
from guardeval.data import Sample, Target
from guardeval.errors import ConfigError, ModelError
from guardeval.native.family import Family
from guardeval.policies import PolicySet

__all__ = ["Conforms", "Finding", "Rendering", "check_family", "drift"]

_BEGINNINGS = ("<|begin_of_text|>", "<s>", "<bos>", "<|startoftext|>")
_RAW = Traits(raw=True, chat=False, literal=True)
_CHAT = Traits(raw=False, chat=True, template=True, literal=True)
_HISTORY = (("user", "Good morning."), ("assistant", "Good morning, how can I help?"))
_ASKED, _ANSWERED = "Which flour is best for a light bread?", "Strong white flour, well rested."


@runtime_checkable
class Rendering(Protocol):
    """A model that shows the text it reads for a prompt: chat template applied, beginning of text included."""

    async def render(self, prompt: Prompt) -> str: ...


class Conforms(StrEnum):
    """What a comparison found."""

    SAME = "same"
    DRIFT = "drift"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One prompt compared. ``what`` names the case, ``words`` say what was found."""

    what: str
    result: Conforms
    words: str


async def check_family(solver: Solver, family: Family, model: Model | BatchModel, policies: PolicySet) -> list[Finding]:
    """All conversations that the family can be asked about. Raises :class:`ConfigError` for a backend that shows nothing."""
    if not isinstance(model, Rendering):
        raise ConfigError(
            "this backend does not show the text that the model reads; hf, onnx, llama_cpp and openai_compatible (of a server "
            "with /tokenize or /apply-template) do"
        )
    out = []
    for what, case in _cases(family, policies):
        raw = await _first(solver, case, _RAW) if "raw" in family.forms else None
        chat = await _first(solver, case, _CHAT) if "chat" in family.forms else None
        try:
            out.append(await _compared(what, raw, chat, model))
        except ModelError as e:
            out.append(Finding(what, Conforms.UNKNOWN, str(e)))
    return out


def drift(ours: str, theirs: str) -> str:
    """Where two texts part, in words; empty where they are equal."""
    if ours == theirs:
        return ""
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    line, column = ours.count("\n", 0, at) + 1, at - (ours.rfind("\n", 0, at) + 1) + 1
    shown = [repr(text[at : at + 40]) if at < len(text) else "nothing more" for text in (ours, theirs)]
    return f"line {line}, column {column}: here {shown[0]}, there {shown[1]}"


def _cases(family: Family, policies: PolicySet) -> list[tuple[str, Case]]:
    out = []
    for target in sorted(family.targets):
        answer = None if target is Target.PROMPT else _ANSWERED
        for what, history in (("one turn", ()), *((("several turns", _HISTORY),) if family.history else ())):
            out.append((f"{target}, {what}", Case(Sample("0", 0, _ASKED, answer, history=history), target, policies)))
    return out


class _Listening:
    """A backend of these traits that answers nothing and keeps what it is asked."""

    def __init__(self, traits: Traits) -> None:
        self.name, self.traits = "listener", traits
        self.asked: list[Request] = []

    async def generate(self, request: Request) -> Completion:
        self.asked.append(request)
        return Completion("")


async def _first(solver: Solver, case: Case, traits: Traits) -> Prompt:
    listener = _Listening(traits)
    asker: Asker = listener
    await solver.solve(case, asker)
    return listener.asked[0].prompt


async def _compared(what: str, raw: Prompt | None, chat: Prompt | None, model: Rendering) -> Finding:
    if chat is None:
        assert raw is not None  # noqa: S101  # a family has a form
        begun, _ = _begun(await model.render(raw))
        once = begun <= 1
        return Finding(what, Conforms.SAME if once else Conforms.DRIFT, f"raw text, beginning of text {begun} times")
    begun, theirs = _begun(await model.render(chat))
    if begun > 1:
        return Finding(what, Conforms.DRIFT, f"the beginning of text stands there {begun} times")
    if chat.frame.role == "assistant" and not chat.frame.forced and theirs.rstrip().endswith(chat.last.strip()):
        return Finding(what, Conforms.DRIFT, "the last turn stands at the end: the model would continue it, not judge it")
    if raw is not None:
        parted = drift(raw.last, theirs)
        return Finding(what, Conforms.DRIFT if parted else Conforms.SAME, parted or f"{len(theirs)} characters alike")
    missing = [content for _, content in chat.turns if theirs.count(content.strip()) != 1]
    if missing:
        return Finding(what, Conforms.DRIFT, f"the template does not show once: {missing[0][:60]!r}")
    added = len(theirs) - sum(len(content) for _, content in chat.turns)
    return Finding(what, Conforms.SAME, f"all turns once, {added} characters by the template; there is no raw text to compare")


def _begun(text: str) -> tuple[int, str]:
    """How often a beginning of text opens it, and the text without."""
    count, found = 0, True
    while found:
        found = False
        for beginning in _BEGINNINGS:
            if text.startswith(beginning):
                text, count, found = text.removeprefix(beginning), count + 1, True
    return count, text


async def gives_probabilities(model: Model | BatchModel, solver: Solver, case: Case) -> str:
    """Whether the backend reports token probabilities for this solver's request, in words."""
    listener = _Listening(model.traits)
    asker: Asker = listener
    await solver.solve(case, asker)
    request = listener.asked[0]
    if not model.traits.logprobs:
        return "token probabilities: none, the backend gives none"
    completion = await _answer(model, request)
    most = max((len(t.top) for t in completion.tokens), default=0)
    return f"token probabilities: {most} alternatives a token" if most else "token probabilities: none came back"


async def _answer(model: Any, request: Request) -> Completion:
    if hasattr(model, "generate_batch"):
        answered: Sequence[Completion] = model.generate_batch([request])
        return answered[0]
    found: Completion = await model.generate(request)
    return found
