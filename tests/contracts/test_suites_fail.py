"""The suites find what they are there to find: plugins that break one rule each, tried in a pytest of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
BROKEN = '''
"""Plugins that a stranger might write, each with one mistake."""

import asyncio, json, os, random, time, urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from guardeval.contracts import Completion, Frame, Judgement, Prompt, Request, Sampling, Traits
from guardeval.data import Outcome, Verdict
from guardeval.errors import ConfigError, ModelError, Transient
from guardeval.plugins.openai_compatible import OpenAICompatible
from guardeval.solvers.direct import Direct
from guardeval.trainers.linear import Linear
from guardeval.verdicts import verdict_from


@dataclass(frozen=True)
class Good:
    """A solver without a mistake."""

    max_tokens: int = 64

    def frame(self, case):
        return Frame(f"{case.policies.text}\\n{case.target}?\\n", "\\nDecision?")

    def text(self, case):
        return case.sample.prompt + ("" if case.sample.response is None else f"\\n---\\n{case.sample.response}")

    async def solve(self, case, model):
        request = Request(Prompt(self.frame(case), self.text(case)), case, Sampling(self.max_tokens, top_logprobs=5))
        return self.read(await model.generate(request), case, request)

    def read(self, completion, case, request):
        return verdict_from(completion, case, request=request)


class Guesses(Good):
    """Takes what it cannot read for harmless."""

    def read(self, completion, case, request):
        found = super().read(completion, case, request)
        return found if found.label is not None else Verdict(case.target, Outcome.PARSED, False, raw=completion.text)


class Strips(Good):
    """Cuts the white space round the sample off."""

    def text(self, case):
        return super().text(case).strip()


class Leaks(Good):
    """Asks with the answer in the prompt."""

    def frame(self, case):
        return Frame(f"{case.policies.text}\\n{case.sample.labels.get(case.target)}\\n", "\\nDecision?")


class Gold(Good):
    """Says what the gold is where the answer cannot be read."""

    def read(self, completion, case, request):
        found, gold = super().read(completion, case, request), case.sample.labels.get(case.target)
        return found if found.label is not None or gold is None else Verdict(case.target, Outcome.PARSED, gold, raw=found.raw)


class Mutates(Good):
    """Makes the gold what the answer is."""

    def read(self, completion, case, request):
        found = super().read(completion, case, request)
        case.sample.labels[case.target] = found.label
        return found


class AllPolicies(Good):
    """Names every policy of what it flags."""

    def read(self, completion, case, request):
        found = super().read(completion, case, request)
        return replace(found, policies=frozenset(case.policies.names)) if found.label else found


class NoPolicies(Good):
    """Names none."""

    def read(self, completion, case, request):
        return replace(super().read(completion, case, request), policies=frozenset())


class PoliciesOfSafe(Good):
    """Names what the answer does, whatever the verdict."""

    def read(self, completion, case, request):
        found = super().read(completion, case, request)
        named = [n for n in case.policies.names if n in completion.text.rpartition("Policies:")[2]]
        return replace(found, policies=frozenset(named)) if found.label is not None else found


class Believes(Good):
    """Takes over what a model that classifies names."""

    def read(self, completion, case, request):
        found = super().read(completion, case, request)
        return found if completion.judgement is None else replace(found, policies=completion.judgement.policies)


class Memo(Good):
    """Asks once for each id."""

    async def solve(self, case, model):
        memo = self.__dict__.setdefault("memo", {})
        key = case.sample.id, case.target
        if key not in memo:
            memo[key] = await super().solve(case, model)
        return memo[key]


class RawCut(Good):
    """Finds a missing response harmless, and keeps the first thousand characters."""

    def read(self, completion, case, request):
        if case.target.name != "PROMPT" and case.sample.response is None:
            return Verdict(case.target, Outcome.PARSED, False, raw=completion.text)
        found = super().read(completion, case, request)
        return replace(found, raw=found.raw[:1000])


class Searches(Good):
    """Looks for a word anywhere in the answer."""

    def read(self, completion, case, request):
        label = None
        for word in (case.target.negative, case.target.positive):
            if word in completion.text:
                label = word == case.target.positive
                break
        return Verdict(case.target, Outcome.UNPARSEABLE if label is None else Outcome.PARSED, label, raw=completion.text)


class Renders(Good):
    """Formats the sample into a template."""

    def text(self, case):
        return super().text(case).replace("{{", "{").strip().encode("utf-8", "replace").decode()


class Swallows(Good):
    """Calls every error harmless."""

    async def solve(self, case, model):
        try:
            return await super().solve(case, model)
        except BaseException:
            return Verdict(case.target, Outcome.PARSED, False)


class Remembers(Good):
    """Keeps the case on itself."""

    async def solve(self, case, model):
        object.__setattr__(self, "case", case)
        request = Request(Prompt(self.frame(case), self.text(case)), case, Sampling(64, top_logprobs=5))
        said = await model.generate(request)
        return self.read(said, self.case, request) if self.case is case else Verdict(case.target, Outcome.PARSED, True)


class Invents(Good):
    """Is always ninety per cent sure."""

    def read(self, completion, case, request):
        v = super().read(completion, case, request)
        return v if v.label is None else Verdict(v.target, v.outcome, v.label, 0.9 if v.label else 0.1, raw=v.raw, score_source="tokens")


class Counts(Good):
    """Puts a number into each prompt."""

    def frame(self, case):
        return Frame(f"{random.random()} {case.policies.text}\\n", "\\nDecision?")


@dataclass(frozen=True)
class ReadsAFile(Good):
    """Reads its prompt when it is made."""

    prompt: str = "prompt.txt"

    def __post_init__(self):
        Path(__file__).read_text()


class Nothing:
    def __init__(self, **options):
        os.environ["NOTHING"] = "1"
        self.lock = lambda: None

    async def solve(self, case, model):
        return await Good().solve(case, model)


@dataclass(frozen=True)
class Nought:
    """Says 0 where nothing is known, and forgets to say which way is better."""

    def score(self, judged):
        flagged = (judged.label == 1).sum()
        n = int((judged.label >= 0).sum())
        return {"flagged": float(flagged / n) if n else 0.0, "flagged_n": n, "flagged_ci": (0.6, 0.4)}


@dataclass(frozen=True)
class Shuffles:
    """Looks at some samples, in the order that they come, and sorts a column."""

    higher_is_better: ClassVar[dict] = {"flaged": False}

    def score(self, judged):
        judged.score.sort()
        picked = [bool(judged.label[random.randrange(len(judged))] == 1) for _ in range(20)] if len(judged) else []
        return {"flagged": sum(picked) / len(picked) if picked else float("nan")}


@dataclass(frozen=True)
class Retries(OpenAICompatible):
    """Asks three times."""

    async def generate(self, request):
        for _ in range(2):
            try:
                return await super().generate(request)
            except Transient:
                pass
        return await super().generate(request)


@dataclass(frozen=True)
class Tells(OpenAICompatible):
    """Shows its key, and takes every error for one of its own."""

    @property
    def identity(self):
        return {"model": self.model, "key": os.environ.get("OPENAI_API_KEY")}

    async def generate(self, request):
        try:
            return await super().generate(request)
        except ModelError as e:
            raise RuntimeError(f"{request.prompt.text}: {e}") from e


@dataclass(frozen=True)
class Reorders:
    """Answers the shortest question first."""

    traits: ClassVar[Traits] = Traits(batch=8)
    identity: ClassVar[dict] = {"backend": "reorders"}

    def generate_batch(self, requests):
        return [Completion(r.prompt.text) for r in sorted(requests, key=lambda r: len(r.prompt.text))]


@dataclass(frozen=True)
class Contradicts:
    """Writes one thing and judges another, by a policy that there is not."""

    traits: ClassVar[Traits] = Traits(batch=8, classifies=True)
    identity: ClassVar[dict] = {"backend": "contradicts"}

    def generate_batch(self, requests):
        judgement = Judgement(0.1, frozenset({"nonsense"}), True)
        return [Completion("Decision: unharmful\\nPolicies: none", judgement=judgement) for _ in requests]


@dataclass(frozen=True)
class Peeks(Contradicts):
    """Classifies by the gold."""

    def generate_batch(self, requests):
        return [Completion("", judgement=Judgement(float(bool(r.case.sample.labels.get(r.case.target))))) for r in requests]


@dataclass(frozen=True)
class Keyless:
    """Has answers of its own for each of its options, and one identity for all."""

    loud: bool = False
    tone: str = "calm"
    batch: int = 8

    not_in_identity: ClassVar[tuple] = ("batch",)
    traits: ClassVar[Traits] = Traits(batch=8)
    identity: ClassVar[dict] = {"backend": "keyless"}

    def generate_batch(self, requests):
        return [Completion(f"{self.tone}{'!' if self.loud else ''}") for _ in requests]


class NoNumber(Keyless):
    """Has an identity that no JSON holds."""

    identity = {"backend": "keyless", "version": float("nan")}


@dataclass(frozen=True)
class Overwrites(Linear):
    """Writes a log beside the work and replaces what is there."""

    def train(self, rows, out):
        Path("training.log").write_text("begun")
        for name in ("guardeval-model.yaml", "weights.safetensors"):
            (out / name).unlink(missing_ok=True)
        return super().train(rows, out)


@dataclass(frozen=True)
class InPlace:
    """Makes the folder that it is given smaller."""

    def optimize(self, folder, out):
        import shutil

        (folder / "README.md").unlink(missing_ok=True)
        shutil.copytree(folder, out, dirs_exist_ok=True)
        return out
'''

TESTS = """
from pathlib import Path

import broken
from guardeval.testing.suites import (
    ModelSuite, OptimizerSuite, ScorerSuite, SolverSuite, TaskSuite, TrainerSuite
)

SOLVERS = (
    "Guesses Searches Renders Swallows Remembers Invents Counts ReadsAFile Nothing Strips Leaks Gold Mutates AllPolicies NoPolicies "
    "PoliciesOfSafe Believes Memo RawCut"
)
for name in SOLVERS.split():
    globals()[f"Test{name}"] = type(f"Test{name}", (SolverSuite,), {"plugin": getattr(broken, name)})
for name in ("Nought", "Shuffles"):
    globals()[f"Test{name}"] = type(f"Test{name}", (ScorerSuite,), {"plugin": getattr(broken, name)})
for name in ("Retries", "Tells"):
    options = {"model": "scripted", "base_url": "http://127.0.0.1:9/v1"}
    globals()[f"Test{name}"] = type(f"Test{name}", (ModelSuite,), {"plugin": getattr(broken, name), "options": options})


for name in ("Reorders", "Contradicts", "Keyless", "NoNumber", "Peeks"):
    globals()[f"Test{name}"] = type(f"Test{name}", (ModelSuite,), {"plugin": getattr(broken, name), "key_env": None})


class TestOverwrites(TrainerSuite):
    plugin = broken.Overwrites
    options = {"sources": (), "bits": 10, "folds": 2}
    repeats = False


class TestInPlace(OptimizerSuite):
    plugin = broken.InPlace
    agrees = 0.0

    def folder(self):
        import shutil
        from guardeval.plugins.embedded import Embedded

        folder = Path(__file__).parent / "model"
        if not folder.is_dir():
            shutil.copytree(Embedded("nb").model_folder, folder)
            (folder / "README.md").write_text("about")
        return folder


class TestTask(TaskSuite):
    task = "loose"
    include_path = Path(__file__).parent
    data = Path(__file__).parent / "rows.csv"
"""

TASK = """task: loose
dataset_path: someone/something
test_split: test
metadata:
  version: 1.0
  target: prompt_harmfulness
  fields: {prompt: text}
  label: {column: label, positive: "yes", negative: "no"}
  id: name
"""

# what must fail and is run; one mistake often breaks other rules, too
EXPECTED = {
    "TestGuesses": {"an_unreadable_answer_is_never_a_label", "an_answer_that_repeats_the_sample_is_never_a_label"},
    "TestStrips": {"the_sample_stands_in_the_prompt_as_it_is_and_once"},
    "TestLeaks": {"gold_changes_nothing_and_stays_as_it_was"},
    "TestGold": {"gold_changes_nothing_and_stays_as_it_was"},
    "TestMutates": {"gold_changes_nothing_and_stays_as_it_was"},
    "TestAllPolicies": {"policies_are_those_that_the_answer_names"},
    "TestNoPolicies": {"policies_are_those_that_the_answer_names"},
    "TestPoliciesOfSafe": {"policies_are_those_that_the_answer_names"},
    "TestBelieves": {"a_model_that_classifies_is_believed"},
    "TestMemo": {"nothing_is_remembered_of_earlier_cases"},
    "TestRawCut": {"a_sample_without_text_is_a_verdict_or_a_clear_error", "an_unreadable_answer_is_never_a_label"},
    "TestContradicts": {"a_completion_is_complete"},
    "TestKeyless": {"its_identity_holds_every_option_that_can_change_an_answer"},
    "TestNoNumber": {"its_identity_is_json_and_stays"},
    "TestPeeks": {"gold_changes_nothing_and_stays_as_it_was"},
    "TestSearches": {"an_unreadable_answer_is_never_a_label", "an_answer_that_repeats_the_sample_is_never_a_label"},
    "TestRenders": {"the_sample_stands_in_the_prompt_as_it_is_and_once"},
    "TestSwallows": {"errors_of_the_model_pass_or_are_a_failed_verdict", "being_cancelled_passes_and_leaves_nothing_behind"},
    "TestRemembers": {"cases_at_once_do_not_mix"},
    "TestInvents": {"a_score_is_never_invented", "a_score_is_the_probability_of_the_positive_word"},
    "TestCounts": {"the_same_case_asks_the_same"},
    "TestReadsAFile": {"the_constructor_does_nothing_but_keep_its_options"},
    "TestNothing": {
        "it_says_what_it_is",
        "options_are_named_and_typed",
        "it_travels_to_another_process",
    },
    "TestNought": {
        "undefined_is_nan_and_never_nought",
        "the_direction_is_declared",
        "an_interval_or_n_belongs_to_a_metric_and_holds_it",
    },
    "TestShuffles": {"columns_are_read_only", "scoring_twice_gives_the_same", "the_direction_is_declared"},
    "TestRetries": {"what_may_pass_is_transient_and_asked_once"},
    "TestTells": {"no_key_is_told", "an_error_repeats_neither_key_nor_sample", "what_may_pass_is_transient_and_asked_once"},
    "TestReorders": {"answers_come_in_the_order_asked"},
    "TestOverwrites": {"nothing_is_written_elsewhere", "a_model_that_is_there_is_not_replaced"},
    "TestInPlace": {"the_folder_it_was_given_stays_as_it_was", "the_card_names_its_parent", "what_is_unchecked_says_so"},
    "TestTask": {"ids_tell_samples_apart", "both_labels_occur", "it_states_where_it_comes_from", "every_row_reads"},
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, set[str]], str]:
    """Which tests failed, by class, and all that pytest said."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("broken")
    (folder / "broken.py").write_text(BROKEN)
    (folder / "test_broken.py").write_text(TESTS)
    for name, text in re.findall(r"^```python file=(\w+\.py)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        (folder / name).write_text(text)
    (folder / "loose.yaml").write_text(TASK)
    (folder / "rows.csv").write_text("name,text,label\na,first,yes\na,second,yes\n")
    tests = [f"test_broken.py::{suite}::test_{name}" for suite, names in EXPECTED.items() for name in sorted(names)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rf", "test_mine.py", *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    found: dict[str, set[str]] = {}
    for suite, test in re.findall(r"^(?:FAILED|ERROR) test_broken\.py::(\w+)::test_(\w+)", done.stdout, re.MULTILINE):
        found.setdefault(suite, set()).add(test)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    return found, done.stdout


@pytest.mark.parametrize("suite", sorted(EXPECTED))
def test_a_broken_plugin_fails_the_tests_of_the_rule_that_it_breaks(
    failed: tuple[dict[str, set[str]], str], suite: str
) -> None:
    assert EXPECTED[suite] - failed[0].get(suite, set()) == set()


def test_the_example_of_the_documentation_passes(failed: tuple[dict[str, set[str]], str]) -> None:
    assert "test_mine.py" not in failed[1] and " passed" in failed[1]


def test_a_failure_says_which_rule_and_where_to_read(failed: tuple[dict[str, set[str]], str]) -> None:
    assert "broken.Guesses: an answer that says neither or both gives no label. Found: " in failed[1]
    assert "(docs/testing.md, “Solvers”)" in failed[1]
