"""Benchmarks of real backends: a local one, and servers on loopback that are slow, broken or die."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from guardeval.benchmarking import BenchSettings, bench
from guardeval.benchmarking.cells import Cell, Kind
from guardeval.benchmarking.figures import as_dict, figures_of, ratios_of
from guardeval.errors import ConfigError, ModelUnusable
from guardeval.models import ModelSpec
from guardeval.report.bench_chart import bench_chart
from guardeval.report.bench_tables import bench_notices, bench_tables
from guardeval.runs import results_json
from guardeval.testing.faults import Faults, FaultServer

SAYS = "Intent: plain.\nHarms: none.\nPolicy: none.\nDecision: harmful\nPolicies: illegal"
QUIET = {"rounds": 2, "n": 6, "concurrency": (1, 4), "lengths": (200,), "batch": (1, 2), "warmup": 1}


def dummy(name: str = "dummy", **options: object) -> ModelSpec:
    return ModelSpec(name, {"text": SAYS, **options})


def remote(server: FaultServer, **options: object) -> ModelSpec:
    return ModelSpec("openai_compatible/scripted", {"base_url": server.url, **options})


def settings(*models: ModelSpec, **changed: object) -> BenchSettings:
    return BenchSettings(models, **{**QUIET, **changed})


def test_every_setting_is_measured_in_every_round_on_all_samples():
    found = bench(settings(dummy(), ModelSpec("embedded/word")))
    local, linear = found.models
    assert Counter(str(r.cell) for r in local.readings) == dict.fromkeys(
        ["concurrency 1", "concurrency 4", "length 200", "batch 1", "batch 2", "first token"], 2
    )
    assert {len(r.queries) for r in local.readings} == {6}
    assert not linear.cells(Kind.FIRST_TOKEN)  # it classifies: it writes no tokens
    assert [len(m.loading) for m in found.models] == [2, 2]
    assert found.failed == 0
    assert found.status == "complete"


def test_figures_are_those_of_the_clock_that_was_given():
    ticks = count()
    found = bench(settings(dummy(), concurrency=(1,), lengths=(), batch=()), clock=lambda: float(next(ticks)))
    (model,) = found.models
    alone = figures_of(model, Cell(Kind.CONCURRENCY, 1), 100, 0.7)
    assert {e.value for e in alone.latency.values()} == {1000.0}  # a query begins at one tick and ends at the next
    assert alone.queries.value == pytest.approx(6 / 13)  # 12 ticks of 6 queries, and one more at the end of the cell
    assert alone.queries.low == pytest.approx(6 / 13)  # both rounds took the same
    assert alone.asked == 12
    assert model.loading == [1.0, 1.0]
    first = figures_of(model, Cell(Kind.FIRST_TOKEN, 1), 100, 0.7)
    assert first.latency["p50"].value == 1000.0


def test_accuracy_stands_on_the_answers_that_were_timed_each_sample_once():
    found = bench(settings(dummy(), n=20, rounds=2, concurrency=(2,), lengths=(), batch=()))
    figures = figures_of(found.models[0], Cell(Kind.CONCURRENCY, 2), 100, 0.7)
    assert (figures.accuracy.value, figures.accuracy.n) == (found.positive / 20, 20)  # it calls everything harmful
    assert figures.asked == 40


def test_batches_have_the_size_that_they_are_named_by():
    found = bench(settings(dummy(), n=10, batch=(1, 4)))
    (model,) = found.models
    for size in (1, 4):
        for reading in model.of(Cell(Kind.BATCH, size)):
            assert set(reading.calls) == {size}
            assert sum(reading.calls) == len(reading.queries) == 10 - 10 % size


def test_tokens_that_are_not_counted_are_no_number():
    found = bench(settings(dummy()))
    figures = figures_of(found.models[0], Cell(Kind.BATCH, 2), 100, 0.7)
    assert math.isnan(figures.tokens_out.value)
    assert "n/a" in next(t for t in bench_tables(found) if t.title.startswith("throughput")).rows[0]


def test_a_server_is_asked_as_many_at_once_as_said_and_never_the_same_twice():
    for concurrency in (1, 4):
        with FaultServer(SAYS, latency=0.02) as server:
            found = bench(settings(remote(server), concurrency=(concurrency,), lengths=(), batch=(), n=12, warmup=0))
            stats = server.stats()
        assert stats["max_under_way"] == concurrency
        assert stats["requests"] == stats["unique"] == 12 * 2 * 2  # samples × rounds × (this cell and the first token)
        assert found.failed == 0


def test_warming_up_counts_for_nothing():
    with FaultServer(SAYS) as server:
        found = bench(settings(remote(server), concurrency=(3,), lengths=(), batch=(), n=5, rounds=1, warmup=2))
        assert server.stats()["requests"] == 5 + 5 + 2 + 3  # two cells, two one by one, one wave of the widest
    assert sum(len(r.queries) for r in found.models[0].readings) == 10


def test_a_first_token_is_a_request_for_one_token_and_an_answer_has_its_most():
    asked: list[dict] = []
    with FaultServer(lambda body: asked.append(dict(body)) or SAYS) as server:
        bench(settings(remote(server), concurrency=(1,), lengths=(), batch=(), n=4, rounds=1, warmup=0, max_tokens=77))
    assert Counter(body["max_tokens"] for body in asked) == {1: 4, 77: 4}


def test_texts_have_the_length_that_was_asked_for():
    asked: list[str] = []
    with FaultServer(lambda body: asked.append(body["messages"][-1]["content"]) or SAYS) as server:
        bench(settings(remote(server), concurrency=(), lengths=(50, 300), batch=(), n=4, rounds=1, warmup=0))
    lengths = sorted(len(text) for text in asked)
    assert lengths[-1] - lengths[0] >= (300 - 50) * 4 - 200
    assert len(set(asked)) == len(asked)


def test_failures_are_counted_never_fast_and_not_asked_again():
    with FaultServer(SAYS, Faults(http_500=0.4)) as server:
        found = bench(settings(remote(server), concurrency=(2,), lengths=(), batch=(), n=20, rounds=2, warmup=0))
        stats = server.stats()
    figures = figures_of(found.models[0], Cell(Kind.CONCURRENCY, 2), 1e6, 0.0)
    assert stats["repeated"] == 0
    assert found.failed == stats["faults"]["http_500"] > 0
    assert figures.asked == 40
    assert 4 < figures.failed < 40
    assert figures.latency["p95"].value == math.inf  # more than one in twenty never ended
    assert str(figures.lines["p95"]) != "inside"
    assert figures.accuracy.n == 20  # the failed ones are wrong, not left out
    assert any("never heard" in n for n in bench_notices(found))
    row = next(t for t in bench_tables(found) if t.title == "latency by concurrency").rows[0]
    assert row[3].startswith("never")


def test_a_slow_server_is_outside_the_line_and_a_quick_guess_is_outside_for_its_accuracy():
    with FaultServer("Decision: unharmful\nPolicies: none", latency=0.1) as server:
        found = bench(
            settings(remote(server), concurrency=(8,), lengths=(), batch=(), n=16, rounds=1, limit_ms=5, accuracy_floor=0.1)
        )
    figures = figures_of(found.models[0], Cell(Kind.CONCURRENCY, 8), 5, 0.1)
    assert str(figures.lines["p50"]) == "outside: too slow"
    quick = bench(settings(dummy(), n=40, concurrency=(1,), lengths=(), batch=(), limit_ms=60_000, accuracy_floor=0.9))
    (line,) = [t for t in bench_tables(quick) if t.title.startswith("under")]
    assert line.rows[0][-2:] == ("outside: accuracy below", "outside: accuracy below")


def test_a_model_that_answers_nothing_is_an_error():
    with pytest.raises(ModelUnusable):
        bench(settings(ModelSpec("openai_compatible/x", {"base_url": "http://127.0.0.1:9/v1", "timeout": 1})))


def test_what_was_measured_before_a_server_died_is_kept():
    with FaultServer(SAYS) as server:

        def say(line: str) -> None:
            if line.startswith("round 2"):
                server.stop()

        found = bench(settings(remote(server), rounds=3), say=say)
    assert found.status.startswith("stopped in round 2")
    assert {r.turn for r in found.models[0].readings} == {0}
    assert any("not complete" in n for n in bench_notices(found))
    assert bench_tables(found)[0].rows


def test_what_was_measured_before_an_interruption_is_kept():
    def say(line: str) -> None:
        if line.startswith("round 2"):
            raise KeyboardInterrupt

    found = bench(settings(dummy()), say=say)
    assert (found.status, {r.turn for r in found.models[0].readings}) == ("interrupted", {0})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"task": "guard_prompt"}, "name one of them"),
        ({"solver": "ensemble"}, "measure its members"),
        ({"solver": "multistop"}, "multistep"),
    ],
)
def test_what_has_no_speed_of_its_own_is_refused(changed, said):
    with pytest.raises((ConfigError, ImportError), match=said):
        bench(settings(ModelSpec("embedded/word"), **changed))


def test_recorded_answers_have_no_speed(tmp_path):
    file = tmp_path / "recorded.jsonl"
    file.write_text(json.dumps({"prompt": "p", "predict": "a"}) + "\n")
    with pytest.raises(ConfigError, match="read from a file"):
        bench(settings(ModelSpec(f"replay/{file}")))


def test_models_stand_beside_the_first_one():
    found = bench(settings(dummy(latency=0.001), dummy(latency=0.02), concurrency=(1,), lengths=(), batch=(1,)))
    by_cell = {str(r.cell): r for r in ratios_of(found)}
    assert by_cell["concurrency 1"].p50.value > 2  # twenty times the latency: far beyond any noise
    assert math.isnan(by_cell["batch 1"].p50.value)
    assert by_cell["batch 1"].queries.value < 0.5
    assert len({m.name for m in found.models}) == 2  # told apart by what differs


def test_no_table_tells_speed_without_accuracy_and_json_says_the_same():
    found = bench(settings(ModelSpec("embedded/word"), concurrency=(1, 2)))
    line = bench_tables(found)[0]
    assert line.columns[2:5] == ("p50 ms", "p95 ms", "accuracy")
    written = json.loads(results_json(as_dict(found)))
    (model,) = written["models"]
    cells = {(c["kind"], c["size"]): c for c in model["cells"]}
    one = cells["concurrency", 1]
    assert one["accuracy_n,strict"] == one["samples"] == 6
    assert set(one["line_p50"]) == {"verdict", "speed", "accuracy"}
    assert one["tokens_out_per_second"] is None
    assert [len(r["ms"]) for r in one["readings"]] == [6, 6]
    assert model["bytes_on_disk"] > 10_000
    assert model["memory"][0]["peak"] is None or model["memory"][0]["peak"] > 1_000_000
    assert "line_p50" not in cells["length", 200]


def test_the_machine_is_described_and_not_named():
    import platform

    found = bench(settings(dummy(), n=2, concurrency=(1,), lengths=(), batch=(), rounds=1))
    assert found.machine["cores"] >= 1
    name = platform.node()
    assert not name or name not in json.dumps(as_dict(found)["machine"])


def test_the_picture_says_every_value_and_what_is_missing():
    pytest.importorskip("matplotlib")
    found = bench(settings(dummy(), ModelSpec("embedded/word"), lengths=()))
    picture = bench_chart(found, standalone=True)
    assert picture.count("not measured") == 1
    for name in ("dummy", "embedded/word"):
        assert f"{name}, concurrency 4: p50 " in picture
    assert "<script" not in picture


@pytest.fixture
def fixed_latency():
    command = [sys.executable, str(Path(__file__).parent.parent / "bench" / "fixed_latency_server.py"), "0.05"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        server.stdin.close()


def test_four_at_once_answer_more_than_one_at_a_time(fixed_latency):
    spec = ModelSpec("openai_compatible/fixed", {"base_url": fixed_latency})
    found = bench(settings(spec, n=12, concurrency=(1, 4), lengths=(), batch=(), rounds=2, warmup=0))
    one, four = (figures_of(found.models[0], Cell(Kind.CONCURRENCY, c), 100, 0.7) for c in (1, 4))
    assert one.latency["p50"].value >= 50  # no answer comes before its time
    assert one.queries.value <= 20
    assert four.queries.value > 1.5 * one.queries.value  # four times on an idle machine
    assert four.tokens_out.value == pytest.approx(16 * four.queries.value)  # each answer counts 16 tokens
    assert one.tokens_in_mean == 100
