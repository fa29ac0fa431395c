"""Does a live tokenizer or server read a family's prompts as this project writes them? Its answer: the same, drift, or unknown.

Families have a raw form (our text) and a chat form (turns, dressed by the model's own template). Where a family has both, the
dressed turns must be the raw text, unless the family says that no template writes it; where it has turns only, what the
template writes is shown by its size and must hold each turn once. A raw form alone must be what the tokenizer reads. Where the
tokenizer has a beginning of text (BOS), it must stand there once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from guardeval.contracts import Asker, BatchModel, Case, Completion, Model, Prompt, Request, Solver, Traits
from guardeval.data import Sample, Target
from guardeval.errors import ConfigError, ModelError
from guardeval.native.family import Family
from guardeval.policies import PolicySet

__all__ = ["Conforms", "Finding", "KnowsBeginning", "Rendering", "check_family", "drift"]

_BEGINNINGS = ("<|begin_of_text|>", "<s>", "<bos>", "<|startoftext|>")
_RAW = Traits(raw=True, chat=False, literal=True)
_CHAT = Traits(raw=False, chat=True, template=True, literal=True)
# what transformers' decoders do to blanks of a text where `clean_up_tokenization_spaces` is set, as Llama 3's files set it
_TIDIED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
_HISTORY = (("user", "Good morning."), ("assistant", "Good morning, how can I help?"))
_ASKED, _ANSWERED = "Which flour is best for a light bread?", "Strong white flour, well rested."


@runtime_checkable
class Rendering(Protocol):
    """A model that shows the text it reads for a prompt: chat template applied, beginning of text included."""

    async def render(self, prompt: Prompt) -> str: ...


@runtime_checkable
class KnowsBeginning(Protocol):
    """One that also knows what its tokenizer puts before a raw text: ``""`` for nothing, None where it cannot tell."""

    async def beginning(self) -> str | None: ...


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
    beginning = await _beginning_of(model)
    out = []
    for what, case in _cases(family, policies):
        raw, chat = await _prompts(solver, family, case, model.traits)
        try:
            out.append(await _compared(what, raw, chat, model, beginning))
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


async def _prompts(solver: Solver, family: Family, case: Case, traits: Traits) -> tuple[Prompt | None, Prompt | None]:
    """The raw and the chat form to be compared; the one that the backend is asked in where no template writes the raw text."""
    raw = await _first(solver, case, _RAW) if "raw" in family.forms else None
    chat = await _first(solver, case, _CHAT) if "chat" in family.forms else None
    if raw is None or chat is None or family.dressed:
        return raw, chat
    return (raw, None) if traits.raw else (None, chat)


async def _beginning_of(model: object) -> str | None:
    if not isinstance(model, KnowsBeginning):
        return None
    try:
        return await model.beginning()
    except ModelError:
        return None  # what keeps it from being asked is told of every prompt


async def _compared(what: str, raw: Prompt | None, chat: Prompt | None, model: Rendering, beginning: str | None) -> Finding:
    asked = raw if chat is None else chat
    assert asked is not None  # noqa: S101  # a family has a form
    begun, theirs = _begun(await model.render(asked), beginning)
    if begun > 1:
        return Finding(what, Conforms.DRIFT, f"the beginning of text stands there {begun} times")
    judged = asked is chat and asked.frame.role == "assistant" and not asked.frame.forced
    if judged and theirs.rstrip().endswith(asked.last.strip()):
        return Finding(what, Conforms.DRIFT, "the last turn stands at the end: the model would continue it, not judge it")
    if raw is None:
        return _turns_shown(what, asked, theirs, _of_beginning(begun, beginning))
    same, words = _likeness(raw.last + asked.frame.forced, theirs)
    if not same:
        return Finding(what, Conforms.DRIFT, words)
    if beginning and not begun:
        return Finding(what, Conforms.DRIFT, _of_beginning(begun, beginning))
    form = "the raw text alone, no template writes it: " if asked is raw else ""
    return Finding(what, Conforms.SAME, f"{form}{words}, {_of_beginning(begun, beginning)}")


def _turns_shown(what: str, chat: Prompt, theirs: str, begun: str) -> Finding:
    """Of a chat that no raw text of ours states: each turn must stand there once."""
    contents = [content.strip() for _, content in chat.turns]
    missing = [c for c in contents if 1 not in (theirs.count(c), theirs.count(_tidied(c)))]
    if missing:
        return Finding(what, Conforms.DRIFT, f"the template does not show once: {missing[0][:60]!r}")
    added = len(theirs) - sum(len(content) for _, content in chat.turns)
    words = f"all turns once, {added} characters by the template, {begun}; there is no raw text to compare"
    return Finding(what, Conforms.SAME, words)


def _likeness(ours: str, theirs: str) -> tuple[bool, str]:
    """Whether a text is ours but for what decoding its tokens does to blanks, and in words how far."""
    if not ours.startswith(" "):
        theirs = theirs.removeprefix(" ")  # that sentencepiece puts before a text
    if theirs in (ours, ours.removeprefix(" ")):  # or takes for one that it has put there
        return True, f"{len(ours)} characters alike"
    if theirs == _tidied(ours):
        return True, f"{len(ours)} characters alike but for blanks before punctuation, which decoding leaves out"
    return False, drift(ours, theirs)


def _tidied(text: str) -> str:
    for written in _TIDIED:
        text = text.replace(written, written.strip())
    return text


def _of_beginning(begun: int, beginning: str | None) -> str:
    if begun:
        return "beginning of text once"
    if beginning is None:
        return "no beginning of text shown (whether the tokenizer has one is not told)"
    if beginning:
        return f"no beginning of text, and this tokenizer puts {beginning!r} before a raw one"
    return "no beginning of text: this tokenizer has none to add"


def _begun(text: str, beginning: str | None) -> tuple[int, str]:
    """How often a beginning of text opens it, and the text without."""
    own = re.fullmatch(r"(.+?)\1*", beginning, re.DOTALL) if beginning else None  # a tokenizer may put it there twice
    known = (*_BEGINNINGS, own[1]) if own else _BEGINNINGS
    count, rest = 0, text
    while found := next((b for b in known if rest.startswith(b)), None):
        text, count = rest.removeprefix(found), count + 1
        rest = text.removeprefix(" ")  # some decoders part control tokens by blanks
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
