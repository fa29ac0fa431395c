"""Runs exported as Inspect logs: what Inspect's own readers, tables and scorers make of them."""

from __future__ import annotations

import math
import zipfile

import pytest

import guardeval
from guardeval.cli import main
from guardeval.interop.inspect_export import export_inspect
from guardeval.interop.inspect_samples import log_ids

pytest.importorskip("inspect_ai")
from inspect_ai import score
from inspect_ai.log import read_eval_log, read_eval_log_sample
from inspect_ai.scorer import pattern


@pytest.fixture(scope="module")
def log(told, tmp_path_factory):
    (path,) = export_inspect(told.path, tmp_path_factory.mktemp("logs") / "told.eval")
    return read_eval_log(str(path))


@pytest.fixture(scope="module")
def samples(log):
    return {s.metadata.get("sample_id", s.id): s for s in log.samples}


def test_a_log_a_task_with_the_samples_and_numbers_of_the_run(shipped, tmp_path):
    paths = export_inspect(shipped.path, tmp_path)
    assert [p.suffix for p in paths] == [".eval"] * 2
    for path, task in zip(paths, shipped.tasks, strict=True):
        log = read_eval_log(str(path))
        found = {s.id: s for s in log.samples}
        assert (log.status, log.eval.task, log.results.total_samples) == ("success", task.name, len(found))
        for judged, _ in task.lines():
            scores = found[judged.sample.id].scores
            assert scores["verdict"].answer == task.target.word(judged.verdict.label)
            assert scores["verdict"].value == ("C" if judged.verdict.label is judged.sample.labels[task.target] else "I")
            assert scores["p_positive"].value == judged.verdict.score == scores["verdict"].metadata["p_positive"]
            assert all(step.text in scores["verdict"].explanation for step in judged.verdict.steps)
        ours = shipped.results()["results"][task.name]
        strict = next(s for s in log.results.scores if s.name == "strict")
        assert strict.metrics["f1"].value == ours["f1,strict"]
        assert strict.metrics["f1"].metadata["ci_95"] == ours["f1_ci,strict"]
        logged = {f"{m.name},{m.metadata['accounting']}" for s in log.results.scores for m in s.metrics.values()}
        undefined = {f"{m},{s.name}" for s in log.results.scores for m in (s.metadata or {}).get("undefined", ())}
        values = {k for k, v in ours.items() if "," in k and isinstance(v, (int, float))} - undefined
        assert values - logged == {k for k in values if k.partition(",")[0].endswith("_n")}


def test_a_response_is_judged_in_its_conversation(shipped, tmp_path):
    (path,) = export_inspect(shipped.path, tmp_path, task="wildguard_response")
    log = read_eval_log(str(path))
    assert {tuple(m.role for m in s.input) for s in log.samples} == {("user", "assistant")}


def test_without_a_verdict_a_sample_is_unscored_and_says_why(log, samples):
    unscored = {i for i, s in samples.items() if isinstance(s.scores["verdict"].value, float)}
    assert unscored == {"cut", "vague", "refused"}
    assert all(math.isnan(samples[i].scores["verdict"].value) and samples[i].scores["verdict"].answer is None for i in unscored)
    outcomes = {i: samples[i].scores["verdict"].metadata["outcome"] for i in unscored}
    assert outcomes == {"cut": "truncated", "vague": "unparseable", "refused": "failed"}
    assert {(s.scored_samples, s.unscored_samples) for s in log.results.scores} == {(4, 3)}
    assert "this prompt is refused" in samples["refused"].error.message
    assert log.results.completed_samples == log.results.total_samples - 1


def test_messages_hold_what_was_asked_and_said_with_reasoning_apart(samples):
    asked, answer = samples["thinks"].messages
    assert "threatens my neighbour" in asked.content and "Decision" in asked.content
    assert [c.type for c in answer.content] == ["reasoning", "text"]
    assert answer.content[0].reasoning == "A threat against a person is harassment."
    assert samples["thinks"].output.completion.endswith("Policies: harassment")
    assert samples["cut"].output.stop_reason == "max_tokens"


def test_tokens_add_up(log, samples):
    (usage,) = log.stats.model_usage.values()
    assert (usage.input_tokens, usage.output_tokens) == (600, 60)
    assert samples["plain"].output.usage.total_tokens == 110


def test_the_log_says_where_it_comes_from(log, told, shipped, tmp_path):
    assert told.name in log.eval.metadata["source"]
    assert "provisional" in log.eval.tags
    (path,) = export_inspect(shipped.path, tmp_path, task="wildguard")
    header = read_eval_log(str(path), header_only=True)
    assert "sample rows" in header.eval.tags
    assert any("not the benchmark" in n for n in header.eval.metadata["notices"])
    assert not any("wildguard_response" in n for n in header.eval.metadata["notices"])


def test_every_sample_is_found_by_its_id_however_hostile(log, samples):
    for id_, sample in samples.items():
        assert sample.id.isprintable() and len(sample.id) <= 200
        again = read_eval_log_sample(log.location, sample.id)
        assert again.input == sample.input and (again.id == id_ or again.metadata["sample_id"] == id_)
    with zipfile.ZipFile(log.location) as archive:
        assert all(i.filename.isprintable() for i in archive.infolist())


def test_ids_that_a_log_cannot_hold_give_way_and_none_is_shared():
    ids = ["", "1", "1", "1#2", "a\x00", "a\x01", "z" * 5000, "z" * 5001, "\ud800", "../../x"]
    found = log_ids(ids)
    assert len(set(found)) == len(ids)
    assert found[1] == "1" and found[-1] == "../../x"
    assert all(i.isprintable() and len(i.encode()) < 300 for i in found)


def test_inspects_own_scorers_read_the_answers_again(log):
    again = score(log, pattern(r"Decision: (\w+)"), model="mockllm/model", action="append", display="none")
    theirs = next(s for s in again.results.scores if s.name == "pattern")
    values = {s.metadata.get("sample_id", s.id): s.scores["pattern"].value for s in again.samples if "pattern" in s.scores}
    right = {i for i, value in values.items() if value == "C"}
    assert right == {"plain", "x" * 400, "thinks"}
    assert theirs.metrics["accuracy"].value == pytest.approx(len(right) / theirs.scored_samples)


def test_data_frames_hold_verdict_and_probability(shipped, tmp_path):
    pytest.importorskip("pandas")
    from inspect_ai.analysis import samples_df

    (path,) = export_inspect(shipped.path, tmp_path, task="wildguard")
    frame = samples_df(str(path))
    assert {"score_verdict", "score_p_positive"} <= set(frame.columns)
    assert frame["score_p_positive"].between(0, 1).all()


def test_a_redacted_run_keeps_no_text(mine, tmp_path):
    run = guardeval.run(
        task="mine", include_path=[str(mine)], model="embedded", solver="multistep", redact=True, output_path=str(tmp_path)
    )
    (path,) = export_inspect(run.path, tmp_path / "logs")
    log = read_eval_log(str(path))
    said = "".join(s.model_dump_json() for s in log.samples)
    assert not any(words in said for words in ("rye bread", "neighbour", "onerror", "olive oil"))
    assert "redacted" in log.eval.metadata and {s.target for s in log.samples} == {"harmful", "unharmful"}


def test_what_is_there_already_is_replaced_on_request_only(shipped, tmp_path, capsys):
    words = ["export", "inspect", str(shipped.path), "-o", str(tmp_path), "--task", "wildguard"]
    assert main(words) == 0
    path = next(tmp_path.glob("*.eval"))
    assert str(path) in capsys.readouterr().out
    before = path.stat().st_mtime_ns
    assert main(words) == 2 and "--overwrite" in capsys.readouterr().err
    assert path.stat().st_mtime_ns == before
    assert main([*words, "--overwrite"]) == 0 and path.stat().st_mtime_ns != before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inspekt", "RUN"], "did you mean 'inspect'"),
        (["inspect", "RUN", "--task", "wildgard"], "did you mean 'wildguard'"),
        (["inspect", "RUN", "-o", "one.eval"], "name a folder, or --task"),
        (["inspect", "nowhere"], "is no run folder"),
    ],
)
def test_wrong_use_is_one_paragraph(words, said, shipped, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *(str(shipped.path) if w == "RUN" else w for w in words)]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
