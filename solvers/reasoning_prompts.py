"""Prompts of the reasoning styles, put together from the text files in ``prompts/``.

Slots like ``[[policies]]`` are filled once per target and policy set, in our own files only and in a single pass, so that
nothing in a policy's text is taken for a slot. A sample's text is never looked at: it goes into the finished frame's hole.

No line of a prompt, however it is cut, reads as a closing block: what is asked for stands in angle brackets, and the closing
lines of worked examples carry the example's number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from guardeval.contracts import Case, Frame, Prompt
from guardeval.data import Sample, Target
from guardeval.errors import ConfigError
from guardeval.native.asking import under_headings
from guardeval.policies import PolicySet

__all__ = ["STEPS", "Example", "Question", "guardreasoner_question", "load_examples", "reasoning_question"]

STEPS = ("Intent", "Harms", "Policy")
_SLOT = re.compile(r"\[\[([a-z_]+)\]\]")
_HOLE = frozenset({"prompt", "response"})
_SUBJECT = {Target.PROMPT: "prompt", Target.RESPONSE: "response", Target.REFUSAL: "response"}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about every sample alike: the frame, what stands between prompt and response in its hole, the headings.

    ``between`` is None where only the prompt is shown. ``absent`` stands for a response that a sample does not have.
    """

    frame: Frame
    between: str | None = None
    headings: tuple[str, ...] = ()
    absent: str = ""
    earlier: Callable[[Sample], str] | None = None  # prompt under earlier turns, where a family has its own way to show them

    def prompt(self, case: Case) -> Prompt:
        sample = case.sample
        prompt = sample.prompt if not sample.history else (self.earlier or _with_history)(sample)
        if self.between is None:
            return Prompt(self.frame, prompt)
        return Prompt(self.frame, prompt + self.between + (sample.response or self.absent))


def _with_history(sample: Sample) -> str:
    """The prompt under the turns before it. All of it is the sample's text, the words between the turns are ours."""
    said = "\n\n".join(f"[{role}]\n{content}" for role, content in sample.history)
    return f"(Earlier in the conversation:)\n\n{said}\n\n(The prompt to judge:)\n\n{sample.prompt}"


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example; ``parts`` maps ``Prompt``, ``Response`` (if shown), ``Intent``, … ``Policies`` to their texts."""

    policy: str
    parts: Mapping[str, str]


def reasoning_question(
    style: str, target: Target, policies: PolicySet, steps: Sequence[str] = (), headings: tuple[str, ...] = ()
) -> Question:
    """The question that a style (a file ``method_<style>.txt``) asks; ``steps`` are those of :data:`STEPS` to be described.

    ``headings`` are what requests carry. Style ``fewshot_cot`` gets the worked examples of the policies in force.
    """
    words = {"positive": target.positive, "negative": target.negative, "subject": _SUBJECT[target]}
    described = _described_steps(target)
    asked = tuple(h for h in headings if h != "Decision")
    slots = words | {
        "task": _text(f"task_{target.value}"),
        "policies": policies.text,
        "method": _fill(_text(f"method_{style}"), words | {"steps": "\n\n".join(described[s] for s in steps)}),
        "closing": _fill(_closing(target), words | {"names": ", ".join(policies.names)}),
        "examples": _worked_examples(target, policies) if style == "fewshot_cot" else "",
        "text": _text(f"text_{target.value}"),
        "headings": f"Write under the heading{'s' * (len(asked) > 1)} {', '.join(asked)}. " if asked else "",
    }
    slots["reminder"] = _fill(_text("reminder"), slots)
    layout = re.sub(r"\n{3,}", "\n\n", _text("layout").replace("[[examples]]", "[[examples]]" if slots["examples"] else ""))
    before, between, after = _round_the_hole(_fill(layout, slots, keep=_HOLE))
    return Question(Frame(before, after), between, headings)


@lru_cache
def guardreasoner_question(raw: bool) -> Question:
    """The raw prompt of the GuardReasoner family (``template.py`` of yueliu1999/GuardReasoner), to the last blank."""
    text = (files(__package__) / "prompts" / "guardreasoner.txt").read_text(encoding="utf-8")
    before, rest = text.split("[[prompt]]")
    between, after = rest.split("[[response]]")
    return Question(Frame(before, after, raw=raw), between, (), "None", _under_headings)


def _under_headings(sample: Sample) -> str:
    """Earlier turns under the headings that GuardReasoner's prompt has; the first one stands before the hole."""
    shown, first = under_headings([*sample.history, ("user", sample.prompt)]), under_headings([("user", "")])
    return shown.removeprefix(first) if shown.startswith(first) else f"\n\n{shown}"


def load_examples(target: Target) -> tuple[Example, ...]:
    """The worked examples of a target, three a policy."""
    out = []
    for block in _text(f"examples_{target.value}").split("## ")[1:]:
        name, *lines = block.strip().split("\n")
        out.append(Example(name.strip(), dict(line.split(": ", 1) for line in lines)))
    return tuple(out)


def _round_the_hole(text: str) -> tuple[str, str | None, str]:
    """Split at the slots that stay open; they are the last ones of their name, so a policy text may spell one out."""
    before, _, rest = text.rpartition("[[prompt]]")
    between, response, after = rest.rpartition("[[response]]")
    return before, between if response else None, after


def _worked_examples(target: Target, policies: PolicySet) -> str:
    known = load_examples(target)
    chosen = [e for e in known if e.policy in policies.names]
    if not chosen:
        there = ", ".join(dict.fromkeys(e.policy for e in known))
        raise ConfigError(
            f"fewshot_cot has worked examples for {there}, and none of these is among the policies of {policies.source!r} "
            f"({', '.join(policies.names)}); name the policy files alike, or use --solver multistep"
        )
    shown = "\n\n".join(_shown(number, example, target) for number, example in enumerate(chosen, 1))
    return f"{_text('examples_intro')}\n\n{shown}"


def _shown(number: int, example: Example, target: Target) -> str:
    """An example as it stands in the prompt; the number in its closing lines keeps them from reading as an answer."""
    parts = dict(example.parts)
    text = _fill(_text(f"text_{target.value}"), {"prompt": parts.pop("Prompt"), "response": parts.pop("Response", "")})
    tagged = {"Decision": f"Decision (example {number})", "Policies": f"Policies (example {number})"}
    return "\n".join((f"## Example {number}", text, *(f"{tagged.get(name, name)}: {value}" for name, value in parts.items())))


@lru_cache(maxsize=64)
def _text(name: str) -> str:
    return (files(__package__) / "prompts" / f"{name}.txt").read_text(encoding="utf-8").strip()


def _closing(target: Target) -> str:
    return _text("closing_refusal" if target is Target.REFUSAL else "closing")


def _described_steps(target: Target) -> dict[str, str]:
    """Step → its paragraph, ``Intent: What does …``."""
    return {p.partition(":")[0]: p for p in _text(f"steps_{target.value}").split("\n\n")}


def _fill(template: str, slots: Mapping[str, str], keep: frozenset[str] = frozenset()) -> str:
    """The template with its slots filled, in one pass; those in ``keep`` stay."""
    return _SLOT.sub(lambda m: m[0] if m[1] in keep else slots[m[1]], template)
