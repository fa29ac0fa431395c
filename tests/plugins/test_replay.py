"""replay/FILE: recorded answers, found by their prompt, repeats in file order."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.contracts import BatchModel, Completion, Exchange, Finish, Frame, Prompt, Request, Sampling, Turn
from guardeval.data import Judged, Outcome, Target, Usage
from guardeval.errors import ConfigError, DataError, ModelError
from guardeval.plugins.replay import Replay
from guardeval.sample_lines import LineWriter
from guardeval.testing.builders import a_case, a_sample, a_verdict

GREEDY = Sampling()


def a_request(text: str, index: int = 0, draw: int = 0, **frame: Any) -> Request:
    return Request(Prompt(Frame("", **frame), text), a_case(prompt=text, index=index), GREEDY, draw)


def generations(path: Path, *pairs: tuple[str, str]) -> Replay:
    path.write_text("".join(json.dumps({"prompt": p, "label": "x", "predict": a}) + "\n" for p, a in pairs))
    return Replay(str(path))


def texts(model: Replay, *requests: Request) -> list[str]:
    return [c.text for c in model.generate_batch(requests)]


async def test_an_answer_is_found_by_its_prompt_raw_or_chat(tmp_path):
    model = generations(tmp_path / "g.jsonl", ("A\n\n", "one"), ("B", "two"))
    await model.start()
    assert isinstance(model, BatchModel)
    assert texts(model, a_request("B"), a_request("A\n\n", raw=True), a_request("A")) == ["two", "one", "one"]


def test_conversations_are_found_by_their_messages(tmp_path):
    prompt = Prompt.chat([Turn("system", "s"), Turn("user", "u")], forced="De")
    model = generations(tmp_path / "g.jsonl", (prompt.as_text(), "cision"))
    assert texts(model, Request(prompt, a_case(), GREEDY)) == ["cision"]


def test_a_prompt_that_was_never_recorded_fails_its_sample_only(tmp_path):
    model = generations(tmp_path / "g.jsonl", ("A", "one"))
    with pytest.raises(ModelError, match=r"g.jsonl holds no answer to this prompt; was it recorded with the same solver"):
        model.generate_batch([a_request("B")])
    assert texts(model, a_request("A")) == ["one"]


def test_repeats_of_a_prompt_are_given_in_file_order_whatever_rows_ask(tmp_path):
    model = generations(tmp_path / "g.jsonl", ("B", "b"), ("A", "first"), ("A", "second"))
    asked = [a_request("A", 0), a_request("A", 1), a_request("B", 2)]
    assert texts(model, *asked) == ["first", "second", "b"]
    assert texts(model, *reversed(asked)) == ["b", "second", "first"]  # and the same again


def test_a_row_gets_its_own_record_where_file_and_data_stand_in_the_same_order(tmp_path):
    model = generations(tmp_path / "g.jsonl", ("A", "first"), ("B", "b"), ("A", "third"))
    assert texts(model, a_request("A", 2)) == ["third"]
    assert texts(model, a_request("A", 0)) == ["first"]


def test_rows_of_one_prompt_share_a_single_record(tmp_path):
    model = generations(tmp_path / "g.jsonl", ("A", "one"))
    assert texts(model, a_request("A", 0), a_request("A", 5)) == ["one", "one"]


def test_draws_take_the_next_records_and_are_never_made_up(tmp_path):
    model = generations(tmp_path / "g.jsonl", ("A", "1"), ("A", "2"), ("A", "3"))
    assert texts(model, *(a_request("A", 0, draw) for draw in range(3))) == ["1", "2", "3"]
    with pytest.raises(ModelError, match="holds 3 answers to this prompt, and draw 3 wants more"):
        model.generate_batch([a_request("A", 0, 3)])


@given(st.lists(st.sampled_from("ABC"), min_size=1, max_size=12), st.randoms())
def test_rows_asked_in_any_order_get_their_own_records(tmp_path_factory, prompts, rng):
    path = tmp_path_factory.mktemp("r") / "g.jsonl"
    model = generations(path, *((p, f"{p}{i}") for i, p in enumerate(prompts)))
    order = list(enumerate(prompts))
    rng.shuffle(order)
    for i, p in order:
        assert texts(model, a_request(p, i)) == [f"{p}{i}"]


def test_gzip_and_line_separators_inside_texts_are_read(tmp_path):
    path = tmp_path / "g.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8", newline="\n") as f:
        f.write(json.dumps({"prompt": "A\u2028\x85B", "predict": "x\u2028y"}, ensure_ascii=False) + "\n\n")
    assert texts(Replay(str(path)), a_request("A\u2028\x85B")) == ["x\u2028y"]


# ── a run's own samples ───────────────────────────────────────────────────────────────────────────────────────────


def a_line(index: int, prompts: list[str], answers: list[Completion], redact: bool = False, **verdict: Any) -> bytes:
    case = a_case(a_sample(prompts[0], index=index, id=str(index), doc={"prompt": prompts[0]}))
    exchanges = [
        Exchange(Request(Prompt(Frame("Judge: "), p), case, GREEDY), c) for p, c in zip(prompts, answers, strict=False)
    ]
    judged = Judged(case.sample, a_verdict(**({"label": False, "raw": "raw"} | verdict)), Usage(len(exchanges)))
    return LineWriter(Target.PROMPT, redact).line(judged, exchanges, 0)


def asked_again(text: str, index: int = 0) -> Request:
    return Request(Prompt(Frame("Judge: "), text), a_case(prompt=text, index=index), GREEDY)


def test_a_runs_samples_are_replayed_with_all_their_requests(tmp_path):
    path = tmp_path / "samples_x_2026.jsonl"
    path.write_bytes(
        a_line(0, ["A", "B"], [Completion("one"), Completion("two", thinking="hm")]) + a_line(7, ["A"], [Completion("seven")])
    )
    model = Replay(str(path))
    assert texts(model, asked_again("A", 7), asked_again("A", 0), asked_again("B", 0)) == ["seven", "one", "two"]
    assert model.generate_batch([asked_again("B")])[0].thinking == "hm"


def test_a_run_folder_is_replayed_from_its_samples_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"samples_{name}_2026.jsonl").write_bytes(a_line(0, [name], [Completion(name * 2)]))
    (tmp_path / "results_2026.json").write_text("{}")
    assert texts(Replay(str(tmp_path)), asked_again("b"), asked_again("a")) == ["bb", "aa"]


def test_what_was_cut_stays_cut(tmp_path):
    path = tmp_path / "samples_x.jsonl"
    path.write_bytes(a_line(0, ["A"], [Completion("half", Finish.LENGTH)], label=None, outcome=Outcome.TRUNCATED))
    assert Replay(str(path)).generate_batch([asked_again("A")])[0].finish is Finish.LENGTH


def test_a_sample_that_was_never_heard_is_not_heard_now(tmp_path):
    path = tmp_path / "samples_x.jsonl"
    path.write_bytes(
        a_line(0, ["A"], [], label=None, outcome=Outcome.FAILED, raw="HTTP 500") + a_line(1, ["B"], [Completion("b")])
    )
    model = Replay(str(path))
    with pytest.raises(ModelError):
        model.generate_batch([asked_again("A")])
    assert texts(model, asked_again("B")) == ["b"]


def test_files_of_lm_eval_with_several_answers_a_prompt_are_read(tmp_path):
    row: Mapping[str, Any] = {"doc_id": 3, "arguments": [["Judge: A", {"until": []}]], "resps": [["x", "y"]]}
    path = tmp_path / "samples_x.jsonl"
    path.write_text(json.dumps(row) + "\n")
    model = Replay(str(path))
    first = asked_again("A", 3)
    second = Request(first.prompt, first.case, GREEDY, draw=1)
    assert texts(model, first, second) == ["x", "y"]


# ── what is wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_missing_file_is_named_with_what_is_wanted(tmp_path):
    with pytest.raises(
        ConfigError, match=r"gone.jsonl does not exist; name a file of recorded answers \(one JSON object a line"
    ):
        await Replay(str(tmp_path / "gone.jsonl")).start()
    with pytest.raises(ConfigError, match="holds no samples_"):
        await Replay(str(tmp_path)).start()


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "5", '"x"', '{"prompt": "p"}', '{"predict": "p"}', '{"prompt": 5, "predict": "x"}', '{"prompt": "p", "predict": null}',
     '{"arguments": {}, "resps": [["x"]]}', '{"arguments": {"gen_args_0": {}}, "resps": [["x"]]}'],
)  # fmt: skip
async def test_a_line_that_is_no_record_is_named_by_its_number(tmp_path, line):
    path = tmp_path / "g.jsonl"
    path.write_text('{"prompt": "p", "predict": "x"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"g.jsonl:2: .*wanted is one JSON object a line"):
        await Replay(str(path)).start()


async def test_a_redacted_run_says_that_it_holds_no_answers(tmp_path):
    path = tmp_path / "samples_x.jsonl"
    path.write_bytes(a_line(0, ["A"], [Completion("one")], redact=True))
    with pytest.raises(DataError, match="redacted run holds no answers"):
        await Replay(str(path)).start()


async def test_a_cut_archive_is_an_error_not_a_shorter_recording(tmp_path):
    path = tmp_path / "g.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"prompt": "p", "predict": "x"}\n' * 100)[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        await Replay(str(path)).start()


def test_the_identity_is_the_content_not_the_name(tmp_path):
    one = generations(tmp_path / "one.jsonl", ("A", "a"))
    copy = generations(tmp_path / "copy.jsonl", ("A", "a"))
    other = generations(tmp_path / "other.jsonl", ("A", "b"))
    assert one.identity == copy.identity != other.identity
    assert one.traits.per_sample
    assert not one.traits.remote


# ── the real recordings ───────────────────────────────────────────────────────────────────────────────────────────


def test_every_real_recording_gives_each_row_its_own_answer(shared_data):
    files = sorted((shared_data / "generations").glob("*/*/*/*.jsonl.gz"))
    assert len(files) >= 12
    for path in files[:3]:
        model = Replay(str(path))
        with gzip.open(path, "rb") as f:
            rows = [json.loads(line) for line in f]
        requests = [a_request(row["prompt"], i, raw=True) for i, row in enumerate(rows)]
        assert [c.text for c in model.generate_batch(requests)] == [row["predict"] for row in rows]


def test_how_fast_a_file_is_read_is_no_latency(tmp_path):
    import guardeval

    run = guardeval.run(
        task="wildguard", data="sample", model="embedded/word", solver="multistep", output_path=str(tmp_path), no_cache=True
    )
    assert run.results["results"]["wildguard"]["latency_p50,none"] > 0
    again = guardeval.run(
        task="wildguard",
        data="sample",
        model=f"replay/{run.path}",
        solver="multistep",
        output_path=str(tmp_path),
        no_cache=True,
    )
    latency = again.results["results"]["wildguard"]["latency_p50,none"]
    assert latency != latency  # unknown
