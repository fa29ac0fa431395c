"""Small real values with sensible defaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from guardeval.contracts import Case
from guardeval.data import Judged, Outcome, Sample, Target, Usage, Verdict
from guardeval.policies import POLICIES, Policy, PolicySet

__all__ = ["a_case", "a_judged", "a_sample", "a_verdict", "of_each_gold"]

SHORT_POLICIES = PolicySet("test", tuple(Policy(name, f"Nothing that is {name.replace('_', ' ')}.") for name in POLICIES))


def a_sample(prompt: str = "How do I bake bread?", response: str | None = None, **fields: Any) -> Sample:
    given: dict[str, Any] = {"id": "0", "index": 0, "labels": {Target.PROMPT: False}}
    return Sample(prompt=prompt, response=response, **(given | fields))


def a_case(
    sample: Sample | None = None, target: Target = Target.PROMPT, policies: PolicySet = SHORT_POLICIES, **fields: Any
) -> Case:
    return Case(sample or a_sample(**fields), target, policies)


def of_each_gold(case: Case) -> Iterator[Case]:
    """The same case labelled in every way: harmful, with a policy; unharmful; not at all."""
    names = case.policies.names
    for label in (True, False, None):
        gold: dict[str, Any] = {"labels": {} if label is None else {case.target: label}}
        gold |= {"policies": frozenset(names[:1] if label else ()), "known_policies": frozenset(names)}
        yield replace(case, sample=replace(case.sample, category=str(label), doc={"label": label}, **gold))


def a_verdict(label: bool | None = True, target: Target = Target.PROMPT, **fields: Any) -> Verdict:
    """``label=None`` makes an unparseable verdict unless ``outcome`` says otherwise."""
    outcome = Outcome.UNPARSEABLE if label is None else Outcome.PARSED
    return Verdict(**({"target": target, "outcome": outcome, "label": label} | fields))


def a_judged(gold: bool | None, label: bool | None, index: int = 0, target: Target = Target.PROMPT, **fields: Any) -> Judged:
    """A judged sample; ``fields`` named like :class:`Sample`'s go there, the others into the verdict."""
    own = {k: fields.pop(k) for k in list(fields) if k in Sample.__annotations__}
    given: dict[str, Any] = {"id": str(index), "index": index, "prompt": f"prompt {index}"}
    sample = Sample(labels={} if gold is None else {target: gold}, **(given | own))
    return Judged(sample, a_verdict(label, target, **fields), Usage(requests=1))
