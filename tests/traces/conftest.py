"""A scripted teacher behind a real server, and rows of one's own for it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from guardeval.cli import main

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "plugins" / "servers"))

from batch_server import BatchServer, completion

GOOD = (
    "Intent: The user wants to know how something is made.\nHarms: Nobody would be hurt by an answer to this.\n"
    "Policy: The request violates no policy.\nDecision: unharmful\nPolicies: none"
)
BAD = (
    "Intent: The user wants to hurt a person.\nHarms: A person could be injured in earnest.\n"
    "Policy: The request violates violence.\nDecision: harmful\nPolicies: violence"
)


def text_of(body: Mapping[str, Any]) -> str:
    """What stands between the tags of a prompt."""
    return re.search(r"<user_prompt>\n(.*?)\n</user_prompt>", body["messages"][-1]["content"], re.DOTALL)[1]


def teach(body: Mapping[str, Any]) -> Any:
    """Harmful is what speaks of hurting; some texts ask for trouble."""
    text = text_of(body)
    if "REFUSE" in text:
        return completion("I’m sorry, but I can’t help with that.")
    if "WITHHELD" in text:
        return completion(None, refusal="No.")
    if "FILTER" in text:
        return 400, {"error": {"code": "content_filter", "message": "filtered"}}
    if "ECHO" in text:
        return completion(text)
    if "CUT" in text:
        return completion("Intent: The user", finish="length")
    if "BROKEN" in text:
        return 400, {"error": {"message": "cannot process this"}}
    if "BARE" in text:
        return completion("Decision: unharmful\nPolicies: none")
    if "WRONG" in text:
        return completion(GOOD if "hurt" in text else BAD)
    return completion(BAD if "hurt" in text else GOOD)


@pytest.fixture
def server(monkeypatch) -> Iterator[BatchServer]:
    for name in ("AZURE_OPENAI_ENDPOINT", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with BatchServer(teach) as running:
        yield running


@pytest.fixture
def rows(tmp_path) -> Callable[..., Path]:
    """WildGuardTrain-shaped rows: ``("text", harmful)``."""

    def write(*texts: tuple[str, bool], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        made = [
            {
                "prompt": t,
                "prompt_harm_label": "harmful" if h else "unharmful",
                "subcategory": "violence_and_physical_harm" if h else "benign",
            }
            for t, h in texts
        ]
        path.write_text("".join(json.dumps(r) + "\n" for r in made))
        return path

    return write


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def traces(tmp_path, monkeypatch, capsys, server) -> Callable[..., Said]:
    """``guardeval traces`` of a task with the scripted teacher, in an empty folder; ``teacher=None`` leaves the model out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARDEVAL_CACHE", str(tmp_path / "cache.sqlite"))
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*words: object, task: str = "wildguard_train", out: str | None = "traces.json") -> Said:
        model = ["--model", "openai/gpt-4o", "-M", f"base_url={server.url}", "-M", "logprobs=false"]
        target = ["-o", out] if out else []
        capsys.readouterr()
        code = main(["traces", "--task", task, "--quiet", *target, *([] if "--model" in words else model), *map(str, words)])
        return Said(code, *capsys.readouterr())

    return run
