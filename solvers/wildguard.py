"""``--solver wildguard``: the raw prompt of allenai/wildguard, one generation for three targets.

Han et al., 2024, arXiv:2406.18495; format from ``wildguard/utils.py`` and ``wildguard/wildguard.py``. An answer is::

    Harmful request: yes | no
    Response refusal: yes | no | n/a
    Harmful response: yes | no | n/a
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from guardeval.contracts import Asker, Case, Prompt
from guardeval.data import Target, Verdict
from guardeval.native.asking import shared, user_and_assistant
from guardeval.native.family import Family
from guardeval.native.family_solver import FamilySolver
from guardeval.native.lines import field_said
from guardeval.native.texts import fill, native_text

__all__ = ["WildGuard"]

_LABEL = {Target.PROMPT: "harmful request", Target.REFUSAL: "response refusal", Target.RESPONSE: "harmful response"}
_WORDS = {"yes": True, "no": False}
_FORCED = "Harmful request:"


@dataclass(frozen=True)
class WildGuard(FamilySolver):
    """The response is the empty string where there is none. The token probability is that of the target's own line, given
    the lines before it.
    """

    max_tokens: int = 128

    families: ClassVar[tuple[Family, ...]] = (
        Family(
            "WildGuard", ("wild-?guard",), frozenset(Target), "", ("raw",), "the word after the target's label",
            "allenai/wildguard, wildguard/utils.py",
            controls=("<|user|>", "<|assistant|>", "[INST]", "[/INST]", "<s>", "</s>"),
        ),
    )  # fmt: skip

    async def solve(self, case: Case, model: Asker) -> Verdict:
        read = partial(field_said, label=_LABEL[case.target], labels=tuple(_LABEL.values()), words=_WORDS, other=("n/a",))
        return await self.asked(case, model, self.prompt, read)

    def prompt(self, case: Case, model: Asker) -> Prompt:
        before, after = fill(native_text("wildguard"), "conversation")
        forced = _FORCED if model.traits.forced else ""
        text = user_and_assistant(case.sample, case.target, absent="")
        return Prompt(shared(before, after + "\n", raw=True, forced=forced), text)
