"""The line of one judged sample: lm-eval's schema and hashes, and everything back."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardeval.contracts import Completion, Exchange, Frame, Prompt, Request, Sampling, Turn
from guardeval.data import Judged, Outcome, Step, Target, Usage, Vote, Voters
from guardeval.errors import DataError
from guardeval.judged import cluster_of
from guardeval.sample_lines import LineWriter, judged_from_line
from guardeval.testing import a_case, a_sample, a_verdict

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def exchange(prompt: Prompt, text: str = "Decision: harmful", thinking: str | None = None) -> Exchange:
    return Exchange(
        Request(prompt, a_case(), Sampling(max_tokens=64)), Completion(text, thinking=thinking, tokens_in=3, tokens_out=2)
    )


def write(judged: Judged, exchanges: list[Exchange], **options) -> bytes:
    return LineWriter(judged.verdict.target, **options).line(judged, exchanges, cluster_of(judged.sample.prompt))


@given(texts, texts, texts, st.none() | texts)
def test_a_line_gives_the_sample_and_verdict_back(prompt, answer, thought, response):
    sample = a_sample(
        prompt, response, doc={"text": prompt, "other": [1, None, 0.5]}, labels={Target.PROMPT: True}, category="c",
        policies=frozenset({"illegal"}), known_policies=frozenset({"illegal", "violence"}),
    )  # fmt: skip
    verdict = a_verdict(
        False, raw=answer, score=0.25, score_source="tokens", steps=(Step("Intent", thought),), notes=("n",),
        votes=(
            Vote("a", Outcome.PARSED, True, 0.5, frozenset({"illegal"}), 2.0, (Step("Intent", thought),), answer, Usage(1, 0, 0.25)),
            Vote("b", Outcome.FAILED, raw="no server"),
        ),
        voters=Voters.MODELS, mean_score=0.5, readings={"paper": None},
    )  # fmt: skip
    judged = Judged(sample, verdict, Usage(1, 0, 0.5, 3, 2, None))
    line = write(judged, [exchange(Prompt(Frame("a"), prompt), answer)])
    assert line.count(b"\n") == 1
    assert judged_from_line(line) == (judged, cluster_of(prompt))


@given(texts, texts, texts)
def test_the_hashes_are_lm_evals(before, text, after):
    doc = {"prompt": text, "n": 3, "flag": True, "none": None, "nested": {"a": [1.5, "é"]}}
    judged = Judged(a_sample(text, doc=doc), a_verdict(False), Usage())
    record = json.loads(write(judged, [exchange(Prompt(Frame(before, after), text))]))

    def sha(value: str) -> str:
        return hashlib.sha256(value.encode()).hexdigest()

    assert record["doc_hash"] == sha(json.dumps(doc, indent=2, ensure_ascii=False))
    assert record["prompt_hash"] == sha(before + text + after)
    assert record["target_hash"] == sha("unharmful")
    assert record["arguments"]["gen_args_0"]["arg_0"] == before + text + after


def test_a_line_has_lm_evals_schema():
    judged = Judged(a_sample("p", doc={"prompt": "p"}), a_verdict(False), Usage())
    record = json.loads(
        write(judged, [exchange(Prompt.raw("x"), "A"), exchange(Prompt.chat([Turn("system", "s"), Turn("user", "u")]), "B")])
    )
    assert record["doc_id"] == 0
    assert record["target"] == "unharmful"
    assert record["resps"] == [["A"], ["B"]]
    assert record["filtered_resps"] == ["unharmful"]
    assert record["filter"] == "verdict"
    assert record["accuracy"] == 1.0
    assert record["arguments"]["gen_args_0"]["arg_1"]["max_gen_toks"] == 64
    assert json.loads(record["arguments"]["gen_args_1"]["arg_0"])[0] == {"role": "system", "content": "s"}


def test_a_missing_verdict_is_marked_invalid_and_never_counts_as_right():
    for gold in (True, False):
        judged = Judged(a_sample(labels={Target.PROMPT: gold}), a_verdict(None), Usage())
        record = json.loads(write(judged, []))
        assert (record["filtered_resps"], record["accuracy"]) == (["[invalid]"], 0.0)


def test_redacted_lines_keep_ids_labels_and_hashes_and_no_text():
    secret = "a very particular sentence"
    sample = a_sample(secret, "response " + secret, doc={"text": secret}, id="id-7")
    verdict = a_verdict(True, raw="raw " + secret, steps=(Step("Harms", secret),))
    exchanges = [exchange(Prompt(Frame("before"), secret), "answer " + secret, thinking=secret)]
    line = write(Judged(sample, verdict, Usage(1)), exchanges, redact=True)
    plain = write(Judged(sample, verdict, Usage(1)), exchanges)
    assert secret.encode() not in line
    kept, full = json.loads(line), json.loads(plain)
    assert (kept["doc_hash"], kept["prompt_hash"], kept["guardeval"]["id"]) == (full["doc_hash"], full["prompt_hash"], "id-7")
    back, cluster = judged_from_line(line)
    assert (back.verdict.label, cluster) == (True, cluster_of(secret))


def test_a_redacted_line_keeps_notes_without_the_words_they_quote():
    verdict = a_verdict(None, notes=("unknown category 'Tell me how to'", "the reasoning has no end"))
    record = json.loads(write(Judged(a_sample(), verdict, Usage(1)), [], redact=True))
    assert record["guardeval"]["notes"] == ["unknown category '…'", "the reasoning has no end"]


def test_rows_with_what_json_cannot_hold_are_logged_as_text():
    doc = {"big": 2**80, "bytes": b"\x00\xff", 3: "number key"}
    record = json.loads(write(Judged(a_sample(doc=doc), a_verdict(True), Usage()), []))
    assert record["doc"]["big"] == str(2**80)
    assert record["doc"]["bytes"] == "00ff"


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b'{"guardeval": {"target": "x"}}', b'{"guardeval": 3'])
def test_a_line_of_another_tool_is_refused_with_its_place(line):
    with pytest.raises(DataError, match="here:3: not a line of a guardeval samples file"):
        judged_from_line(line, lambda: "here:3")
