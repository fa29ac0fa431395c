"""How a rendered prompt fits into an lm-eval task: its text, a system turn, the beginning of the answer; or why it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guardeval.contracts import Prompt, Sampling
from guardeval.errors import ConfigError

__all__ = ["Asked", "Form", "fitted", "generation_kwargs"]


@dataclass(frozen=True, slots=True)
class Form:
    """What all prompts of a task have in common. ``options`` are those of the model's chat template."""

    raw: bool
    system: bool
    begun: bool
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt, as lm-eval puts it together: ``text`` under a ``system`` turn, the answer ``begun``; "" for none."""

    text: str
    system: str
    begun: str
    form: Form


def fitted(prompt: Prompt) -> Asked:
    """Raises :class:`ConfigError` for a conversation that an lm-eval task cannot state."""
    frame = prompt.frame
    if frame.raw:
        return Asked(prompt.last + frame.forced, "", "", Form(True, False, False, {}))
    *earlier, last = prompt.turns
    if last.role != "user" or len(earlier) > 1 or any(role != "system" for role, _ in earlier):
        turns = ", ".join(role for role, _ in prompt.turns)
        raise ConfigError(
            f"its prompt is a conversation of turns ({turns}), and an lm-eval task states one user turn, under a system turn "
            "at most"
        )
    system = earlier[0].content if earlier else ""
    return Asked(last.content, system, frame.forced, Form(False, bool(system), bool(frame.forced), dict(frame.options)))


def generation_kwargs(sampling: Sampling) -> dict[str, Any]:
    """lm-eval's words for how an answer is drawn."""
    drawn = sampling.temperature > 0
    return {
        "until": list(sampling.stop),
        "do_sample": drawn,
        "temperature": sampling.temperature,
        **({"top_p": sampling.top_p} if drawn and sampling.top_p != 1 else {}),
        "max_gen_toks": sampling.max_tokens,
    }
