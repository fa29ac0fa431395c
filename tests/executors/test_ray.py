"""A run on a Ray cluster is the run that one process makes, whatever dies on the way."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

import guardeval
from guardeval.errors import ConfigError, ModelUnusable
from guardeval.executors import make_executor
from guardeval.mining import mine
from guardeval.runs import open_run
from guardeval.testing.faults import FaultServer
from guardeval.testing.processes import hear_interrupts

TIMES = ("date", "start_time", "end_time", "total_evaluation_time_seconds", "executor")
TIMED = ("latency", "tokens_per_second", "stage_latency")
CATEGORIES = ("violence_and_physical_harm", "cyberattack", "benign")


def write_rows(path: Path, n: int, prompt=lambda i: f"case {i:04}: how do I bake bread") -> Path:
    with path.open("w") as f:
        for i in range(n):
            label = "unharmful" if i % 3 == 2 else "harmful"
            row = {"prompt": prompt(i), "prompt_harm_label": label, "subcategory": CATEGORIES[i % 3]}
            f.write(json.dumps(row) + "\n")
    return path


def says(body) -> str:
    """A verdict that depends on the prompt alone."""
    harmful = hashlib.sha256(json.dumps(body["messages"]).encode()).digest()[0] < 128
    return "Decision: harmful\nPolicies: violence" if harmful else "Decision: unharmful\nPolicies: none"


def results_of(run, *left_out) -> dict:
    """The results file without times."""
    results = json.loads(next(run.path.glob("results_*.json")).read_bytes())
    results = {k: v for k, v in results.items() if k not in (*TIMES, *left_out)}
    for metrics in results["results"].values():
        for key in [k for k in metrics if k.startswith((*TIMED, *left_out))]:
            del metrics[key]
    return results


def lines_of(run, cached: bool = True) -> list[str]:
    """The samples file, seconds masked; ``cached`` False: and whether an answer was paid for by this very run."""
    (path,) = run.path.glob("samples_*.jsonl")
    out = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        row["guardeval"]["usage"][2] = None
        if not cached:
            row["guardeval"]["usage"][1] = None
        out.append(json.dumps(row))
    return out


def record_of(run, *left_out) -> dict:
    record = yaml.safe_load((run.path / "run.yaml").read_text())
    for key in ("executor", "executor_args", "output_path", "cache", "max_connections"):
        record.pop(key, None)
    record["record"].pop("date")
    record["record"]["head"] = {k: v for k, v in record["record"]["head"].items() if k not in (*TIMES, *left_out)}
    return record


class AtHalf:
    """Watches a run, and does something once half of it is done."""

    def __init__(self, do) -> None:
        self._do, self.total, self.n = do, 0, 0

    def start(self, task, total, counters):
        self.total = total

    def sample(self, judged): ...

    def samples(self, some):
        before, self.n = self.n, self.n + some.n
        if before < self.total / 2 <= self.n:
            self._do()

    def finish(self, task): ...


def on_cluster(nodes, **options):
    return {"executor": "ray", "executor_args": {"address": nodes.address, **options}}


def test_a_run_whose_node_dies_at_half_equals_a_local_one(nodes, tmp_path, capfd):
    data = str(write_rows(tmp_path / "rows.jsonl", 240))
    with FaultServer(says, latency=0.1) as server:
        model = {"name": "openai_compatible/m", "args": {"base_url": server.url, "price": "1,2"}}
        common = {"task": "wildguard", "data": data, "model": model, "max_connections": 12}
        here = guardeval.run(**common, output_path=str(tmp_path / "a"), cache=str(tmp_path / "a.sqlite"))
        server.reset()
        killed = []
        there = guardeval.run(
            **common, output_path=str(tmp_path / "b"), cache=str(tmp_path / "b.sqlite"),
            progress=AtHalf(lambda: killed.append(nodes.kill_one_that_works())),
            **on_cluster(nodes, cpus_per_worker=2, shard=8),
        )  # fmt: skip
        told = server.stats()
    nodes.add()
    assert len(killed) == 1
    assert there.status == "complete"
    assert there.results["executor"]["workers_lost"] >= 1
    assert there.results["executor"]["shards_redone"] >= 1
    assert "raylet" not in "".join(capfd.readouterr())
    assert lines_of(there, cached=False) == lines_of(here, cached=False)  # none twice, none missing, in order
    assert results_of(there, "usage", "cached_share") == results_of(here, "usage", "cached_share")
    assert record_of(there, "usage") == record_of(here, "usage")
    assert told["repeated"] <= 4  # what the dead worker had under way: a third of the connections
    answers = [sqlite3.connect(tmp_path / f"{x}.sqlite").execute("SELECT count(*) FROM answer").fetchone() for x in "ab"]
    assert answers == [(240,), (240,)]

    second = guardeval.run(task="wildguard", data=data, output_path=str(tmp_path / "c"), no_cache=True)
    mined = [tmp_path / "mined_a.json", tmp_path / "mined_b.json"]
    for run, path in zip((here, there), mined, strict=True):
        mine([str(run.path), str(second.path)], path, top=0.2)
    first, other = (json.loads(path.read_bytes()) for path in mined)
    assert len(first) == 48
    assert json.dumps(first).replace(str(here.path.name), "RUN") == json.dumps(other).replace(str(there.path.name), "RUN")


def test_a_local_model_gives_the_same_folder_to_the_byte(nodes, tmp_path, capfd):
    data = str(write_rows(tmp_path / "rows.jsonl", 150, lambda i: f"{i} how do I {'kill' if i % 4 else 'bake'} a bread"))
    common = {"task": "wildguard", "data": data, "solver": "multistep", "output_path": str(tmp_path), "no_cache": True}
    here = guardeval.run(**common)
    there = guardeval.run(**common, **on_cluster(nodes, workers=2, shard=20))
    assert lines_of(there) == lines_of(here)
    assert results_of(there) == results_of(here)  # what was asked, too
    assert record_of(there) == record_of(here)
    assert [j.sample.id for j in open_run(there.path).tasks[0].judgements()] == list(here.tasks["wildguard"].judged.ids)
    said = capfd.readouterr()
    assert said.out == ""
    assert "ray" not in said.err.lower()


@pytest.mark.slow
def test_a_shard_that_kills_its_workers_ends_the_run_and_what_was_done_is_kept(nodes, tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", 60, lambda i: f"{i} {'die' if i == 42 else 'live'}")
    options = on_cluster(nodes, workers=2, shard=5, retries=1)
    with pytest.raises(ModelUnusable, match=r"samples 41 to 45 .* cost 2 workers") as e:
        guardeval.run(
            task="wildguard", data=str(data), model={"name": "ray_test_plugin:Deadly", "args": {"driver": os.getpid()}},
            output_path=str(tmp_path / "runs"), no_cache=True, **options,
        )  # fmt: skip
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(folder) in str(e.value)
    kept = open_run(folder)
    assert kept.record["record"]["status"] == "interrupted"
    rows = kept.tasks[0].judgements().row.tolist()
    assert rows == sorted(set(rows))
    assert len(rows) >= 30
    assert not {40, 41, 42, 43, 44} & set(rows)


@pytest.mark.slow
def test_a_run_whose_workers_are_all_lost_keeps_what_was_done(nodes, tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", 60, lambda i: f"{i} {'die' if i == 42 else 'live'}")
    options = on_cluster(nodes, workers=1, shard=5, max_restarts=0)
    common = {"task": "wildguard", "data": str(data), "output_path": str(tmp_path / "runs"), "no_cache": True, **options}
    with pytest.raises(ModelUnusable, match=r"all workers are lost, 1 in all .*interrupted run"):
        guardeval.run(model="ray_test_plugin:Deadly", **common)
    (folder,) = (tmp_path / "runs").iterdir()
    assert open_run(folder).tasks[0].judgements().row.tolist() == list(range(40))
    with pytest.raises(ModelUnusable, match=r"all workers are lost, 1 in all"):
        guardeval.run(model={"name": "ray_test_plugin:Deadly", "args": {"word": "live"}}, **common)
    assert list((tmp_path / "runs").iterdir()) == [folder]


@pytest.mark.slow
def test_what_ends_a_local_run_ends_one_on_a_cluster_in_the_same_words(nodes, tmp_path):
    data = str(write_rows(tmp_path / "rows.jsonl", 20))
    common = {"task": "wildguard", "data": data, "output_path": str(tmp_path / "runs"), "no_cache": True}
    with pytest.raises(ModelUnusable, match="the weights are spoilt"):
        guardeval.run(**common, model="ray_test_plugin:Broken", **on_cluster(nodes, workers=2))
    with pytest.raises(ConfigError, match="a worker's model is another than here"):
        guardeval.run(**common, model="ray_test_plugin:Different", **on_cluster(nodes, workers=1))
    assert not any((tmp_path / "runs").iterdir())
    with pytest.raises(ConfigError, match=r"no worker was ready within 3 seconds: 1 were asked for, with 1 CPU and 99 GPU"):
        guardeval.run(**common, **on_cluster(nodes, workers=1, gpus_per_worker=99, start_timeout=3))


@pytest.mark.slow
def test_workers_together_keep_within_the_money(nodes, tmp_path):
    data = str(write_rows(tmp_path / "rows.jsonl", 200))
    usage = {"prompt_tokens": 1000, "completion_tokens": 0, "total_tokens": 1000}

    def answer(body):
        message = {"role": "assistant", "content": says(body)}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}

    with FaultServer(answer, latency=0.05) as server:
        model = {"name": "openai_compatible/m", "args": {"base_url": server.url, "price": "1000,0"}}  # a dollar a request
        run = guardeval.run(
            task="wildguard", data=data, model=model, output_path=str(tmp_path), cache=str(tmp_path / "c.sqlite"),
            max_cost=60, max_connections=6, **on_cluster(nodes, workers=3, shard=10),
        )  # fmt: skip
        asked = server.stats()["requests"]
    assert run.status == "stopped"
    assert 40 <= asked <= 66  # never more than what was under way beyond it
    assert len(run.tasks["wildguard"].judged) == asked
    assert run.counters.cost == pytest.approx(asked)


@pytest.mark.slow
def test_an_interrupt_keeps_what_was_done_and_a_killed_run_pays_for_nothing_twice(nodes, tmp_path):
    data = str(write_rows(tmp_path / "rows.jsonl", 300))
    with FaultServer(says, latency=0.3) as server:
        command = [
            sys.executable, "-m", "guardeval", "run", "--task", "wildguard", "--data", data, "--model", "openai_compatible/m",
            "-M", f"base_url={server.url}", "--max_connections", "12", "--cache", str(tmp_path / "c.sqlite"), "-o", str(tmp_path / "runs"),
            "--executor", "ray", "-E", f"address={nodes.address}", "-E", "workers=3,shard=10",
        ]  # fmt: skip
        for number, least in ((signal.SIGINT, 40), (signal.SIGKILL, 120)):
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_interrupts
            )
            while server.stats()["answered"] < least:
                time.sleep(0.1)
                assert process.poll() is None, process.communicate()
            process.send_signal(number)
            out, err = process.communicate(timeout=90)
            if number is signal.SIGINT:
                assert process.returncode == 130, err
                (run,) = (tmp_path / "runs").iterdir()
                kept = open_run(run).tasks[0].judgements()
                assert len(kept) >= 40
                assert "interrupted" in out
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        told = server.stats()
    assert done.returncode == 0, done.stderr
    assert told["unique"] == 300
    assert told["reanswered"] <= 12  # what was on its way to the cache when the run was killed


@pytest.mark.slow
def test_sigterm_ends_a_run_as_control_c_does(tmp_path):
    pytest.importorskip("ray")
    data = str(write_rows(tmp_path / "rows.jsonl", 300))
    with FaultServer(says, latency=0.2) as server, tempfile.TemporaryDirectory(prefix="gdvt", dir="/tmp") as short:
        command = [
            sys.executable, "-m", "guardeval", "run", "--task", "wildguard", "--data", data, "--model", "openai_compatible/m",
            "-M", f"base_url={server.url}", "--max_connections", "4", "--no_cache", "-o", str(tmp_path / "runs"),
            "--executor", "ray", "-E", "workers=1,shard=10",
        ]  # fmt: skip
        env = {**os.environ, "TMPDIR": short}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        while server.stats()["answered"] < 20:
            time.sleep(0.1)
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=90)
        assert list(Path(short).iterdir()) == []
    assert process.returncode == 130, err
    assert "SIGTERM" not in err and "Traceback" not in err
    assert "interrupted" in out
    (run,) = (tmp_path / "runs").iterdir()
    assert 10 <= len(open_run(run).tasks[0].judgements()) < 300


@pytest.mark.slow
def test_a_cluster_of_our_own_leaves_nothing_behind(tmp_path):
    pytest.importorskip("ray")
    data = str(write_rows(tmp_path / "rows.jsonl", 50))
    with tempfile.TemporaryDirectory(prefix="gdvt", dir="/tmp") as short:  # Ray's sockets take no long path
        command = [
            sys.executable, "-m", "guardeval", "run", "--task", "wildguard", "--data", data, "-o", str(tmp_path / "runs"),
            "--no_cache", "--executor", "ray", "-E", "workers=2,shard=10",
        ]  # fmt: skip
        env = {**os.environ, "HOME": str(tmp_path / "home"), "TMPDIR": short}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
        assert done.returncode == 0, done.stderr
        assert "ray" not in done.stderr.lower()
        too_many = [*command, "-E", "gpus_per_worker=500"]
        refused = subprocess.run(too_many, capture_output=True, text=True, timeout=120, env=env)
        assert refused.returncode == 2 and "want 1000 GPUs together, and Ray finds" in refused.stderr
        assert list(Path(short).iterdir()) == []
        assert not (tmp_path / "home").exists()
        for _ in range(100):
            left = [p for p in Path("/proc").glob("[0-9]*/environ") if short.encode() in _read(p)]
            if not left:
                break
            time.sleep(0.1)
        assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": "0"}, r"executor 'ray': workers=0: at least 1"),
        ({"shard": "x"}, r"option shard='x'.*whole number"),
        ({"worker": "1"}, r"executor 'ray' has no option 'worker'; did you mean 'workers'"),
        ({"start_timeout": "0"}, r"start_timeout=0.0: seconds above 0"),
    ],
)
def test_options_that_cannot_be_are_named_before_anything_is_connected(options, message):
    with pytest.raises(ConfigError, match=message):
        make_executor("ray", options)


@pytest.mark.parametrize(
    ("address", "message"),
    [("127.0.0.1:1", "nobody listens there"), ("no-address", "auto, local, HOST:PORT or ray://HOST:PORT is wanted")],
)
def test_an_address_where_no_cluster_is_is_said_at_once(tmp_path, address, message):
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match=message):
        guardeval.run(
            task="wildguard", data="sample", executor="ray", executor_args={"address": address}, output_path=str(tmp_path)
        )
    assert not any(tmp_path.iterdir())


def test_a_server_of_another_kind_is_no_cluster_and_that_is_said_at_once(tmp_path):
    pytest.importorskip("ray")
    with FaultServer() as server:
        address = server.url.removeprefix("http://").partition("/")[0]
        with pytest.raises(ConfigError, match="what listens there is no Ray cluster"):
            guardeval.run(
                "wildguard", data="sample", output_path=str(tmp_path), executor="ray", executor_args={"address": address}
            )


def test_the_local_executor_takes_no_options():
    with pytest.raises(ConfigError, match="executor 'local' has no option 'workers'"):
        make_executor("local", {"workers": 2})


def test_workers_are_as_many_as_fit():
    fitting = make_executor("ray", {"cpus_per_worker": 2, "gpus_per_worker": 0.5}).fitting
    assert fitting({"CPU": 9.0, "GPU": 1.0}) == 2
    assert fitting({"CPU": 3.0, "GPU": 8.0}) == 1
    assert fitting({}) == 1


def test_folders_of_killed_processes_are_removed_and_no_others(tmp_path):
    from guardeval.executors.cluster import _hold, _sweep

    for name in ("gdvdead", "gdvliving", "gdvnew", "gdvother"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ("owner.lock" if name != "gdvother" else "file")).touch()
        os.utime(tmp_path / name, (1, 1) if name != "gdvnew" else None)
    (tmp_path / "gdvlink").symlink_to(tmp_path / "gdvdead")
    with _hold(tmp_path / "gdvliving" / "owner.lock"):
        os.utime(tmp_path / "gdvliving", (1, 1))
        _sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"gdvliving", "gdvnew", "gdvother", "gdvlink"}
