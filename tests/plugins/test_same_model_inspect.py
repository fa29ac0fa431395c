"""One tiny model behind a real server: asked by guardeval, by guardeval through Inspect's provider, and by Inspect itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import guardeval
from guardeval.interop.inspect_records import KEY, verdict_of

pytest.importorskip("inspect_ai")


@pytest.fixture
def rows(tmp_path: Path, tiny_texts: list[tuple[str, str]]) -> Path:
    path = tmp_path / "rows.jsonl"
    labels = ["unharmful" if "unharmful" in answer else "harmful" for _, answer in tiny_texts]
    labels[0] = {"harmful": "unharmful", "unharmful": "harmful"}[labels[0]]  # the guard is wrong once
    rows = [{"prompt": text, "label": label} for (text, _), label in zip(tiny_texts, labels, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(verdict: Any) -> tuple[Any, ...]:
    return verdict.outcome, verdict.label, verdict.policies, verdict.raw, verdict.readings


@pytest.mark.parametrize(
    ("solver", "options", "provider"),
    [("direct", {}, "openai-api"), ("guardreasoner", {"max_tokens": 12}, "openai-api-completions")],
)
def test_all_three_ways_give_the_same_verdicts_probabilities_and_metrics(
    solver, options, provider, tiny_server, tiny_policies, rows, tmp_path, monkeypatch
):
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    monkeypatch.setenv("LOCAL_BASE_URL", tiny_server)
    from inspect_ai import eval as inspect_eval
    from inspect_ai.log import read_eval_log

    from guardeval._inspect_registry import SOLVERS

    def run(name: str) -> Any:
        model = {"name": name, "args": {"base_url": tiny_server}}
        done = guardeval.run(
            "wildguard", solver, model, solver_args=options, data=str(rows), policies=str(tiny_policies), no_cache=True,
            output_path=str(tmp_path / name),
        )  # fmt: skip
        return done.tasks["wildguard"]

    ours, through = run("openai_compatible/tiny"), run(f"inspect/{provider}/local/tiny")
    (done,) = inspect_eval(
        "guardeval/wildguard", task_args={"data": str(rows), "policies": str(tiny_policies)}, solver=SOLVERS[solver](**options),
        model=f"{provider}/local/tiny", log_dir=str(tmp_path / "logs"), display="none",
    )  # fmt: skip
    log = read_eval_log(done.location)
    inside = {s.id: verdict_of(s.scores["classification"].metadata[KEY]["verdict"]) for s in log.samples}
    assert log.status == "success"
    assert [read(j.verdict) for j in ours.judged] == [read(j.verdict) for j in through.judged]
    assert [read(j.verdict) for j in ours.judged] == [read(inside[j.sample.id]) for j in ours.judged]
    scores = [j.verdict.score for j in ours.judged]
    assert [j.verdict.score for j in through.judged] == pytest.approx(scores, abs=1e-3)
    assert [inside[j.sample.id].score for j in ours.judged] == pytest.approx(scores, abs=1e-3)
    assert (None in scores) is (solver == "guardreasoner")
    metrics = log.results.scores[0].metrics
    for name in ("f1", "accuracy", "overflagging"):
        for accounting in ("strict", "parsed"):
            value = pytest.approx(ours.metrics[f"{name},{accounting}"], nan_ok=True)
            assert metrics[f"{name}_{accounting}"].value == value
            assert through.metrics[f"{name},{accounting}"] == value
