"""Every family's prompts to the last blank, and its answers, well formed and broken, against tables written by hand.

``golden/*.yaml``: ``prompts`` (case → rendered text or turns), ``answers`` (what was written → verdict), ``probability``
(tokens → P(positive)). ``{n line ends}`` at the end of a text stands for them; BOS is the tokenizer's to add.
"""

from __future__ import annotations

import re
from math import log
from pathlib import Path
from typing import Any

import pytest
import yaml

from guardeval.contracts import Asker, Completion, Finish, Request, Token, Traits
from guardeval.data import Outcome, Sample, Target, Verdict
from guardeval.errors import ConfigError
from guardeval.registry import Registry
from guardeval.testing import a_case

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.yaml"))
FILES = {p.stem: yaml.safe_load(p.read_text(encoding="utf-8")) for p in GOLDEN}
SAMPLES: dict[str, dict[str, Any]] = {
    "one": {"prompt": "How do I bake bread?", "response": "Knead it, then wait."},
    "no response": {"prompt": "How do I bake bread?", "response": None},
    "several": {
        "prompt": "How do I bake bread?",
        "response": "Knead it, then wait.",
        "history": (("user", "Hello."), ("assistant", "Hello, what can I do?")),
    },
}
BACKENDS = {
    "raw": Traits(raw=True, chat=True, forced=True, template=True, logprobs=True),
    "chat": Traits(raw=False, chat=True, forced=True, template=True, logprobs=True),
    "raw only": Traits(raw=True, chat=False, logprobs=True),
    "unforced raw": Traits(raw=True, chat=True, logprobs=True),
    "unforced chat": Traits(raw=False, chat=True, logprobs=True),
    "plain chat": Traits(raw=False, chat=True),
}


class Answering:
    """A backend of these traits that says the given completions in turn, the last one again and again."""

    def __init__(self, traits: Traits, *completions: Completion) -> None:
        self.name, self.traits, self.asked = "guard", traits, list[Request]()
        self._left = list(completions)

    async def generate(self, request: Request) -> Completion:
        self.asked.append(request)
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


def rows(kind: str) -> list[Any]:
    return [
        pytest.param(table["solver"], row, id=f"{name}-{number}")
        for name, table in FILES.items()
        for number, row in enumerate(table.get(kind, ()))
    ]


def solver_of(name: str, given: dict[str, Any]) -> Any:
    return Registry().build("solvers", name, given.get("options", {}))


async def asked(name: str, given: dict[str, Any]) -> list[Request]:
    model: Asker = Answering(BACKENDS[given.get("backend", "raw")], Completion(""))
    case = a_case(target=Target(given.get("target", "prompt_harmfulness")), **SAMPLES[given.get("sample", "one")])
    await solver_of(name, given).solve(case, model)
    return model.asked  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(("solver", "row"), rows("prompts"))
async def test_a_prompt_is_the_familys_own(solver: str, row: dict[str, Any]) -> None:
    requests = await asked(solver, row["given"])
    request = requests[row.get("call", 0)]
    frame = request.prompt.frame
    assert frame.forced == row.get("forced", "")
    assert dict(frame.options) == row.get("template", {})
    if "raw" in row:
        assert frame.raw
        ends = re.search(r"\{(\d) line ends\}$", row["raw"])
        wanted = row["raw"] if ends is None else row["raw"][: ends.start()] + "\n" * int(ends[1])
        assert request.prompt.last == wanted
    else:
        assert not frame.raw
        assert [list(t) for t in request.prompt.turns] == row["chat"]
    assert len(requests) == row.get("calls", 1)


def completion_of(row: dict[str, Any]) -> Completion:
    return Completion(row["text"], Finish(row.get("finish", "stop")), row.get("thinking"))


async def answered(solver: str, row: dict[str, Any], *completions: Completion) -> Verdict:
    traits = BACKENDS[row.get("backend", "chat")]
    case = a_case(target=Target(row.get("target", "prompt_harmfulness")), **SAMPLES["one"] | row.get("sample", {}))
    verdict: Verdict = await solver_of(solver, row).solve(case, Answering(traits, *completions))
    return verdict


@pytest.mark.parametrize(("solver", "row"), rows("answers"))
async def test_an_answer_reads_as_the_table_says(solver: str, row: dict[str, Any]) -> None:
    verdict = await answered(solver, row, completion_of(row))
    assert verdict.outcome is Outcome(row.get("outcome", "parsed")), verdict.notes
    assert verdict.label is row.get("label")
    assert [c.rpartition(":")[2] for c in verdict.codes] == row.get("codes", [])
    assert verdict.policies == frozenset(row.get("policies", ()))
    assert verdict.score is None
    if "note" in row:
        assert row["note"] in " ".join(verdict.notes)


@pytest.mark.parametrize(("solver", "row"), rows("probability"))
async def test_a_probability_is_the_share_of_the_verdict_words_alone(solver: str, row: dict[str, Any]) -> None:
    tokens = [Token(text, log(top[text]), tuple((t, log(p)) for t, p in top.items())) for text, top in row["tokens"]]
    verdict = await answered(
        solver, {"backend": "raw"} | row, Completion("".join(t.text for t in tokens), tokens=tuple(tokens))
    )
    assert verdict.score == pytest.approx(row["score"])
    assert verdict.score_source == "tokens"


def families(raw_only: bool = False) -> list[Any]:
    registry = Registry()
    return [
        pytest.param(name, family, id=family.name)
        for name in registry.entries("solvers")
        for family in getattr(registry.load("solvers", name), "families", ())
        if not raw_only or family.forms == ("raw",)
    ]


@pytest.mark.parametrize(("solver", "family"), families())
def test_every_family_has_golden_prompts_and_answers_and_a_taxonomy_with_a_crosswalk(solver: str, family: Any) -> None:
    own = [t for t in FILES.values() if t["solver"] == solver]
    given = [{"target": "prompt_harmfulness", "sample": "one", "options": {}} | r["given"] for t in own for r in t["prompts"]]
    options = dict(family.options)
    of_this = [g for g in given if options.items() <= g["options"].items()]
    assert {Target(g["target"]) for g in of_this} == family.targets, f"golden prompts of {options} for every target"
    cases = {(Target(g["target"]), g["sample"]) for g in given}
    assert cases >= {(t, s) for t in family.targets for s in ("one", "several")}, "one turn and several, for every target"
    assert sum(len(t["answers"]) for t in own) >= 8
    if family.categories is not None:
        assert set(family.categories.crosswalk().edges) == set(family.categories.categories)


@pytest.mark.parametrize(("solver", "family"), families(raw_only=True))
async def test_a_raw_format_is_never_wrapped_twice(solver: str, family: Any) -> None:
    case = a_case(target=min(family.targets), **SAMPLES["one"])
    with pytest.raises(ConfigError, match="would wrap it in a chat template once more"):
        await Registry().build("solvers", solver, family.options).solve(case, Answering(BACKENDS["plain chat"], Completion("")))


def test_every_sample_of_the_tables_is_a_sample() -> None:
    assert all(Sample("0", 0, **fields).prompt for fields in SAMPLES.values())
