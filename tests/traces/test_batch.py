"""``--batch``: the provider's batch service, on a real server that speaks it, processes killed in the middle included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_server import completion

from guardeval.contracts import OfflineLimits
from guardeval.offline import answer_offline
from guardeval.pipeline import plan
from guardeval.plugins.openai_api import OpenAI
from guardeval.testing.processes import hear_interrupts
from guardeval.traces import trace_settings
from guardeval.training_rows import read_training_file

TEXTS = tuple((f"How is thing {i} made?", False) for i in range(6))


def pending(folder: Path) -> list[dict[str, Any]]:
    path = folder / "cache.sqlite.batches.json"
    return json.loads(path.read_text()) if path.is_file() else []


def process(folder: Path, server: Any, data: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "guardeval",
        "traces",
        "--task",
        "wildguard_train",
        "--data",
        str(data),
        "-q",
        "-o",
        "traces.json",
    ]
    command += ["--model", "openai/gpt-4o", "-M", f"base_url={server.url}", "-M", "logprobs=false", "--batch", *words]
    env = {**os.environ, "GUARDEVAL_CACHE": str(folder / "cache.sqlite"), "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=folder, env=env, preexec_fn=hear_interrupts, **quiet)


def test_a_batch_answers_everything_at_half_the_price_and_nothing_is_asked_at_once(tmp_path, traces, rows, server):
    data = rows(*TEXTS)
    done = traces("--data", data, "--batch")
    assert done.code == 0, done.err
    assert (len(server.batches), server.chats) == (1, [])
    (line, *_), file = server.lines("batch1"), read_training_file(tmp_path / "traces.json")
    assert (line["method"], line["url"], line["body"]["model"]) == ("POST", "/v1/chat/completions", "gpt-4o")
    assert line["body"]["max_tokens"] == 768
    half = 0.5 * (1000 * 2.5 + 100 * 10) / 1e6
    assert [t.about["cost"] for t in file] == pytest.approx([half] * 6)
    assert f"{6 * half:.4f} US$" in done.out
    assert pending(tmp_path) == []
    assert traces("--data", data, "--batch").code == 0
    assert len(server.batches) == 1, "all is in the cache"
    assert traces("--data", data).code == 0
    assert server.chats == [], "an ordinary run takes the same answers"


def test_what_a_batch_did_not_answer_is_told_and_asked_again_next_time(tmp_path, traces, rows, server):
    texts = (*TEXTS, ("FILTER this", False), ("BROKEN this", False), ("never heard of", False))
    data, usual = rows(*texts), server.answer
    server.answer = lambda body: None if "never heard" in str(body) else usual(body)
    done = traces("--data", data, "--batch")
    assert done.code == 3
    apart = {r["prompt"]: r for r in map(json.loads, (tmp_path / "traces.apart.jsonl").read_text().splitlines())}
    assert {text: row["reason"] for text, row in apart.items()} == {
        "FILTER this": "refused",
        "BROKEN this": "failed",
        "never heard of": "failed",
    }
    assert "cannot process this" in apart["BROKEN this"]["detail"]
    assert "24 hours" in apart["never heard of"]["detail"]
    assert "7 answered, 2 not" in done.err
    assert (len(read_training_file(tmp_path / "traces.json")), server.chats) == (6, [])
    server.answer = lambda body: usual(body) if "BROKEN" not in str(body) else completion(None, refusal="no")
    assert traces("--data", data, "--batch").code == 0
    assert len(server.lines("batch2")) == 2, "only what was not answered"
    assert len(read_training_file(tmp_path / "traces.json")) == 7


def test_a_killed_process_leaves_its_batch_to_the_next_one(tmp_path, traces, rows, server):
    data = rows(*TEXTS)
    server.working.clear()
    first = process(tmp_path, server, data)
    while not any("GET /v1/batches/" in asked for asked in list(server.asked)):
        assert first.poll() is None
        time.sleep(0.02)
    first.kill()
    assert first.wait(10) == -signal.SIGKILL
    (entry,) = pending(tmp_path)
    assert (entry["id"], len(entry["names"])) == ("batch1", 6)
    server.working.set()
    more = rows(*TEXTS, ("One more thing?", False), name="more.jsonl")
    done = traces("--data", more, "--batch")
    assert done.code == 0, done.err
    assert [len(server.lines(b)) for b in server.batches] == [6, 1], "nothing was handed in twice"
    assert len(read_training_file(tmp_path / "traces.json")) == 7
    assert pending(tmp_path) == []


def test_a_batch_whose_making_was_never_confirmed_is_found_again_by_its_mark(traces, rows, server):
    server.lose_create = 1
    done = traces("--data", rows(*TEXTS), "--batch")
    assert done.code == 0, done.err
    assert len(server.batches) == 1


def test_a_process_killed_before_it_knew_the_batchs_name_pays_for_it_once(tmp_path, traces, rows, server):
    data = rows(*TEXTS)
    server.hold_create = True
    first = process(tmp_path, server, data)
    while not server.batches:
        assert first.poll() is None
        time.sleep(0.02)
    first.kill()
    assert first.wait(10) == -signal.SIGKILL
    (entry,) = pending(tmp_path)
    assert entry["id"] is None
    server.hold_create = False
    done = traces("--data", data, "--batch")
    assert done.code == 0, done.err
    assert len(server.batches) == 1, "found again by its mark"
    assert len(read_training_file(tmp_path / "traces.json")) == 6


def test_a_batch_that_the_provider_never_had_is_handed_in(tmp_path, traces, rows, server):
    data = rows(*TEXTS)
    server.working.clear()
    first = process(tmp_path, server, data)
    while not any("GET /v1/batches/" in asked for asked in list(server.asked)):
        assert first.poll() is None
        time.sleep(0.02)
    first.kill()
    first.wait(10)
    (entry,) = pending(tmp_path)
    server.batches.clear()
    (tmp_path / "cache.sqlite.batches.json").write_text(json.dumps([{**entry, "id": None}]))
    server.working.set()
    assert traces("--data", data, "--batch").code == 0
    assert [len(server.lines(b)) for b in server.batches] == [6]


def test_an_interrupt_while_waiting_says_that_the_batch_is_kept(tmp_path, rows, server):
    data = rows(*TEXTS)
    server.working.clear()
    waiting = process(tmp_path, server, data)
    while not any("GET /v1/batches/" in asked for asked in list(server.asked)):
        assert waiting.poll() is None
        time.sleep(0.02)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(20) == 130
    assert len(pending(tmp_path)) == 1


def test_a_batch_that_is_refused_as_a_whole_says_why_and_can_be_handed_in_again(tmp_path, traces, rows, server):
    data = rows(*TEXTS)
    server.refuse = "Enqueued token limit reached for gpt-4o"
    done = traces("--data", data, "--batch")
    assert done.code == 2
    assert "Enqueued token limit reached" in done.err
    assert (server.chats, pending(tmp_path)) == ([], [])
    server.refuse = ""
    assert traces("--data", data, "--batch").code == 0


def test_a_server_that_stumbles_while_it_is_looked_at_is_asked_again(traces, rows, server):
    server.flaky = 2
    assert traces("--data", rows(*TEXTS), "--batch").code == 0
    assert server.flaky == 0


def test_the_money_limit_bounds_what_is_handed_in_by_what_it_may_cost_at_most(tmp_path, traces, rows, server):
    data = rows(*TEXTS)
    # of one request: some 1,400 tokens in and 768 out at 100 US$ a million, half of that: about 0.1 US$
    done = traces("--data", data, "--batch", "-M", "price=100,100", "--max_cost", 0.35)
    assert done.code == 3
    assert "stopped" in done.out
    handed_in = len(server.lines("batch1"))
    assert 1 <= handed_in <= 4
    assert len(read_training_file(tmp_path / "traces.json")) == handed_in
    assert server.chats == []
    assert traces("--data", data, "--batch", "-M", "price=100,100", "--max_cost", 5).code == 0
    assert len(server.lines("batch2")) == 6 - handed_in


def test_a_limit_that_pays_for_no_request_hands_nothing_in(traces, rows, server):
    done = traces("--data", rows(*TEXTS), "--batch", "--max_cost", 0.00001)
    assert done.code == 3, done.err
    assert not server.batches


def test_a_model_of_unknown_price_cannot_keep_a_money_limit(traces, rows, server):
    model = ("--model", "openai/mine", "-M", f"base_url={server.url}", "-M", "logprobs=false")
    done = traces("--data", rows(*TEXTS), "--batch", "--max_cost", 1, *model)
    assert done.code == 2
    assert "price" in done.err
    assert not server.batches


def test_a_list_of_batches_that_cannot_be_read_is_never_taken_for_an_empty_one(tmp_path, traces, rows, server):
    (tmp_path / "cache.sqlite.batches.json").write_text("[{")
    done = traces("--data", rows(*TEXTS), "--batch")
    assert done.code == 2
    assert "batches.json" in done.err
    assert not server.batches


class Small(OpenAI):
    """Takes two requests a batch."""

    offline = OfflineLimits(requests=2, size=200_000_000, price=0.5)


def test_more_than_a_batch_takes_goes_into_several(tmp_path, rows, server):
    values = {"task": "wildguard_train", "data": str(rows(*TEXTS[:5])), "model": "openai/gpt-4o"}
    resolved = plan(trace_settings(values))
    (party,) = resolved.parties
    small = Small("gpt-4o", base_url=server.url, logprobs=False)
    party = replace(party, seats=(replace(party.seats[0], model=small),))
    said: list[str] = []
    found = answer_offline(resolved, party, tmp_path / "cache.sqlite", None, said.append)
    assert (found.answered, found.errors) == (5, {})
    assert [len(server.lines(b)) for b in server.batches] == [2, 2, 1]
    assert sum("handed in" in line for line in said) == 3
