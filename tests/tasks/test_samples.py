"""The sample rows that ship with guardeval: enough of each kind, every trap that real data holds, nothing that harms."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import guardeval.tasks
from guardeval.data import Sample, Target
from guardeval.policies import POLICIES
from guardeval.task import Task, TaskIndex

FOLDER = Path(next(iter(guardeval.tasks.__path__))) / "samples"
FILES = sorted(p.name for p in FOLDER.glob("*.jsonl"))
TASKS = sorted(e.name for e in TaskIndex().entries().values() if e.kind == "task" and e.owner.startswith("guardeval"))
HARMFUL_ONLY = {"harmbench_prompt", "simplesafetytests", "advbench"}  # as they are upstream
FORBIDDEN = re.compile(r"https?:|www\.|@\w+\.\w|\b\d{7,}\b|\.(?:com|org|net|onion)\b|/(?:work|home|tmp|root)/", re.IGNORECASE)


@cache
def rows_of(name: str) -> tuple[dict[str, Any], ...]:
    """The rows of a sample file as they stand; lines end at ``\\n`` only."""
    return tuple(json.loads(line) for line in (FOLDER / name).read_bytes().split(b"\n") if line)


@cache
def task_of(name: str) -> Task:
    return TaskIndex().load(name)


@cache
def samples_of(name: str) -> tuple[Sample, ...]:
    return tuple(task_of(name).open("sample"))


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def normalised(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


@pytest.mark.parametrize("name", FILES)
def test_a_sample_file_has_some_dozen_rows_of_one_shape(name: str) -> None:
    rows = rows_of(name)
    most = 120 if name == "wildguard_train.jsonl" else 60  # a guard is trained on these, not measured
    assert 30 <= len(rows) <= most
    if name != "openai_moderation.jsonl":  # whose rows leave flags out, as upstream
        assert len({tuple(row) for row in rows}) == 1


def test_training_rows_are_not_those_that_a_guard_is_measured_on() -> None:
    trained = {normalised(row["prompt"]) for row in rows_of("wildguard_train.jsonl")}
    others = {normalised(t) for name in FILES if name != "wildguard_train.jsonl" for row in rows_of(name) for t in strings(row)}
    assert not trained & others


@pytest.mark.parametrize("name", TASKS)
def test_a_task_opens_from_its_sample_and_says_that_it_is_not_the_benchmark(name: str) -> None:
    rows = task_of(name).open("sample")
    assert rows.kind == "sample"
    assert rows.notice is not None and "not the benchmark" in rows.notice
    assert rows.count() >= 30
    assert {s.id for s in rows} == {s.id for s in samples_of(name)}


@pytest.mark.parametrize("name", TASKS)
def test_a_sample_has_both_labels_unless_the_benchmark_is_harmful_only(name: str) -> None:
    target = task_of(name).target
    labels = Counter(s.labels[target] for s in samples_of(name))
    if name in HARMFUL_ONLY:
        assert set(labels) == {True}
    else:
        assert min(labels[True], labels[False]) >= 5


@pytest.mark.parametrize("name", [n for n in TASKS if task_of(n).taxonomy and task_of(n).target is not Target.REFUSAL])
def test_every_policy_that_a_benchmark_can_express_stands_in_its_sample(name: str) -> None:
    taxonomy = task_of(name).taxonomy
    assert taxonomy is not None
    assert frozenset().union(*(s.policies for s in samples_of(name))) == taxonomy.crosswalk().expressible


def test_the_samples_together_hold_every_policy() -> None:
    seen = Counter(p for name in TASKS for s in samples_of(name) for p in s.policies)
    assert set(seen) == set(POLICIES)
    assert min(seen.values()) >= 5


def test_sexual_content_with_minors_is_named_and_never_given() -> None:
    found = [s for name in TASKS for s in samples_of(name) if "sexual_minors" in s.policies]
    assert len(found) >= 5
    for sample in found:
        assert all("[placeholder: " in text for text in (sample.prompt, sample.response or "[placeholder: ")), sample.id
    for name in FILES:
        for text in (t for row in rows_of(name) for column, cell in row.items() if column != "output" for t in strings(cell)):
            if re.search(r"\b(?:sexuali|sexual content inv|grooms|minor;)", text):
                assert re.search(r"\[placeholder: [^\]]*; no content is given\]", text), text


def test_no_harmful_answer_is_written_out() -> None:
    harmful = [
        s for n in TASKS for s in samples_of(n) if task_of(n).target is Target.RESPONSE and s.labels[Target.RESPONSE] is True
    ]
    assert len(harmful) > 50
    assert [s.id for s in harmful if "[placeholder: " not in (s.response or "")] == []


@pytest.mark.parametrize("name", FILES)
def test_samples_hold_no_addresses_links_or_long_numbers(name: str) -> None:
    for row in rows_of(name):
        for text in strings({k: v for k, v in row.items() if "sha256" not in k}):
            assert not FORBIDDEN.search(text), text


def test_the_traps_of_real_data_are_in_the_samples() -> None:
    raw = {name: (FOLDER / name).read_bytes().decode("utf-8") for name in FILES}
    assert sum("\u2028" in text for text in raw.values()) >= 10  # unescaped: str.splitlines would cut the record
    assert sum("{{" in text for text in raw.values()) >= 8
    assert sum("Decision: unharmful" in text for text in raw.values()) >= 8
    assert sum(bool(re.search(r"[\U0001f300-\U0001faff]", text)) for text in raw.values()) >= 8
    assert sum(bool(re.search(r"[\u4e00-\u9fff]", text)) for text in raw.values()) >= 2
    prompts = Counter(row["prompt"] for row in rows_of("beavertails.jsonl"))
    assert max(prompts.values()) >= 3
    labels = {row["prompt_harm_label"] for row in rows_of("wildguard.jsonl")}
    assert labels == {"harmful", "unharmful", None}
    assert len({tuple(row) for row in rows_of("openai_moderation.jsonl")}) > 3
    assert any(row["text_type"] != "user_message" for row in rows_of("aegis.jsonl"))
    assert any(row["prompt"] == "REDACTED" for row in rows_of("aegis2.jsonl"))
    assert any(row["response"] == "" for row in rows_of("aegis2.jsonl"))


def test_unknown_flags_are_neither_positive_nor_negative() -> None:
    samples = samples_of("openai_moderation")
    assert all(s.policies <= s.known_policies for s in samples)
    assert {"illegal"}.isdisjoint(frozenset().union(*(s.known_policies for s in samples)))
    assert any(s.known_policies == frozenset() for s in samples)


def test_the_pool_of_sample_prompts_is_varied() -> None:
    prompts = {normalised(s.prompt) for name in TASKS for s in samples_of(name)}
    assert len(prompts) >= 400


def test_no_sample_text_stands_in_the_real_data(shared_data: Path) -> None:
    own = {}
    for name in FILES:
        for row in rows_of(name):
            for column in ("prompt", "user_input", "text", "input", "response", "model_output", "response_0", "response_1"):
                for part in re.split(r"Human user:\n|\n\nAI assistant:\n", str(row.get(column) or "")):
                    if len(normalised(part).split()) > 3:
                        own[normalised(part)] = f"{name}: {part[:60]}"
    copied = {own[text] for text in real_texts(shared_data) if text in own}
    assert copied == set()


def real_texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".md", ""} or path.name == "published_results.json" or "generations" in path.parts:
            continue
        raw = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8")
        kind = path.name.removesuffix(".gz").rpartition(".")[2]
        if kind == "csv":
            rows: Any = list(csv.DictReader(io.StringIO(raw, newline="")))
        elif kind == "jsonl":
            rows = [json.loads(line) for line in raw.split("\n") if line]
        else:
            rows = json.loads(raw)
        for text in strings(rows):
            for part in re.split(r"Human user:\n|\n\nAI assistant:\n", text):
                yield normalised(part)
