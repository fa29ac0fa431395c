"""A logged answer read by a solver: the solver asks, and gets what the model said then, whatever it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from guardeval.causal.answer import up_to_block
from guardeval.contracts import Case, Completion, Exchange, Frame, Prompt, Request, Sampling, Solver, Traits
from guardeval.data import Outcome, Verdict
from guardeval.errors import ModelError
from guardeval.interop.logged import Logged
from guardeval.interop.recorded import Asked
from guardeval.verdicts import verdict_from

__all__ = ["exchanges_of", "read_logged"]


async def read_logged(logged: Logged, case: Case, solver: Solver | None) -> Verdict:
    """The verdict of a logged sample, read by ``solver``; None reads the closing block.

    FAILED where nothing was heard, or the solver asks for more answers than there are.
    """
    if logged.error is not None or not logged.asked:
        return Verdict(case.target, Outcome.FAILED, raw=logged.error or "the log holds no answer")
    completions = _completions(logged)
    if solver is None:
        last = logged.asked[-1]
        return verdict_from(completions[-1], case, request=Request(_prompt(last, case), case, Sampling()))
    try:
        return await solver.solve(case, _Logbook(logged.asked, completions, logged.to_block))
    except ModelError as e:
        return Verdict(case.target, Outcome.FAILED, raw=str(e))


class _Logbook:
    """An asker that answers from a list: what was said to the same question, else the next."""

    name = "log"
    traits = Traits(raw=True, forced=True, template=True, logprobs=True, timed=False)

    def __init__(self, asked: Sequence[Asked], completions: Sequence[Completion], to_block: bool = False) -> None:
        self._left = list(zip(map(_as_text, asked), completions, strict=True))
        self._held, self._to_block = len(completions), to_block

    async def generate(self, request: Request) -> Completion:
        if not self._left:
            raise ModelError(f"the log holds {self._held} answers to this sample, and the solver asks for more")
        text = request.prompt.as_text()  # questions that went out together stand in the order of their answers
        place = next((i for i, (asked, _) in enumerate(self._left) if asked == text), 0)
        said = self._left.pop(place)[1]
        return replace(said, text=up_to_block(said.text, request)) if self._to_block else said


def _completions(logged: Logged) -> list[Completion]:
    last = len(logged.asked) - 1
    return [
        Completion(
            one.answer,
            one.finish,
            one.thinking,
            logged.tokens if i == last else (),
            logged.usage.tokens_in if i == last else 0,
            logged.usage.tokens_out if i == last else 0,
        )
        for i, one in enumerate(logged.asked)
    ]


def _prompt(asked: Asked, case: Case) -> Prompt:
    """The prompt as it was asked, taken apart round what is judged, so that an answer that repeats it is known as such."""
    text, sample = asked.turns[-1].content if asked.turns else "", case.sample
    start = text.find(sample.prompt)
    if start < 0 or not sample.prompt:
        return Prompt(Frame(text), f"{sample.prompt}\n{sample.response or ''}")
    end = start + len(sample.prompt)
    if sample.response and (place := text.find(sample.response, end)) >= 0:
        end = place + len(sample.response)
    return Prompt(Frame(text[:start], text[end:]), text[start:end])


def exchanges_of(logged: Logged, case: Case) -> list[Exchange]:
    """What was asked and answered, for the samples file: the prompt as it was logged, and nothing that was not."""
    out = []
    for one, completion in zip(logged.asked, _completions(logged), strict=True):
        out.append(Exchange(Request(Prompt.raw(_as_text(one)), case, _sampling(one.settings)), completion))
    return out


def _as_text(asked: Asked) -> str:
    """The prompt as samples files show it."""
    if not asked.turns:
        return ""
    *earlier, last = asked.turns
    return Prompt(Frame("", turns=earlier, role=last.role, options=asked.options), last.content).as_text()


def _sampling(settings: Mapping[str, Any]) -> Sampling:
    """lm-eval's names; what was not logged stays at its usual value."""
    usual = Sampling()
    until = settings.get("until") or ()
    given = settings.get("max_gen_toks")
    return Sampling(
        max_tokens=given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else usual.max_tokens,
        temperature=_number(settings.get("temperature"), usual.temperature),
        top_p=_number(settings.get("top_p"), usual.top_p),
        stop=tuple(map(str, [until] if isinstance(until, str) else until)) if isinstance(until, (str, list, tuple)) else (),
    )


def _number(value: Any, usual: float) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else usual
