"""Checks of plugins and tasks: each problem a sentence, none hides another."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar, Literal

import pytest

from guardeval.contracts import Traits
from guardeval.plugin_check import problems_of
from guardeval.registry import KINDS, Registry
from guardeval.validation import named_plugins, validate_folder, validate_named, validate_plugins, validate_tasks


def registry(**entries: tuple[str, str]) -> Registry:
    """Entry points by name: kind and object."""
    return Registry([EntryPoint(name, value, f"guardeval.{kind}") for name, (kind, value) in entries.items()])


def test_everything_that_ships_is_sound():
    found = validate_plugins()
    assert found.found == []
    assert found.checked == sum(len(Registry().entries(kind)) for kind in KINDS)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("solvers", "json:JSONDecoder", "has no solve"),
        ("scorers", "json:JSONDecoder", "has no score"),
        ("models", "json:JSONDecoder", "has no generate or generate_batch"),
        ("trainers", "json:JSONDecoder", "has no train"),
        ("optimizers", "json:JSONDecoder", "has no optimize"),
        ("solvers", "no_such_module:X", "does not import: ModuleNotFoundError"),
        ("solvers", "json:Nothing", "does not import: AttributeError"),
        ("solvers", "json:dumps", "is function, not a class"),
        ("tasks", "no.such.package", "does not import"),
    ],
)
def test_a_plugin_that_cannot_work_is_one_problem(kind, value, said):
    found = validate_plugins(registry(mine=(kind, value), direct=("solvers", "guardeval.solvers.direct:Direct")))
    assert found.checked == 2
    assert len(found.found) == 1
    assert said in found.found[0]
    assert "'mine'" in found.found[0]


def test_a_name_that_two_claim_does_not_hide_what_is_wrong_elsewhere():
    twice = [EntryPoint("a", "json:JSONDecoder", "guardeval.solvers"), EntryPoint("a", "json:JSONEncoder", "guardeval.solvers")]
    found = validate_plugins(Registry([*twice, EntryPoint("b", "json:dumps", "guardeval.scorers")]))
    assert [("registered twice" in p, "not a class" in p) for p in found.found] == [(True, False), (False, True)]


def test_every_shipped_task_reads_its_sample_rows():
    found = validate_tasks(spec="wildguard,guard_refusal")
    assert (found.checked, found.found) == (3, [])


def test_two_files_of_one_name_are_one_problem_and_no_traceback(tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("task: twin\n")
    found = validate_tasks([str(tmp_path)])
    assert found.checked == 1
    assert "stands in two files" in found.found[0]


def test_a_broken_task_does_not_hide_the_next(tmp_path):
    (tmp_path / "a.yaml").write_text("task: a\nmetadata: {version: 1, target: nothing, hub: mine}\n")
    (tmp_path / "b.yaml").write_text("task: b\nmetadata: [1\n")
    found = validate_tasks([str(tmp_path)], "a,b,wildguard")
    assert found.checked == 3
    assert len(found.found) == 2


def test_every_problem_of_a_task_file_is_told_with_its_line_and_column(tmp_path):
    (tmp_path / "bad.yaml").write_text(
        "task: bad\n"
        "dataset_pth: csv\n"
        "metadata:\n"
        "  target: harm\n"
        "  license: [a]\n"
        "  fields: {promt: text}\n"
        "  label: {column: verdict, positive: bad, negative: bad}\n"
    )
    told = validate_tasks([str(tmp_path)], "bad").found
    wanted = (
        "bad.yaml:2:1: unknown key 'dataset_pth'; did you mean 'dataset_path'?",
        "bad.yaml:4:3: `target` is 'harm'; one of",
        "bad.yaml:3:1: `version` is missing",
        "bad.yaml:6:12: unknown key 'promt' in `metadata.fields`; did you mean 'prompt'?",
        "bad.yaml:7:43: the value 'bad' stands under `negative` and under another label",
        "bad.yaml:2:1: `dataset_path: csv` reads files",
        "bad.yaml:5:3: `license` is a list; a text is wanted",
    )
    assert [part in one for part, one in zip(wanted, told, strict=True)] == [True] * len(wanted), told


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dataset_kwargs: {data_files: 3}", ":3:18: `data_files` is 3; a file's name, a list"),
        ("dataset_kwargs: {data_files: true}", ":3:18: `data_files` is True; a file's name, a list"),
        (
            "dataset_kwargs: {data_files: {test: [a.csv, 3]}}",
            ":3:18: `data_files` is {'test': ['a.csv', 3]}; a file's name, a list",
        ),
        ("dataset_kwargs: {data_files: []}", ":2:1: `dataset_path: csv` reads files: name them in"),
        ("dataset_kwargs: {}", ":2:1: `dataset_path: csv` reads files: name them in"),
    ],
)
def test_what_are_no_files_is_told_where_they_are_named(tmp_path, line, said):
    (tmp_path / "odd.yaml").write_text(
        f"task: odd\ndataset_path: csv\n{line}\nmetadata: {{version: 1, target: prompt_harmfulness}}\n"
    )
    (problem,) = validate_tasks([str(tmp_path)], "odd").found
    assert f"odd.yaml{said}" in problem


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("positive: [[bad]], negative: ok", ":6:28: `positive`: ['bad'] is list; a text, a number or a truth value is wanted"),
        ("positive: 2024-01-01, negative: ok", ":6:28: `positive`: datetime.date(2024, 1, 1) is date; a text, a number or"),
        (
            "positive: bad, negative: {prompt_harmfulness: [{a: b}]}",
            ":6:43: `negative`: {'a': 'b'} is dict; a text, a number or",
        ),
    ],
)
def test_a_label_that_is_no_value_is_told_with_file_and_line(tmp_path, values, said):
    (tmp_path / "odd.yaml").write_text(
        "task: odd\ndataset_path: a/b\nmetadata:\n  version: 1\n  target: prompt_harmfulness\n"
        f"  label: {{column: verdict, {values}}}\n"
    )
    assert f"odd.yaml{said}" in validate_tasks([str(tmp_path)], "odd").found[0]


def test_rows_are_read_where_they_are_here_and_a_task_of_the_hub_is_noted(tmp_path):
    head = "metadata: {version: 1, target: prompt_harmfulness}\n"
    (tmp_path / "own.yaml").write_text("task: own\ndataset_path: csv\ndataset_kwargs: {data_files: own.csv}\n" + head)
    (tmp_path / "own.csv").write_text("prompt,label\nhello,unharmful\nhello,perhaps\n")
    (tmp_path / "far.yaml").write_text("task: far\ndataset_path: nobody/nothing\n" + head)
    found = validate_folder(str(tmp_path))
    assert found.checked == 2
    assert [("row 2" in p, "'perhaps'" in p) for p in found.found] == [(True, True)]
    assert ["task far: its rows are on the hub" in n for n in found.notes] == [True]


OWN = "task: own\ndataset_path: csv\ndataset_kwargs: {{data_files: own.csv}}\nmetadata:\n  version: 1\n  target: prompt_harmfulness\n  {}\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("scorers: [nope]", "own.yaml:7:3: unknown scorer 'nope'"),
        ("scorers: [classification, 'json:Nothing']", "own.yaml:7:3: scorer 'json:Nothing' does not import"),
        ("sample: nope.jsonl", "own.yaml:7:3: `sample`: "),
    ],
)
def test_what_a_task_names_and_is_not_there_is_a_problem(tmp_path, line, said):
    (tmp_path / "own.yaml").write_text(OWN.format(line))
    (tmp_path / "own.csv").write_text("prompt,label\nhello,unharmful\nbomb,harmful\n")
    (problem,) = validate_folder(str(tmp_path)).found
    assert said in problem
    assert problem.startswith("task own: ")


def test_the_rows_of_a_sample_are_read_beside_the_tasks_own(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN.format("sample: few.jsonl"))
    (tmp_path / "own.csv").write_text("prompt,label\nhello,unharmful\nbomb,harmful\n")
    (tmp_path / "few.jsonl").write_text('{"prompt": "hello", "label": "perhaps"}\n')
    (problem,) = validate_folder(str(tmp_path)).found
    assert "few.jsonl: row 1" in problem


def test_what_is_worth_knowing_of_the_rows_is_noted(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN.format("id: nope"))
    (tmp_path / "own.csv").write_text("prompt,label\nhello,unharmful\nhello,unharmful\n")
    found = validate_folder(str(tmp_path))
    assert found.found == []
    assert [n.rpartition("own.csv: ")[2] for n in found.notes] == [
        "no row has the column 'nope' that `id` names: samples are known by their row numbers",
        "1 samples repeat an earlier text, 0 of them with another label",
        "only one class occurs: precision or recall says nothing",
    ]


# ---- classes against their contracts ----


@dataclass(frozen=True)
class Solves:
    n: int = 3

    async def solve(self, case, model): ...


class NotAsync(Solves):
    def solve(self, case, model): ...


class TakesTooMuch(Solves):
    async def solve(self, case, model, mood): ...


class TakesAnything:
    def __init__(self, **options: int) -> None: ...

    async def solve(self, case, model): ...


class Untyped:
    def __init__(self, n=3) -> None:
        self.n = n

    async def solve(self, case, model): ...


class Forgets:
    def __init__(self, n: int = 3) -> None:
        self.m = n

    async def solve(self, case, model): ...


class Grows:
    def __init__(self, n: int = 3) -> None:
        self.n = n + 1

    async def solve(self, case, model): ...


@dataclass(frozen=True)
class Scores:
    higher_is_better: ClassVar[bool] = True

    def score(self, judged): ...


class NoDirection:
    def score(self, judged): ...


class OddDirection(Scores):
    higher_is_better = {"f1": "up"}


class AsyncScore(Scores):
    async def score(self, judged): ...


class Answers:
    identity: ClassVar = {"backend": "mine"}
    traits: ClassVar = Traits(classifies=True)

    def generate_batch(self, requests): ...


class Nothing:
    async def slove(self, case, model): ...


class Nameless:
    def generate_batch(self, requests): ...


class TraitsOfItsOwn(Answers):
    traits = {"classifies": True}


class NeverTheSame(Answers):
    @property
    def identity(self):
        return {"born": id(object()), "random": random.random()}


class NoJson(Answers):
    identity = {"when": {1, 2}}


class NoNumber(Answers):
    identity = {"version": float("nan")}


@dataclass(frozen=True)
class LeavesOut:
    """Its identity holds some of what it says."""

    mood: Literal["calm", "cross"] = "calm"
    heat: float = 0.0
    loud: bool = False
    words: int | None = None
    tone: str = "low"
    width: Literal["auto", "wide", "narrow"] = "auto"
    timeout: float = 300.0

    traits: ClassVar = Traits()
    not_in_identity: ClassVar = ("timeout",)

    @property
    def identity(self):
        return {"tone": self.tone, "width": "wide" if self.width == "auto" else self.width}  # as it comes out

    async def generate(self, request): ...


class Misspells(LeavesOut):
    not_in_identity = ("mood", "heat", "loud", "words", "timeouts", "timeout")


class DrawsAlone(Answers):
    traits = Traits(draws=4)


class Trains:
    def train(self, rows, out): ...


class TakesWords(Trains):
    takes = "words"


@pytest.mark.parametrize(("kind", "cls"), [("solvers", Solves), ("scorers", Scores), ("models", Answers), ("trainers", Trains)])
def test_a_class_that_keeps_its_contract_has_no_problem(kind, cls):
    assert problems_of(kind, cls) == []


@pytest.mark.parametrize(
    ("kind", "cls", "said"),
    [
        ("solvers", NotAsync, "has a solve that is not async, and async solve(case, model) is wanted"),
        ("solvers", TakesTooMuch, "cannot be called as async solve(case, model): missing a required argument: 'mood'"),
        ("solvers", TakesAnything, "takes **options"),
        ("solvers", Untyped, "says no type for the option n"),
        ("solvers", Forgets, "does not keep its option n under that name"),
        ("solvers", Grows, "is another one when made from its own configuration"),
        ("scorers", NoDirection, "has no higher_is_better"),
        ("scorers", OddDirection, "has higher_is_better = {'f1': 'up'}"),
        ("scorers", AsyncScore, "has an async score, and score(judged) is wanted: nobody awaits it"),
        ("models", Nameless, "has no identity and no traits"),
        ("models", TraitsOfItsOwn, "has traits that are dict, not guardeval.contracts.Traits"),
        ("models", NeverTheSame, "has an identity that changes"),
        ("models", NoJson, "has an identity that is not JSON"),
        ("models", NoNumber, "has an identity that is not JSON"),
        (
            "models",
            LeavesOut,
            "has the same identity with heat=1.0, loud=True, mood='cross', words=1: answers of one configuration",
        ),
        ("models", Misspells, "names timeouts in not_in_identity, and has no such option"),
        ("models", DrawsAlone, "says draws=4 in its traits and has no async generate_draws(requests)"),
        ("trainers", TakesWords, "has takes = 'words': a tuple of samples, traces, pairs is wanted"),
        ("optimizers", Trains, "has no optimize"),
    ],
)
def test_what_breaks_a_contract_is_told_with_its_line(kind, cls, said):
    (problem,) = problems_of(kind, cls)
    assert problem.startswith(said)
    assert re.search(r"test_validation\.py:\d+\)$", problem)


def test_doctor_makes_no_plugin():
    assert problems_of("models", NeverTheSame, make=False) == []


def test_plugins_are_found_by_name_kind_distribution_and_class():
    installed = Registry()
    assert {p.kind for p in named_plugins("onnx", installed)} == {"models", "optimizers"}
    assert [p.kind for p in named_plugins("model/onnx", installed)] == ["models"]
    assert len(named_plugins("guardeval", installed)) > 30
    assert [p.kind for p in named_plugins("guardeval.solvers.direct:Direct", installed)] == ["solvers"]
    assert named_plugins("nothing", installed) == []


def test_a_class_without_the_method_of_any_kind_is_told_so_with_the_methods():
    (problem,) = validate_named([f"{__name__}:Nothing"]).found
    assert problem.startswith(f"{__name__}:Nothing is no plugin: it has none of the methods that make one: ")
    assert "async solve(case, model) of a solver; score(judged) of a scorer" in problem
    assert re.search(r"test_validation\.py:\d+\)$", problem)
